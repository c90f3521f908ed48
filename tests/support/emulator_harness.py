"""Shared parts of the emulator's tests: configurations with fake processes, and the notes of these processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logferry.emulator.lambda_service import EnvironmentConfig

if TYPE_CHECKING:
    from logferry.emulator.lambda_service import Entry, Lambda

HERE = Path(__file__).parent
PYTHON = [sys.executable, "-S", "-E"]
"""Interpreter without site. A fake process needs the standard library only, and starts in a third of the time."""

STATE_CHECKS, STATE_CHECK_SECONDS = 100, 0.02
"""Number and pause of the checks for stopped processes. SIGSTOP takes effect when its target is next scheduled."""


class EmulatorHarness:
    """Configurations with fake extensions and runtimes in one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def extension(self, name: str = "ext", **behaviour: Any) -> list[str]:
        """Return the command of a fake extension; `fake_extension` documents its behaviour."""
        behaviour = {"name": name, "notes": str(self._notes(name)), **behaviour}
        return [*PYTHON, str(HERE / "fake_extension.py"), json.dumps(behaviour)]

    def config(self, *runtime_arguments: str, extensions: dict[str, list[str]] | None = None, **fields: Any) -> Any:
        """Return a configuration with the fake runtime and, by default, one extension that subscribes."""
        if extensions is None:
            extensions = {"ext": self.extension(api="telemetry")}
        fields.setdefault("function", [*PYTHON, str(HERE / "fake_runtime.py"), *runtime_arguments])
        return EnvironmentConfig(extensions=extensions, **fields)

    def notes(self, kind: str, name: str = "ext") -> list[dict[str, Any]]:
        """Return the notes of an extension, in order."""
        with suppress(FileNotFoundError):
            lines = self._notes(name).read_text().splitlines()
            return [note for note in map(json.loads, lines) if note["kind"] == kind]
        return []

    def responses(self, path: str, name: str = "ext") -> list[dict[str, Any]]:
        """Return the responses that an extension received for a path with this end."""
        return [note for note in self.notes("response", name) if note["path"].endswith(path)]

    def events(self, name: str = "ext") -> list[dict[str, Any]]:
        """Return the events that an extension received."""
        return [json.loads(note["body"]) for note in self.responses("/event/next", name) if note["status"] == 200]

    def records(self, name: str = "ext") -> list[dict[str, Any]]:
        """Return the records that an extension accepted, in order."""
        bodies = [note["body"] for note in self.notes("batch", name) if not note["rejected"]]
        return [record for body in bodies for record in json.loads(body)]

    def types(self, name: str = "ext") -> list[str]:
        """Return the types of these records."""
        return [record["type"] for record in self.records(name)]

    def _notes(self, name: str) -> Path:
        return self.directory / f"{name}.notes"


async def delivered(lam: Lambda, type_: str, count: int = 1) -> Entry:
    """Wait until `count` records of a type have been accepted."""
    return await lam.timeline.wait_for(
        lambda e: e.kind == "delivery" and sum(r["type"] == type_ for r in lam.records_delivered) >= count
    )


def process_state(pid: int) -> str:
    """Return the state in /proc/PID/stat: T is stopped, X is ended."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


async def all_stopped(pids: tuple[int, ...]) -> bool:
    """Return whether all processes are stopped, after up to two seconds on a busy machine."""
    for _ in range(STATE_CHECKS):
        if {process_state(pid) for pid in pids} == {"T"}:
            return True
        await asyncio.sleep(STATE_CHECK_SECONDS)
    return False


def has_ended(pid: int) -> bool:
    """Return whether no running process has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return process_state(pid) in "ZX"
