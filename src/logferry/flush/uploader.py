"""Upload of sealed segments to the sink, within deadlines.

Guarantees:
- A segment is removed only after the sink has confirmed the object. After any failure it stays in
  the spool, and the repeated upload overwrites the object (see `encoder`).
- One upload is in flight at a time, so that the caller waits for all uploads by waiting for one.
- A failing sink costs one attempt, then nothing until the circuit breaker allows a trial.
- With `force`, at SHUTDOWN, transient failures are retried until the deadline. A time that the
  destination requests counts only if it ends before the deadline.
- If a destination stores an object without some of its records, their loss is logged and reported.
- An object that does not fit into the upload timeout gets more time with each attempt. Meanwhile
  the other segments are uploaded (see `upload_limits`).
- An upload during which the environment was frozen is repeated at once (see `bounded_put`).
- A failure is logged once, with its remedy, and so is the recovery. A rejection is logged even if
  it follows another failure.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from logferry.deadline import Deadline
from logferry.errors import RecordsRejected, SegmentLost, SinkError, SinkRejected
from logferry.flush.bounded_put import BoundedPut, UploadTimeout
from logferry.flush.circuit_breaker import CircuitBreaker, backoff
from logferry.flush.upload_limits import UploadLimits
from logferry.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment
    from logferry.records.model import Header, StoredObject
    from logferry.sinks.base import Sink

INLINE_BYTES = 256 * 1024
"""Size of a segment up to which it is encoded in the event loop, in bytes. This takes 2 ms. A
larger one is encoded in a thread, so that batches are answered meanwhile."""
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 0.4
"""Time between two attempts at SHUTDOWN, in seconds: the first, doubled with each failure, and the
longest. The Shutdown phase has 2 seconds."""

log = get_logger()


class Uploader:
    """The way of sealed segments to the sink."""

    def __init__(
        self,
        *,
        journal: Journal,
        sink: Sink,
        encode: Callable[[Header, Iterable[bytes], bool], StoredObject],
        timeout_seconds: float,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        """`timeout_seconds` is LOGFERRY_UPLOAD_TIMEOUT; `breaker` is given only in tests."""
        self._journal = journal
        self._put = BoundedPut(sink)
        self._encode = encode
        self._breaker = breaker or CircuitBreaker(jitter=_system_random)
        self._limits = UploadLimits(timeout_seconds=timeout_seconds, jitter=self._breaker.jitter)
        self._one_at_a_time = asyncio.Lock()
        self._until = Deadline(0.0)
        """Deadline of the current drain."""
        self._failure_logged = False
        self._rejected = False
        self._uploaded = 0

    @property
    def backlog(self) -> tuple[Segment, ...]:
        """The segments that are sealed and not uploaded, oldest first."""
        return self._journal.sealed

    def attempt_allowed(self) -> bool:
        """Return whether the circuit breaker allows an attempt now."""
        return self._breaker.allows(_now())

    def has_ready_segment(self) -> bool:
        """Return whether a segment may be uploaded now; this includes an upload in flight."""
        return self.attempt_allowed() and self._next_segment() is not None

    def hold_deadline(self, deadline: Deadline) -> Deadline:
        """Return when to release an invocation that ends at `deadline`.

        However large the backlog is after an outage, it is one upload timeout from now. A large
        object whose upload has timed out before gets more time.
        """
        now = _now()
        return deadline.no_later_than(now + self._limits.hold_seconds(self.backlog, now))

    def connect(self) -> None:
        """Let the sink connect while the function runs, so that no handshake extends the invocation."""
        self._put.connect()

    def cancel_connect(self) -> None:
        """Cancel a pending connection attempt, so that no I/O is in flight when the environment is frozen."""
        self._put.cancel_connect()

    def shorten_deadline(self, deadline: Deadline) -> None:
        """Let the current drain end at this deadline if it would end later."""
        self._until = self._until.no_later_than(deadline.at)
        self._put.shorten(deadline)

    async def drain(self, deadline: Deadline, *, force: bool = False) -> int:
        """Upload until no segment is ready, one fails, or the deadline passes; return the number.

        A drain of another caller is awaited, and continues if it outlasts the deadline. With
        `force`, the circuit breaker is ignored and transient failures are retried until the
        deadline.
        """
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            return 0
        self._until, before = deadline, self._uploaded
        try:
            await (self._upload_with_retries() if force else self._upload_until_failure())
        finally:
            self._one_at_a_time.release()
            self._limits.retain(self.backlog)
        return self._uploaded - before

    async def _upload_until_failure(self) -> None:
        # The backlog is looked up each time: the journal may have discarded or sealed segments meanwhile.
        while self._until.remaining(_now()) and self.attempt_allowed() and (segment := self._next_segment()):
            try:
                await self._upload(segment)
            except SinkError as error:
                self._log_failure(segment, error, retry_in=self._open_breaker(error))
                return

    async def _upload_with_retries(self) -> None:
        failures = 0
        while self._until.remaining(_now()) and self.backlog:
            segment = self._limits.in_order(self.backlog)[0]
            try:
                await self._upload(segment)
            except SinkError as error:
                failures += 1
                seconds = self._seconds_until_retry(failures, error.retry_after)
                self._log_failure(segment, error, retry_in=seconds)
                self._open_breaker(error)
                if isinstance(error, SinkRejected):
                    return
                await asyncio.sleep(seconds)
            else:
                failures = 0

    def _seconds_until_retry(self, failures: int, requested_seconds: float) -> float:
        seconds = backoff(failures, first=RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS, jitter=self._breaker.jitter)
        remaining = self._until.remaining(_now())
        return min(max(seconds, requested_seconds) if requested_seconds < remaining else seconds, remaining)

    def _next_segment(self) -> Segment | None:
        now = _now()
        return next((one for one in self._limits.in_order(self.backlog) if self._limits.is_ready(one, now)), None)

    async def _upload(self, segment: Segment) -> None:
        """Upload one segment, or report its loss. Raises SinkError."""
        with self._journal.holding(segment):
            try:
                stored = await self._encoded(segment)
            except SegmentLost as error:
                log.error("a segment is lost", segment=repr(segment), reason=str(error))  # noqa: TRY400 - no traceback for users
                self._journal.lose(segment, reason=str(error))
                return
            size = len(stored.body)
            try:
                await self._put.run(stored, limit=self._limits.seconds(segment, size), deadline=self._until)
            except UploadTimeout:
                self._limits.note_timeout(segment, size, _now())
                raise
            except RecordsRejected as error:
                self._lose_records(segment, stored, error)
            else:
                self._journal.remove(segment)
        self._uploaded += 1
        if self._failure_logged:
            log.warning("uploads work again", after_failures=self._breaker.failures)
        self._breaker.succeeded()
        self._failure_logged = self._rejected = False
        log.debug("uploaded", key=stored.key, bytes=size, records=stored.metadata["records"])

    def _lose_records(self, segment: Segment, stored: StoredObject, error: RecordsRejected) -> None:
        """Report the records that the destination will never store, and remove the segment."""
        log.error("the destination rejected records", key=stored.key, records=error.records, reason=str(error))
        is_complete = error.records >= int(stored.metadata["records"])
        reason = "the destination rejected " + ("the records" if is_complete else "some of the records")
        self._journal.lose(segment, reason=reason, records=None if is_complete else error.records)

    async def _encoded(self, segment: Segment) -> StoredObject:
        if segment.size <= INLINE_BYTES:
            return self._encode_segment(segment)
        return await asyncio.to_thread(self._encode_segment, segment)

    def _encode_segment(self, segment: Segment) -> StoredObject:
        with self._journal.reading(segment) as (header, batches):
            return self._encode(header, batches, segment.final)

    def _open_breaker(self, error: SinkError) -> float:
        return self._breaker.failed(
            _now(), rejected=isinstance(error, SinkRejected), requested_seconds=error.retry_after
        )

    def _log_failure(self, segment: Segment, error: SinkError, *, retry_in: float) -> None:
        rejected = isinstance(error, SinkRejected)
        # 1. The first rejection. 2. The first failure, unless the segment's timeouts have been logged.
        is_new = (rejected and not self._rejected) or (not self._failure_logged and self._limits.timeouts(segment) <= 1)
        self._rejected = rejected
        self._failure_logged |= is_new
        write = log.warning if is_new else log.debug
        message = "an upload failed, the records stay in the spool"
        write(message, reason=str(error), next_attempt_in_s=round(retry_in, 1))


def _system_random() -> float:
    """Return a random number from 0 to 1 that differs between the clones of a SnapStart snapshot."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF


def _now() -> float:
    return asyncio.get_running_loop().time()
