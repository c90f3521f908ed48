"""One upload target of the uploader: the state of a destination, and the upload of one segment to it.

Guarantees:
- An upload ends at its limit or at the deadline. Any failure is a SinkError.
- Each target has its own circuit breaker and its own time limits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logferry.flush.bounded_put import BoundedPut, UploadTimeout
from logferry.flush.upload_limits import UploadLimits
from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from logferry.deadline import Deadline
    from logferry.flush.circuit_breaker import CircuitBreaker
    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment
    from logferry.records.model import Header, StoredObject
    from logferry.sinks.base import Sink

    Encode = Callable[[Header, Iterable[bytes], bool], StoredObject]

INLINE_BYTES = 256 * 1024
"""Size of a segment up to which it is encoded in the event loop, in bytes. This takes 2 ms. A
larger one is encoded in a thread, so that batches are answered meanwhile."""


class Target:
    """A sink with its encoder, its circuit breaker and its time limits."""

    __slots__ = ("_encode", "breaker", "limits", "put", "sink")

    def __init__(self, sink: Sink, encode: Encode, *, timeout_seconds: float, breaker: CircuitBreaker) -> None:
        """`timeout_seconds` is LOGFERRY_UPLOAD_TIMEOUT."""
        self.sink = sink
        self.put = BoundedPut(sink)
        self.breaker = breaker
        self.limits = UploadLimits(timeout_seconds=timeout_seconds, jitter=breaker.jitter)
        self._encode = encode

    def next_segment(self, backlog: Sequence[Segment], now: float) -> Segment | None:
        """Return the next segment whose upload to this target is not postponed."""
        return next((one for one in self.limits.in_order(backlog) if self.limits.is_ready(one, now)), None)

    async def encoded(self, journal: Journal, segment: Segment) -> StoredObject:
        """Return the object of a segment. Raises SegmentLost."""
        if segment.size <= INLINE_BYTES:
            return self._encode_segment(journal, segment)
        return await asyncio.to_thread(self._encode_segment, journal, segment)

    async def store(self, segment: Segment, stored: StoredObject, deadline: Deadline) -> None:
        """Put the object of a segment within its limit and the deadline. Raises SinkError."""
        size = len(stored.body)
        try:
            await self.put.run(stored, limit=self.limits.seconds(segment, size), deadline=deadline)
        except UploadTimeout:
            self.limits.note_timeout(segment, size, loop_time())
            raise

    def _encode_segment(self, journal: Journal, segment: Segment) -> StoredObject:
        with journal.reading(segment) as (header, batches):
            return self._encode(header, batches, segment.final)
