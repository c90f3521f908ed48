"""Request to which an event of the function belongs.

Guarantees:
- The order is: the request that the line states, the trace that it states, the single invocation that runs. An event
  outside these cases has no request.
- A stated request counts only if it has started in this environment. Managed Instances are the exception: the platform
  reports a start up to one second later than its first event, so any UUID counts there.
- An event that states only its time belongs to the invocation that had begun at this time.
- After an invocation has ended and the pipe has been read once more, no event is attributed to it by order.

Design: the runtime receives an invocation at the same time as this process. Its first events may therefore arrive here
before the INVOKE, and after a freeze the pipe may hold events of two invocations. An INVOKE event has no start but a
deadline. Timeouts are whole seconds, so the start is the latest time before the INVOKE that is whole seconds before the
deadline. Such a request is provisional until the INVOKE arrives. If `platform.start` contradicts the result, deadlines
are not used any more.

References: Extensions API, "Next" (`tracing` and `deadlineMs` of INVOKE); Telemetry API, `platform.start`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.instrumentation.event_line import epoch_ms
from logferry.records.started_requests import valid_id
from logferry.records.timestamps import is_canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.instrumentation.event_line import EventLine
    from logferry.records.started_requests import StartedRequests

TRACES = 256
"""Number of remembered trace roots."""
OVERTAKING_MS = 100
"""Longest time by which an event may arrive before the INVOKE of its invocation, in milliseconds, on a slow machine. It
is used only if deadlines are not."""
ROUNDING_MS = 5
"""Allowance for a deadline that was rounded, in milliseconds."""
START_ERROR_MS = 50
"""Largest deviation from `platform.start`, in milliseconds. A larger one shows that two clocks differ."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class EventAttribution:
    """Invocations that events may belong to."""

    def __init__(
        self,
        *,
        started: StartedRequests,
        ended: Callable[[str], bool],
        concurrent: bool,
        running: str | None = None,
        any_started: bool = False,
    ) -> None:
        """Observe `started` and `ended`, which follow the stream.

        `running` is the request that runs according to the journal. `any_started`: an earlier shipper of this
        environment may have seen an invocation.
        """
        self._started = started
        self._ended = ended
        self._concurrent = concurrent
        self._current = self._announced = running
        self._is_past = False
        self._any_started = any_started or running is not None
        self._traces: dict[str, str] = {}
        self._begun_ms: float | None = None
        """Time at which the announced invocation had begun (epoch ms), if it is known."""
        self._ended_at: tuple[str, object] = ("", None)
        """Invocation that has ended last, and the time of its end."""
        self.is_held = False
        """Whether the latest INVOKE event is held. The platform sends no other one before it is acknowledged."""
        self._use_deadlines = True
        self._is_confirmed = False

    @property
    def current(self) -> str | None:
        """The request of the latest invocation, even if it has ended."""
        return self._current

    @property
    def is_running(self) -> bool:
        """Whether the latest invocation has not ended."""
        return self._current is not None and not self._ended(self._current)

    @property
    def is_init(self) -> bool:
        """Whether no invocation has started. An event without a request belongs to the Init phase then."""
        return not self._any_started and not (self._concurrent and len(self._started))

    def announce(
        self, request_id: str, trace_root: str | None, *, deadline_ms: float | None, invoked_ms: float
    ) -> None:
        """Note an INVOKE event that has arrived at `invoked_ms`: a request has started.

        Its trace and its deadline may be missing. Times are in epoch ms.
        """
        self._announced, self._begun_ms = request_id, None
        if self._use_deadlines and deadline_ms is not None:
            latest = invoked_ms + ROUNDING_MS
            self._begun_ms = latest - (latest - deadline_ms) % 1000
        self.note_trace(request_id, trace_root)

    @property
    def needs_start(self) -> bool:
        """Whether no `platform.start` has confirmed that deadlines may be used."""
        return self._use_deadlines and not self._is_confirmed

    def note_start(self, request_id: str, time: object) -> None:
        """Compare the time of `platform.start` with the one that follows from the deadline."""
        if request_id == self._announced and self._begun_ms is not None and is_canonical(time):
            started_ms = epoch_ms(time) or 0.0
            self._use_deadlines = self._is_confirmed = abs(started_ms - self._begun_ms) <= START_ERROR_MS

    def note_end(self, request_id: str, time: object) -> None:
        """Note the time of the end of an invocation, as the platform has written it."""
        self._ended_at = (request_id, time)

    def note_trace(self, request_id: str, trace_root: str | None) -> None:
        """Note the root of a request's trace, if there is one."""
        if trace_root:
            self._traces.pop(trace_root, None)
            self._traces[trace_root] = request_id
            if len(self._traces) > TRACES:
                del self._traces[next(iter(self._traces))]

    def begin(self, request_id: str) -> None:
        """Make a request the one to which events without a request belong."""
        self._current, self._is_past, self._any_started = request_id, False, True

    def note_complete_read(self, *, has_ended: bool) -> None:
        """Note that the pipe was read until it was empty. `has_ended`: the invocation had ended before the read."""
        self._is_past = self._is_past or has_ended

    def note_empty_pipe(self) -> None:
        """Note that the pipe is empty: if the latest invocation has ended, every event of it has been read."""
        if not self._is_past and self._current is not None:
            self._is_past = self._ended(self._current)

    @property
    def is_past(self) -> bool:
        """Whether every event of the latest invocation has been read from the pipe."""
        return self._is_past and self._current is not None

    @property
    def by_order(self) -> str | None:
        """Request of an event that states none."""
        return None if self._concurrent or self._is_past else self._current

    def of(self, line: EventLine, *, by_order: str | None) -> tuple[tuple[str, str] | None, bool]:
        """Return the request of an event with its source, `record` or `inferred`, and whether it is provisional.

        `by_order` is the request of an event that states none. A provisional request is settled at the next INVOKE.
        """
        stated = valid_id(line.request_id)
        # Four cases: 1. a started request, 2. any UUID on Managed Instances, 3. the trace, 4. the order.
        if stated and (stated in self._started or stated == self._announced):
            return (stated, "record"), False
        is_uuid = bool(stated and _UUID.fullmatch(stated))
        if stated and is_uuid and self._concurrent:
            return (stated, "record"), False
        if (root := line.trace_root) and root in self._traces:
            return (self._traces[root], "record"), False
        if self._concurrent:
            return None, False
        following = self._next_at(line.time_ms)
        request = following or by_order
        # The event may belong to an invocation whose INVOKE has not arrived, because the runtime receives it at the
        # same time. Two cases: 1. it states a request that has not started, 2. no invocation runs.
        is_of_latest = self.is_held or self.is_running or self._is_before_end(line)
        is_provisional = is_uuid or not (following or is_of_latest)
        return ((request, "inferred") if request else None), is_provisional

    def settled(
        self, line: EventLine, request: tuple[str, str] | None, *, received_ms: int, invoked_ms: int | None
    ) -> tuple[str, str] | None:
        """Return the final request of an event with a provisional one.

        `received_ms` is the time of its receipt, `invoked_ms` the time at which an INVOKE has arrived (epoch ms), or
        None if the event must be settled without one.
        """
        announced = self._announced
        if invoked_ms is None or announced is None:
            return request
        # Three cases: 1. the event states the request, 2. the start of the invocation is known, 3. it is not known,
        # and an event without a request has arrived immediately before the INVOKE.
        if line.request_id == announced:
            return announced, "record"
        at_ms = received_ms if line.time_ms is None else line.time_ms
        if self._begun_ms is not None:
            is_next = at_ms >= self._begun_ms
        else:
            is_next = request is None and not self.is_init and invoked_ms - at_ms <= OVERTAKING_MS
        return (announced, "inferred") if is_next else request

    def _is_before_end(self, line: EventLine) -> bool:
        """Return whether an event has a time before the end of the latest invocation."""
        request_id, time = self._ended_at
        if line.time_ms is None or request_id != self._current or not is_canonical(time):
            return False
        return line.time_ms <= (epoch_ms(time) or 0.0)

    def _next_at(self, at_ms: float | None) -> str | None:
        """Return the announced invocation if it has not begun here, but had begun at a time (epoch ms)."""
        if at_ms is None or self._begun_ms is None or self._announced == self._current:
            return None
        return self._announced if at_ms >= self._begun_ms else None
