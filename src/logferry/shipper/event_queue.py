"""Queue of the events that arrive while the libraries are loading.

Guarantees:
- Every event is kept until the lifecycle can handle it, including an INVOKE with no flush due. Without a
  held event the environment would be frozen, and the remaining imports would run during the next invocation.
- Loading is suspended while an invocation runs, at most `SUSPEND_SECONDS` after its INVOKE.
- The end of the invocation, SHUTDOWN and the end of the supervisor resume loading at once.

Design: the first invocation of a 128 MB function has 7 % of a core. An import of 1 ms of CPU time would delay its
response by 14 ms. After `platform.runtimeDone` the caller has its response, so the imports run then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logferry.shipper import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.flush.scheduler import InvokeDecision, Scheduler
    from logferry.records.invocations import Invocations
    from logferry.shipper.events import Invoke, Shutdown

SUSPEND_SECONDS = 2.0
"""Longest suspension, in seconds from INVOKE: less than Lambda's default timeout of 3 s, longer than most invocations.
In a longer invocation the shipper is ready well before the end."""


class EventQueue:
    """Events received so far, and the resulting state of the first invocation."""

    def __init__(
        self, *, scheduler: Scheduler, invocations: Invocations, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is replaced only in tests."""
        self.waiting: list[tuple[Invoke, InvokeDecision] | Shutdown] = []
        self.supervisor_ended = False
        self._scheduler = scheduler
        self._invocations = invocations
        self._clock = clock
        self._running: str | None = None
        self._suspend_until = 0.0

    def handle_packet(self, packet: bytes) -> None:
        """Queue the event in a packet from the supervisor; an empty packet means that the supervisor has ended."""
        if not packet:
            self.supervisor_ended = True
        elif events.is_event(packet):
            event = events.parse(packet, now_ms=time.time() * 1000, now=time.monotonic())
            if isinstance(event, events.Shutdown):
                self.waiting.append(event)
                self._running = None
            else:
                self.waiting.append((event, self._scheduler.on_invoke(event.request_id, again=event.again)))
                self._running = event.request_id if self._invocations.may_run(event.request_id, event.again) else None
                self._suspend_until = self._clock() + SUSPEND_SECONDS

    def suspended_seconds(self) -> float:
        """Return how long loading has to stand still from now on, in seconds; 0 if it may go on."""
        if self.supervisor_ended or self._running is None or self._invocations.ended(self._running):
            return 0.0
        return max(0.0, self._suspend_until - self._clock())

    @property
    def held(self) -> bool:
        """Whether an event waits for the end of loading."""
        return bool(self.waiting) or self.supervisor_ended
