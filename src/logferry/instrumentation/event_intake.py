"""Intake of the function's own events: lines to records, in one batch of the journal.

Guarantees:
- Each read of the pipe is stored before the next read. If the journal is full, nothing more is read, and the lines
  stay in the pipe.
- Events do not pass the deduplicator: two equal events in one millisecond are two events.
- An event that is not stored is counted by reason (see `event_losses`). Of the malformed lines in the pipe, one in
  `UNPARSABLE_INTERVAL_MS` is kept as a `logferry.unparsable` record.
- The observers receive each event after it is stored, with its request. If the request is provisional, they receive the
  event when it is settled, at the latest before the segment is sealed.

Design: a batch of events may lie between the halves of a cut platform record, because the reader of the segment
(`records.decoder`) skips it there. Holding the events back until the record is complete would let any process that
posts a cut record delay them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import JournalFull
from logferry.instrumentation import event_line
from logferry.instrumentation.event_line import MalformedLine
from logferry.instrumentation.event_losses import LIMIT, MALFORMED, OVERSIZED, PIPE_FULL, UNSTORED
from logferry.instrumentation.taken_events import Provisional, Taken
from logferry.records.internal import CALL, sent_batch, settling_batch
from logferry.records.model import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from logferry.instrumentation.event_attribution import EventAttribution
    from logferry.instrumentation.event_line import EventLine
    from logferry.instrumentation.event_losses import EventLosses
    from logferry.instrumentation.event_pipe import EventPipe
    from logferry.records.internal import InternalBatch

MAX_MALFORMED = 1000
"""Malformed lines of one read or request that are examined. The lines behind them count as malformed and are not
parsed, so that a flood of junk keeps the shipper from responding for milliseconds only."""
UNPARSABLE_INTERVAL_MS = 1000
"""Shortest time between two `logferry.unparsable` records, in milliseconds. Malformed lines in between are counted."""
PROVISIONAL_MS = 2000
"""Longest time for which a request is provisional, in milliseconds. An INVOKE follows its event within a few
milliseconds, and within some hundred on a small share of a core."""
SMALLEST_READ_BYTES = 4096
"""Content of a full pipe that one read returns at least, in bytes: a page."""


class EventIntake:
    """Entry of all events of one execution environment."""

    def __init__(
        self,
        *,
        pipe: EventPipe | None,
        store: Callable[[InternalBatch], None],
        attribution: EventAttribution,
        losses: EventLosses,
        on_event: Callable[[str, Mapping[str, Any], str | None], None],
        limit: int,
        limit_per_second: bool,
        store_calls: bool,
        since_ms: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """Take events of `pipe` and of `accept`.

        `store` appends a batch to the journal or raises JournalFull. `on_event` receives type, record and request.
        `limit` counts the events of one invocation, or of one second with `limit_per_second`. `since_ms` is the start
        of the environment (epoch ms).
        """
        self._pipe = pipe
        self._store = store
        self.attribution = attribution
        self.losses = losses
        self._on_event = on_event
        self._limit = limit
        self._limit_per_second = limit_per_second
        self._store_calls = store_calls
        self._since_ms = since_ms
        self._clock_ms = clock_ms
        self._window = 0
        """Second to which the limit applies, with `limit_per_second`."""
        self._in_window = 0
        """Events that count towards the limit."""
        self._next_unparsable_ms = 0
        """Earliest time of the next `logferry.unparsable` record (epoch ms)."""
        self._provisional: list[Provisional] = []
        self._unstored: tuple[Taken, InternalBatch] | None = None
        """Read that the journal has refused. It is stored before the next read."""
        self.refresh: Callable[[], None] = lambda: None
        """Take in the events of the platform that have arrived. Without it, an event of the function that follows an
        INVOKE within microseconds would be attributed to the previous invocation."""

    def on_invoke(
        self,
        request_id: str,
        trace_root: str | None,
        *,
        deadline_ms: float | None,
        invoked_ms: int,
        nothing_waited: bool,
    ) -> None:
        """Note the request of an INVOKE event that has arrived at `invoked_ms`, and read the pipe.

        `deadline_ms` is its deadline. Times are in epoch ms. `nothing_waited`: at that time every earlier event had
        been read, or an earlier shipper had received the INVOKE.
        """
        self.attribution.announce(request_id, trace_root, deadline_ms=deadline_ms, invoked_ms=invoked_ms)
        self._settle(invoked_ms=invoked_ms)
        # Two cases: 1. all earlier events were read, so those in the pipe are of this invocation,
        # 2. the environment was frozen before the events of the previous invocation were read.
        if nothing_waited or self.attribution.is_past:
            self._begin(request_id)
            self.drain()
        else:
            self.drain()
            self._begin(request_id)

    def collect(self) -> None:
        """Read everything, and settle the requests of all events."""
        self.drain()
        self._settle(invoked_ms=None)

    def drain(self) -> None:
        """Read and store until the pipe is empty, but not more than the pipe can hold."""
        if not self._pipe or not self.has_waiting():
            return
        until = self._pipe.received + self._pipe.capacity
        for _ in range(1 + self._pipe.capacity // SMALLEST_READ_BYTES):
            if not self.read_once() or self._pipe.received >= until:
                return

    @property
    def has_read(self) -> bool:
        """Whether the pipe has had content."""
        return self._pipe is not None and self._pipe.received > 0

    def has_waiting(self) -> bool:
        """Return whether `read_once` has something to do. An empty pipe is noted as completely read."""
        if self._unstored or self._provisional or (self._pipe and self._pipe.has_content()):
            return True
        self.attribution.note_empty_pipe()
        return False

    def read_once(self) -> bool:
        """Store the events of one read; return False if there was nothing to read, or the journal is full."""
        if not self.has_waiting():
            return False
        self.refresh()
        if self._provisional and self._clock_ms() - self._provisional[0].received_ms > PROVISIONAL_MS:
            self._settle(invoked_ms=None)
        if self._pipe is None or not self._store_unstored():
            return False
        has_ended = not self.attribution.is_running
        lines = self._pipe.read()
        if lines is None:
            self.attribution.note_complete_read(has_ended=has_ended)
            return False
        oversized, self._pipe.oversized = self._pipe.oversized, 0
        self.losses.add(OVERSIZED, oversized, self.attribution.by_order)
        self._put(lines)
        return self._unstored is None

    def accept(self, lines: Iterable[bytes]) -> Taken:
        """Store the events of a request. Raise JournalFull if none of them is stored."""
        self.refresh()
        by_order = self.attribution.by_order if self.attribution.is_running else None
        taken = self._take(lines, by_order)
        try:
            if batch := self._batch(taken):
                self._store(batch)
        except JournalFull:
            self._in_window -= len(taken.events)
            raise
        self._notify(taken)
        return taken

    def finish(self) -> None:
        """Read the rest at the end of the environment, and count what cannot be stored."""
        self.collect()
        tail = self._pipe.take_tail() if self._pipe else b""
        if tail and self._unstored is None:
            self._put([tail])
        if self._unstored:
            self.losses.add(UNSTORED, len(self._unstored[0].events), self.attribution.current)
            self._unstored = None
        self._settle(invoked_ms=None)
        for each in self._provisional:
            self._observe(each.event, each.request)

    def _begin(self, request_id: str) -> None:
        self.attribution.begin(request_id)
        if not self._limit_per_second:
            self._in_window = 0

    def _put(self, lines: list[bytes]) -> None:
        """Store lines of the pipe, or keep them if the journal is full."""
        taken = self._take(lines, self.attribution.by_order)
        unparsable = b""
        if taken.malformed and self._clock_ms() >= self._next_unparsable_ms:
            unparsable, self._next_unparsable_ms = taken.malformed_line, self._clock_ms() + UNPARSABLE_INTERVAL_MS
        batch = self._batch(taken, unparsable=unparsable)
        self._unstored = (taken, batch) if batch else None
        if batch:
            self._store_unstored()
        else:
            self._notify(taken)

    def _store_unstored(self) -> bool:
        """Store the read that the journal has refused; return whether none is left."""
        if self._unstored:
            taken, batch = self._unstored
            try:
                self._store(batch)
            except JournalFull:
                return False
            self._unstored = None
            self._notify(taken)
        return True

    def _take(self, lines: Iterable[bytes], by_order: str | None) -> Taken:
        """Parse lines, attribute them, and apply the limit."""
        now_ms = self._clock_ms()
        if self._limit_per_second and now_ms // 1000 != self._window:
            self._window, self._in_window = now_ms // 1000, 0
        taken = Taken(by_order)
        for number, line in enumerate(lines, start=1):
            # Four cases: 1. an empty line, 2. over the limit, 3. not an event, 4. an event.
            if not line.strip():
                continue
            if self._in_window >= self._limit and (self._store_calls or b'"call"' not in line):
                taken.over_limit += 1
                continue
            try:
                event = self._parse(line, now_ms=now_ms, examine=taken.malformed < MAX_MALFORMED)
            except MalformedLine as error:
                taken.add_malformed(number, line, str(error))
                continue
            request, is_provisional = self.attribution.of(event, by_order=by_order)
            taken.events.append(((request, is_provisional), event))
            self._in_window += self._is_stored(event)
        return taken

    def _parse(self, line: bytes, *, now_ms: int, examine: bool) -> EventLine:
        if not examine:
            raise MalformedLine("it was not examined, because too many lines before it are malformed")
        return event_line.parse(line, since_ms=self._since_ms, now_ms=now_ms)

    def _is_stored(self, event: EventLine) -> bool:
        return self._store_calls or event.kind != CALL

    def _batch(self, taken: Taken, *, unparsable: bytes = b"") -> InternalBatch | None:
        """Return the batch of the events that are stored one by one; None if there is nothing to store."""
        now_ms = self._clock_ms()
        now = iso(now_ms)
        stored = [
            (attributed, event.kind, event.time or now, event.record_text())
            for attributed, event in taken.events
            if self._is_stored(event)
        ]
        return sent_batch(stored, unparsable=unparsable, at_ms=now_ms) if stored or unparsable else None

    def _notify(self, taken: Taken) -> None:
        """Pass the events and the losses of a read or a request to the observers."""
        for (request, is_provisional), event in taken.events:
            if is_provisional:
                self._provisional.append(Provisional(event, request, self._clock_ms(), self.attribution.is_init))
            else:
                self._observe(event, request)
        self.losses.add(LIMIT, taken.over_limit, taken.by_order)
        detail = f"line {taken.malformed_number}: {taken.reason}" if taken.malformed else ""
        self.losses.add(MALFORMED, taken.malformed, taken.by_order, detail)

    def _observe(self, event: EventLine, request: tuple[str, str] | None) -> None:
        request_id = request[0] if request else None
        self._on_event(event.kind, event.record, request_id)
        if lost := event.lost_before:
            self.losses.add(PIPE_FULL, lost, request_id)

    def _settle(self, *, invoked_ms: int | None) -> None:
        """Settle the provisional requests, at an INVOKE with the time of its arrival, else without one."""
        if not self._provisional:
            return
        waiting, self._provisional = self._provisional, []
        settled = [
            self.attribution.settled(each.event, each.request, received_ms=each.received_ms, invoked_ms=invoked_ms)
            for each in waiting
        ]
        stored = [
            (request, each.is_init)
            for request, each in zip(settled, waiting, strict=True)
            if self._is_stored(each.event)
        ]
        try:
            if stored:
                self._store(settling_batch(stored, at_ms=self._clock_ms()))
        except JournalFull:
            self._provisional = waiting
            return
        for request, each in zip(settled, waiting, strict=True):
            self._observe(each.event, request)
