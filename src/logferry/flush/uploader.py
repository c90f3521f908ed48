"""Upload of sealed segments to the sink, within deadlines.

Guarantees:
- A segment is removed only after the sink has confirmed the object. After any failure it stays in
  the spool, and the repeated upload overwrites the object (see `encoder`).
- One upload is in flight at a time, so that the caller waits for all uploads by waiting for one.
- A failing sink costs one attempt, then nothing until the circuit breaker allows a trial.
- With `force`, at SHUTDOWN, transient failures are retried until the deadline. A time that the
  destination requests counts only if it ends before the deadline.
- If a destination stores an object without some of its records, their loss is logged and reported.
- An object that is rejected for its content or size does not stop the uploads of the others, and is
  tried again rarely. A fallback destination gets this object too.
- An object that does not fit into the upload timeout gets more time with each attempt. Meanwhile
  the other segments are uploaded (see `upload_limits`).
- An upload during which the environment was frozen is repeated at once (see `bounded_put`).
- If there is a fallback destination, it is used while the first one keeps failing (see `failover`).
  The limits of time apply to both together.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from logferry.deadline import Deadline
from logferry.errors import RecordsRejected, SegmentLost, SinkError, SinkRejected
from logferry.flush.circuit_breaker import REJECTED_SECONDS, CircuitBreaker, backoff
from logferry.flush.target import Target
from logferry.flush.upload_log import UploadLog
from logferry.log import get_logger
from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from logferry.flush.failover import Failover
    from logferry.flush.failover_log import FailoverLog
    from logferry.flush.target import Encode
    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment
    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink

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
        encode: Encode,
        timeout_seconds: float,
        breaker: CircuitBreaker | None = None,
        fallback: tuple[Sink, Encode] | None = None,
    ) -> None:
        """`timeout_seconds` is LOGFERRY_UPLOAD_TIMEOUT; `breaker` is given only in tests.

        `fallback` has the sink and the encoder of the fallback destination.
        """
        breaker = breaker or CircuitBreaker(jitter=_system_random)
        self._journal = journal
        self._jitter = breaker.jitter
        self._first = Target(sink, encode, timeout_seconds=timeout_seconds, breaker=breaker)
        self._targets = [self._first]
        self._failover: Failover | None = None
        self._log: UploadLog | FailoverLog = UploadLog()
        if fallback:
            from logferry.flush.failover import Failover  # noqa: PLC0415 - off by default
            from logferry.flush.failover_log import FailoverLog  # noqa: PLC0415

            breaker = CircuitBreaker(jitter=breaker.jitter)
            self._targets.append(Target(*fallback, timeout_seconds=timeout_seconds, breaker=breaker))
            self._failover = Failover(*self._targets)
            self._log = FailoverLog(self._failover)
        self._one_at_a_time = asyncio.Lock()
        self._until = Deadline(0.0)
        """Deadline of the current drain."""
        self._in_flight = False
        self._shares_time = False
        """Whether the upload in flight must leave time for the fallback destination."""
        self._uploaded = 0

    @property
    def backlog(self) -> tuple[Segment, ...]:
        """The segments that are sealed and not uploaded, oldest first."""
        return self._journal.sealed

    @property
    def rejected_segments(self) -> int:
        """Number of segments in the backlog whose objects were rejected for their content or size."""
        return sum(any(each.limits.rejections(one) for each in self._targets) for one in self.backlog)

    def attempt_allowed(self) -> bool:
        """Return whether a circuit breaker allows an attempt now."""
        return bool(self._usable())

    def has_ready_segment(self) -> bool:
        """Return whether a segment may be uploaded now; this includes an upload in flight."""
        return self._in_flight or self._next_upload() is not None

    def hold_deadline(self, deadline: Deadline) -> Deadline:
        """Return when to release an invocation that ends at `deadline`.

        However large the backlog is after an outage, it is one upload timeout from now. A large
        object whose upload has timed out before gets more time.
        """
        now, backlog = loop_time(), self.backlog
        targets = [*(self._usable() or (self._first,))]
        if upload := self._next_upload():
            targets.append(upload[0])
        return deadline.no_later_than(now + max(each.limits.hold_seconds(backlog, now) for each in targets))

    def connect(self) -> None:
        """Let the sink connect while the function runs, so that no handshake extends the invocation."""
        (self._usable() or (self._first,))[0].put.connect()

    def cancel_connect(self) -> None:
        """Cancel a pending connection attempt, so that no I/O is in flight when the environment is frozen."""
        for target in self._targets:
            target.put.cancel_connect()

    def shorten_deadline(self, deadline: Deadline) -> None:
        """Let the current drain end at this deadline if it would end later."""
        self._until = self._until.no_later_than(deadline.at)
        deadline = self._attempt_deadline(deadline)
        for target in self._targets:
            target.put.shorten(deadline)

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
            self._log.drained()
            self._one_at_a_time.release()
            for target in self._targets:
                target.limits.retain(self.backlog)
        return self._uploaded - before

    async def _upload_until_failure(self) -> None:
        # The backlog is looked up each time: the journal may have discarded or sealed segments meanwhile.
        while self._until.remaining(loop_time()) and (upload := self._next_upload()):
            target, segment = upload
            self._shares_time = self._failover is not None and self._failover.shares_time(target, loop_time())
            try:
                await self._upload(target, segment)
            except SinkError as error:
                # The circuit breaker is open now. Only the fallback destination may have a next upload.
                retry_in = self._note_failure(target, segment, error)
                self._log.failed(target, segment, error, retry_in=retry_in, is_last=self._next_upload() is None)

    async def _upload_with_retries(self) -> None:
        failures, requested = 0, 0.0
        tried: list[Target] = []
        """Targets that have failed since the last success or pause."""
        rejected: list[Target] = []
        refused: set[tuple[Target, str, int]] = set()
        """Segments whose objects a target has rejected for their own sake."""
        while self._until.remaining(loop_time()) and self.backlog:
            left = [each for each in self._last_order() if each not in rejected and each not in tried]
            uploads = [(each, one) for each in left if (one := self._next_last_upload(each, refused))]
            if not uploads:
                if not tried:
                    return
                failures += 1
                await asyncio.sleep(self._seconds_until_retry(failures, requested))
                tried.clear()
                requested = 0.0
                continue
            (target, segment), *others = uploads
            self._shares_time = self._failover is not None and self._failover.shares_last_time(
                target, [each for each, _ in others]
            )
            try:
                await self._upload(target, segment)
            except SinkError as error:
                self._note_failure(target, segment, error)
                if error.is_of_object:
                    refused.add((target, segment.environment, segment.number))
                    retry_in = REJECTED_SECONDS
                else:
                    (rejected if isinstance(error, SinkRejected) else tried).append(target)
                    requested = max(requested, error.retry_after)
                    retry_in = self._seconds_until_retry(failures + 1, requested)
                self._log.failed(target, segment, error, retry_in=retry_in, is_last=not others)
            else:
                failures, requested = 0, 0.0
                tried.clear()

    def _next_last_upload(self, target: Target, refused: Container[tuple[Target, str, int]]) -> Segment | None:
        """Return the next segment for a target at SHUTDOWN, without those whose objects it has rejected."""
        in_order = target.limits.in_order(self.backlog)
        return next((one for one in in_order if (target, one.environment, one.number) not in refused), None)

    def _note_failure(self, target: Target, segment: Segment, error: SinkError) -> float:
        """Open the circuit breaker; return the seconds until the next attempt at this segment."""
        now, is_of_object = loop_time(), error.is_of_object
        rejected = isinstance(error, SinkRejected) and not is_of_object
        seconds = target.breaker.failed(now, rejected=rejected, requested_seconds=error.retry_after)
        if not is_of_object:
            return seconds
        # The other segments are uploaded first, after the time that follows any failure.
        target.limits.note_rejection(segment, now)
        return REJECTED_SECONDS

    def _seconds_until_retry(self, failures: int, requested_seconds: float) -> float:
        seconds = backoff(failures, first=RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS, jitter=self._jitter)
        remaining = self._until.remaining(loop_time())
        return min(max(seconds, requested_seconds) if requested_seconds < remaining else seconds, remaining)

    def _usable(self) -> Sequence[Target]:
        """Return the targets that an upload may use now, the preferred one first."""
        now = loop_time()
        if self._failover:
            return self._failover.usable(now)
        return self._targets if self._first.breaker.allows(now) else ()

    def _last_order(self) -> Sequence[Target]:
        return self._failover.last_order(loop_time()) if self._failover else self._targets

    def _next_upload(self) -> tuple[Target, Segment] | None:
        """Return a target and the next segment for it."""
        now = loop_time()
        for target in self._usable():
            if segment := target.next_segment(self.backlog, now):
                return target, segment
        return self._failover.next_rejected(self.backlog, now) if self._failover else None

    def _attempt_deadline(self, deadline: Deadline) -> Deadline:
        """Return the deadline of one attempt in a drain that ends at `deadline`."""
        if self._failover is None or not self._shares_time:
            return deadline
        return self._failover.share_of(deadline, loop_time())

    async def _upload(self, target: Target, segment: Segment) -> None:
        """Upload one segment, or report its loss. Raises SinkError."""
        self._in_flight = True
        try:
            with self._journal.holding(segment):
                try:
                    stored = await target.encoded(self._journal, segment)
                except SegmentLost as error:
                    log.error("a segment is lost", segment=repr(segment), reason=str(error))  # noqa: TRY400 - no traceback for users
                    self._journal.lose(segment, reason=str(error))
                    return
                try:
                    await target.store(segment, stored, self._attempt_deadline(self._until))
                except RecordsRejected as error:
                    self._lose_records(segment, stored, error)
                else:
                    self._journal.remove(segment)
        finally:
            self._in_flight = self._shares_time = False
        self._uploaded += 1
        self._log.stored(target)
        target.breaker.succeeded()
        log.debug("uploaded", key=stored.key, bytes=len(stored.body), records=stored.metadata["records"])

    def _lose_records(self, segment: Segment, stored: StoredObject, error: RecordsRejected) -> None:
        """Report the records that the destination will never store, and remove the segment."""
        log.error("the destination rejected records", key=stored.key, records=error.records, reason=str(error))
        is_complete = error.records >= int(stored.metadata["records"])
        reason = "the destination rejected " + ("the records" if is_complete else "some of the records")
        self._journal.lose(segment, reason=reason, records=None if is_complete else error.records)


def _system_random() -> float:
    """Return a random number from 0 to 1 that differs between the clones of a SnapStart snapshot."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF
