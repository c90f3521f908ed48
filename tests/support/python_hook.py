"""Shared parts of the tests of the Python hook: its pipe, its variables, and functions that run with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logferry.emulator.environment_config import EnvironmentConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOOK = Path(__file__).parents[2] / "extension/hooks/python"
FUNCTIONS = Path(__file__).parent / "functions"
PYTHON_CALLING = (sys.executable, "-m", "awslambdaric", "calling.handler")
"""Command of the function that makes the calls of its events (`functions/calling.py`)."""
LINE_LIMIT = 4096
RUN_SECONDS = 60.0


class PipeReader:
    """A pipe like that of the extension, and the reader of its lines."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.raw = b""

    def read(self) -> bytes:
        """Return all bytes that are in the pipe."""
        found = b""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.descriptor, 1 << 20):
                found += data
        self.raw += found
        return found

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines that are in the pipe."""
        data = self.read()
        assert not data or data.endswith(b"\n")
        lines = data.splitlines()
        assert all(len(line) < LINE_LIMIT for line in lines)
        return [json.loads(line) for line in lines]

    def calls(self) -> list[dict[str, Any]]:
        """Return the lines of calls that are in the pipe. There must be no others."""
        lines = self.lines()
        assert all("call" in line for line in lines), lines
        return lines


@contextlib.contextmanager
def pipe_reader(spool: Path) -> Iterator[PipeReader]:
    """Make a pipe in a spool directory, as the supervisor does, and hold it open."""
    spool.mkdir(parents=True, exist_ok=True)
    os.mkfifo(spool / "events", 0o600)
    descriptor = os.open(spool / "events", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield PipeReader(descriptor)
    finally:
        os.close(descriptor)


def hooked(
    spool: Path, settings: Mapping[str, str] | None = None, *, before: str | None = None, hook: Path = HOOK
) -> dict[str, str]:
    """Return the variables of a process that `logferry-wrap` starts. `before` is the user's PYTHONPATH."""
    path = str(hook) if before is None else f"{hook}:{before}"
    return {"LOGFERRY_CALLS": "each", "LOGFERRY_SPOOL_DIR": str(spool), **(settings or {}), "PYTHONPATH": path}


def calling_function(variables: Mapping[str, str], **config: Any) -> EnvironmentConfig:
    """Return the configuration of a function that makes the calls of its events, without an extension."""
    config.setdefault("timeout_seconds", RUN_SECONDS)
    return EnvironmentConfig(
        function=PYTHON_CALLING,
        environment=variables,
        working_directory=FUNCTIONS,
        **config,
    )


def run_python(
    code: str, variables: Mapping[str, str], *arguments: str, python: str = sys.executable, flags: Sequence[str] = ()
) -> str:
    """Run code in a fresh interpreter with these variables and PATH only, and return its output."""
    done = subprocess.run(
        [python, *flags, "-c", code, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
