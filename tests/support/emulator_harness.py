"""What the emulator's tests share: configurations with fake processes, and what those processes saw."""

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
"""Without site: a fake process needs the standard library only, and starts in a third of the time."""

SETTLING_STEPS, SETTLING_SECONDS = 100, 0.02
"""SIGSTOP takes effect when its target is next scheduled: two seconds are beyond any doubt."""


class Scene:
    """Fake extensions and runtimes around one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def extension(self, name: str = "ext", **wish: Any) -> list[str]:
        """The command of a fake extension; see fake_extension.py for what it can be asked."""
        wish = {"name": name, "notes": str(self._notes(name)), **wish}
        return [*PYTHON, str(HERE / "fake_extension.py"), json.dumps(wish)]

    def config(self, *runtime_arguments: str, extensions: dict[str, list[str]] | None = None, **fields: Any) -> Any:
        """A configuration with the fake runtime; one well-behaved subscriber unless told otherwise."""
        if extensions is None:
            extensions = {"ext": self.extension(api="telemetry")}
        fields.setdefault("function", [*PYTHON, str(HERE / "fake_runtime.py"), *runtime_arguments])
        return EnvironmentConfig(extensions=extensions, **fields)

    def notes(self, kind: str, name: str = "ext") -> list[dict[str, Any]]:
        """What an extension noted, in order."""
        with suppress(FileNotFoundError):
            lines = self._notes(name).read_text().splitlines()
            return [note for note in map(json.loads, lines) if note["kind"] == kind]
        return []

    def answers(self, path: str, name: str = "ext") -> list[dict[str, Any]]:
        """The answers an extension got to its requests to a path that ends so."""
        return [note for note in self.notes("answer", name) if note["path"].endswith(path)]

    def events(self, name: str = "ext") -> list[dict[str, Any]]:
        """The events an extension was given."""
        return [json.loads(answer["body"]) for answer in self.answers("/event/next", name) if answer["status"] == 200]

    def records(self, name: str = "ext") -> list[dict[str, Any]]:
        """The records an extension accepted, in order."""
        bodies = [note["body"] for note in self.notes("delivery", name) if not note["refused"]]
        return [record for body in bodies for record in json.loads(body)]

    def types(self, name: str = "ext") -> list[str]:
        """The types of those records."""
        return [record["type"] for record in self.records(name)]

    def _notes(self, name: str) -> Path:
        return self.directory / f"{name}.notes"


async def delivered(lam: Lambda, type_: str, count: int = 1) -> Entry:
    """Wait, bounded, until so many records of a type have been accepted."""
    return await lam.timeline.wait_for(
        lambda e: e.kind == "delivery" and sum(r["type"] == type_ for r in lam.records_delivered) >= count
    )


def process_state(pid: int) -> str:
    """The letter of /proc/PID/stat: T is stopped, X is gone."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


async def stopped(pids: tuple[int, ...]) -> bool:
    """Whether all are stopped, allowing for the moment it takes where other processes keep the processors busy."""
    for _ in range(SETTLING_STEPS):
        if {process_state(pid) for pid in pids} == {"T"}:
            return True
        await asyncio.sleep(SETTLING_SECONDS)
    return False


def is_gone(pid: int) -> bool:
    """Whether no process of this id runs any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return process_state(pid) in "ZX"
