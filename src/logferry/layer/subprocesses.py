"""Other people's programs, run so that a failure names what failed, why, and what to do.

The builder calls apt-get, dpkg-deb, pip, patchelf and a C compiler. Each call is bounded, its output is kept for the
error, and a program that is missing is reported with the way to get it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TOOL_TIMEOUT_S = 600.0
"""Ten minutes: a slow mirror and a cold cache have been seen to need two."""

_TAIL_LINES = 15
"""How much of a failed program's output goes into the message: the cause is at its end."""


class LayerError(Exception):
    """The layer cannot be built, or what was built is not fit to ship. The message says why and what to do."""


def find(name: str, *, remedy: str) -> str:
    """Return the path of a program, looked up beside this interpreter first, since wheels put programs there.

    Raises LayerError with the remedy when there is none.
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
    """Run a program to its end and return what it printed; `environment` replaces the inherited one.

    Raises LayerError naming the purpose, the program and the end of its output.
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
