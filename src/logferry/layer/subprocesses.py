"""Execution of the programs that the builder needs: apt-get, dpkg-deb, pip, patchelf and a C compiler.

Guarantees:
- Each call has a time limit.
- The error of a failed program contains the purpose of the call and the end of its output.
- The error of a missing program contains the remedy.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TOOL_TIMEOUT_S = 600.0
"""Time limit of a program, in seconds. With a slow mirror and an empty cache one call took two
minutes."""

_TAIL_LINES = 15
"""Lines of a failed program's output in the message. The cause is at the end of the output."""


class LayerError(Exception):
    """Failure of a build, or a fault of the built layer. The message contains the cause and the remedy."""


def find(name: str, *, remedy: str) -> str:
    """Return the path of a program. The folder of this interpreter is searched first, because wheels install there.

    Raises LayerError with the remedy if the program is missing.
    """
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=search)
    if found is None:
        raise LayerError(f"the program {name!r} is missing: {remedy}")
    return found


def run(
    command: Sequence[str | Path],
    *,
    purpose: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output; `environment` replaces the inherited environment.

    Raises LayerError with the purpose, the program and the end of its output.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, env=environment, cwd=cwd
        )
    except OSError as error:
        raise LayerError(f"{purpose}: cannot start {words[0]}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise LayerError(f"{purpose}: {words[0]} did not end within {TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
        raise LayerError(f"{purpose}: {Path(words[0]).name} ended with status {done.returncode}:\n{tail}")
    return done.stdout
