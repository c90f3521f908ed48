"""Chronological record of the events in an execution environment.

Design: all modules append and none reads, so the timeline cannot influence the emulation. Tests and
`logferry emulate` read it to explain the duration of an invocation.

| kind | event | fields of `detail` |
|---|---|---|
| process | a process started | pid, argv |
| output | a process printed a line | stream, line |
| exit | a process ended | exit_code, how |
| crash | a failure that is fatal to the environment | error_type, message |
| kill | SIGKILL to a process group | why |
| register | an extension registered | events, external |
| subscribe | an extension subscribed to telemetry | api, schema, status |
| error | a request was answered with an error | status, error_type, message |
| next | a process requested its next event | |
| skip | the platform clock was advanced | seconds |
| restore | the Restore phase began or ended | status, duration_ms |
| init | the Init phase began or ended | phase, status, duration_ms |
| invoke | an invocation was dispatched to the runtime | |
| response | the runtime responded | status, bytes |
| runtime-done | the runtime requested the next invocation | duration_ms |
| invoke-end | runtime and extensions are done | status, post_runtime_ms |
| event | an event was sent to an extension | event |
| delivery | a request to a subscriber | records, bytes, status, duration_ms |
| drop | records that will not be delivered | records, bytes, why |
| freeze, thaw | SIGSTOP and SIGCONT to all processes | |
| shutdown | the Shutdown phase began or ended | phase, reason, duration_ms, killed |
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MILLISECONDS = 1000.0
DEFAULT_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One event; `at_ms` counts from the start of the emulator."""

    at_ms: float
    kind: str
    subject: str
    detail: dict[str, Any] = field(default_factory=dict)


class Timeline:
    """An append-only list of entries with a way to wait for an entry."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._waiting: list[tuple[Callable[[Entry], bool], asyncio.Future[Entry]]] = []
        self._started = asyncio.get_running_loop().time()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def __repr__(self) -> str:
        last = f", last {self._entries[-1].kind} of {self._entries[-1].subject}" if self._entries else ""
        return f"<Timeline {len(self._entries)} entries{last}>"

    def add(self, kind: str, subject: str, /, **detail: Any) -> None:
        """Append an entry with the current time."""
        elapsed = asyncio.get_running_loop().time() - self._started
        entry = Entry(round(elapsed * MILLISECONDS, 3), kind, subject, detail)
        self._entries.append(entry)
        for condition, future in self._waiting:
            if not future.done() and condition(entry):
                future.set_result(entry)

    def of(self, kind: str, subject: str | None = None) -> list[Entry]:
        """Return the entries of a kind, of one subject or of all."""
        return [e for e in self._entries if e.kind == kind and subject in (None, e.subject)]

    async def wait_for(
        self, condition: Callable[[Entry], bool], *, timeout_seconds: float = DEFAULT_WAIT_SECONDS
    ) -> Entry:
        """Return the first entry, past or future, that meets `condition`; raise TimeoutError at the limit."""
        for entry in self._entries:
            if condition(entry):
                return entry
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        waiter = (condition, future)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await future
        finally:
            self._waiting.remove(waiter)
