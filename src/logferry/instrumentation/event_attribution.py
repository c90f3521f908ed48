"""Request to which an event of the function belongs.

Guarantees:
- The order is: the request that the line states, the trace that it states, the single invocation that runs. An event
  outside these cases has no request.
- A stated request counts only if it has started in this environment. Managed Instances are the exception: the platform
  reports a start up to one second later than its first event, so any UUID counts there.
- After an invocation has ended and the pipe has been read once more, no event is attributed to it by order.

References: Extensions API, "Next" (`tracing` of INVOKE); Telemetry API, `platform.start`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.records.started_requests import valid_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.instrumentation.event_line import EventLine
    from logferry.records.started_requests import StartedRequests

TRACES = 256
"""Number of remembered trace roots."""
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

    def announce(self, request_id: str, trace_root: str | None) -> None:
        """Note that a request has started, and the root of its trace if there is one."""
        self._announced = request_id
        self.note_trace(request_id, trace_root)

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

    @property
    def is_past(self) -> bool:
        """Whether every event of the latest invocation has been read from the pipe."""
        return self._is_past and self._current is not None

    @property
    def by_order(self) -> str | None:
        """Request of an event that states none."""
        return None if self._concurrent or self._is_past else self._current

    def of(self, line: EventLine, *, by_order: str | None) -> tuple[str, str] | None:
        """Return the request of an event and its source: `record` or `inferred`."""
        stated = valid_id(line.request_id)
        # Four cases: 1. a started request, 2. any UUID on Managed Instances, 3. the trace, 4. the order.
        if stated and (stated in self._started or stated == self._announced):
            return stated, "record"
        if stated and self._concurrent and _UUID.fullmatch(stated):
            return stated, "record"
        if (root := line.trace_root) and root in self._traces:
            return self._traces[root], "record"
        # After a freeze, an event of the next invocation may be read before its INVOKE has arrived.
        if by_order and not (stated and _UUID.fullmatch(stated) and not self.is_running):
            return by_order, "inferred"
        return None
