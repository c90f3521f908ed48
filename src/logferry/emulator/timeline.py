"""What happened in an environment, in the order it happened.

Every room writes here and none reads it: the timeline is for the person, and the test, who wants to know afterwards
why an invocation took as long as it did. Kinds, and what their `detail` holds:

    process     started                                        pid, argv
    exit        a process ended                                exit_code, how
    crash       something fatal to the environment             error_type, message
    kill        SIGKILL to a process group                     why
    register    an extension registered                        events
    subscribe   it subscribed to telemetry                     api, schema, types, status
    refuse      a request was answered with an error           status, error_type, message
    next        a process asked for its next event             -
    init        init began or ended                            phase, status, duration_ms
    invoke      an invocation was handed out                   -
    response    the runtime answered it                        status, bytes
    runtime-done  the runtime asked for the next one           duration_ms
    invoke-end  runtime and extensions are all done            status, post_runtime_ms
    event       INVOKE or SHUTDOWN was handed to an extension  event
    delivery    a POST to a subscriber                         records, bytes, status, duration_ms
    drop        records that will not be delivered             records, bytes, why
    freeze, thaw  SIGSTOP and SIGCONT to everything            -
    shutdown    shutdown began or ended                        reason, killed
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MILLISECONDS = 1000.0
DEFAULT_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: `at_ms` counts from the start of the emulator."""

    at_ms: float
    kind: str
    subject: str
    detail: dict[str, Any] = field(default_factory=dict)


class Timeline:
    """An append-only list of entries that can also be waited on."""

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
        """Write down that `kind` happened to `subject`, now."""
        elapsed = asyncio.get_running_loop().time() - self._started
        entry = Entry(round(elapsed * MILLISECONDS, 3), kind, subject, detail)
        self._entries.append(entry)
        for condition, future in self._waiting:
            if not future.done() and condition(entry):
                future.set_result(entry)

    def of(self, kind: str, subject: str | None = None) -> list[Entry]:
        """Every entry of a kind, of one subject or of all."""
        return [e for e in self._entries if e.kind == kind and subject in (None, e.subject)]

    async def wait_for(
        self, condition: Callable[[Entry], bool], *, timeout_seconds: float = DEFAULT_PATIENCE_SECONDS
    ) -> Entry:
        """Return the first entry, past or future, that meets `condition`; TimeoutError when none comes in time."""
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
