"""Upload of sealed segments to the sink, within deadlines.

Guarantees:
- A segment is removed only after the sink has confirmed the object. After any failure it stays in
  the spool, and the repeated upload overwrites the object (see `encoder`).
- One upload is in flight at a time, so that the caller waits for all uploads by waiting for one.
- A failing sink costs one attempt, then nothing until the circuit breaker allows a trial.
- With `force`, at SHUTDOWN, transient failures are retried until the deadline.
- An object that does not fit into the upload timeout gets more time with each attempt. Meanwhile
  the other segments are uploaded (see `upload_limits`).
- An upload during which the environment was frozen is repeated at once on a new connection.
- A failure is logged once, with its remedy, and so is the recovery. A rejection is logged even if
  it follows another failure.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from logferry.deadline import Deadline
from logferry.errors import SegmentLost, SinkError, SinkRejected, SinkUnavailable
from logferry.flush.circuit_breaker import CircuitBreaker, backoff
from logferry.flush.freeze_watch import FreezeWatch
from logferry.flush.upload_limits import LARGE_BYTES, UploadLimits
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


class UploadTimeout(SinkUnavailable):
    """An upload that did not end within its limit."""


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
        self._sink = sink
        self._encode = encode
        self._breaker = breaker or CircuitBreaker(jitter=_system_random)
        self._limits = UploadLimits(timeout_seconds=timeout_seconds, jitter=self._breaker.jitter)
        self._one_at_a_time = asyncio.Lock()
        self._until = Deadline(0.0)
        """Deadline of the current drain."""
        self._shortened: Deadline | None = None
        """Deadline that `shorten_deadline` has set since the current attempt began."""
        self._timeout: asyncio.Timeout | None = None
        """Timeout of the current attempt."""
        self._connecting: asyncio.Task[None] | None = None
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
        return deadline.sooner(now + self._limits.hold_seconds(self.backlog, now))

    def connect(self) -> None:
        """Let the sink connect while the function runs, so that the handshake does not extend the invocation."""
        self.cancel_connect()
        self._connecting = asyncio.create_task(self._sink.connect())

    def cancel_connect(self) -> None:
        """Cancel a pending connection attempt, so that no I/O is in flight when the environment is frozen."""
        if self._connecting:
            self._connecting.cancel()

    def shorten_deadline(self, deadline: Deadline) -> None:
        """Let the current drain end at this deadline if it would end later."""
        self._until = self._until.sooner(deadline.at)
        self._shortened = deadline if self._shortened is None else self._shortened.sooner(deadline.at)
        if self._timeout:
            _shorten(self._timeout, deadline.at)

    async def drain(self, deadline: Deadline, *, force: bool = False) -> int:
        """Upload segments until none is ready, one fails, or the deadline passes; return the number.

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
                seconds = self._seconds_until_retry(failures)
                self._log_failure(segment, error, retry_in=seconds)
                self._open_breaker(error)
                if isinstance(error, SinkRejected):
                    return
                await asyncio.sleep(seconds)
            else:
                failures = 0

    def _seconds_until_retry(self, failures: int) -> float:
        seconds = backoff(failures, first=RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS, jitter=self._breaker.jitter)
        return min(seconds, self._until.remaining(_now()))

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
            try:
                await self._put(segment, stored)
            except UploadTimeout:
                self._limits.note_timeout(segment, len(stored.body), _now())
                raise
            self._journal.remove(segment)
        self._uploaded += 1
        if self._failure_logged:
            log.warning("uploads work again", after_failures=self._breaker.failures)
        self._breaker.succeeded()
        self._failure_logged = self._rejected = False
        log.debug("uploaded", key=stored.key, bytes=len(stored.body), records=stored.metadata["records"])

    async def _put(self, segment: Segment, stored: StoredObject) -> None:
        """Put an object within its limit and the deadline, and once more after a freeze. Raises SinkError."""
        limit = self._limits.seconds(segment, len(stored.body))
        self._shortened = None
        if not await self._attempt(stored, limit, self._until, may_be_repeated=True):
            # The deadline of the drain is from before the freeze. A deadline from after the thaw counts.
            await self._attempt(stored, limit, self._shortened, may_be_repeated=False)

    async def _attempt(
        self, stored: StoredObject, limit: float, deadline: Deadline | None, *, may_be_repeated: bool
    ) -> bool:
        """Put an object once; return False if it must be repeated after a freeze. Raises SinkError."""
        began, frozen = _now(), False
        bound = Deadline(began + limit)
        self._timeout = timeout = asyncio.timeout_at((bound.sooner(deadline.at) if deadline else bound).at)

        def on_thaw() -> None:
            nonlocal frozen
            frozen = may_be_repeated
            if frozen:
                _shorten(timeout, _now())

        try:
            with FreezeWatch(on_thaw):
                async with timeout:
                    if self._connecting and not self._connecting.done():
                        await asyncio.wait((self._connecting,))
                    await self._sink.put(stored)
        except (SinkUnavailable, TimeoutError) as error:
            if frozen:
                return False
            if isinstance(error, SinkUnavailable):
                raise
            # The deadline of a held invocation is usually one upload timeout away, a moment before the limit.
            at_deadline = (timeout.when() or 0.0) < began + 0.9 * limit
            raise UploadTimeout(_timeout_message(stored, _now() - began, at_deadline=at_deadline)) from None
        finally:
            self._timeout = None
        return True

    async def _encoded(self, segment: Segment) -> StoredObject:
        if segment.size <= INLINE_BYTES:
            return self._encode_segment(segment)
        return await asyncio.to_thread(self._encode_segment, segment)

    def _encode_segment(self, segment: Segment) -> StoredObject:
        with self._journal.reading(segment) as (header, batches):
            return self._encode(header, batches, segment.final)

    def _open_breaker(self, error: SinkError) -> float:
        return self._breaker.failed(_now(), rejected=isinstance(error, SinkRejected))

    def _log_failure(self, segment: Segment, error: SinkError, *, retry_in: float) -> None:
        rejected = isinstance(error, SinkRejected)
        # 1. The first rejection. 2. The first failure, unless the segment's timeouts have been logged.
        is_new = (rejected and not self._rejected) or (not self._failure_logged and self._limits.timeouts(segment) <= 1)
        self._rejected = rejected
        self._failure_logged |= is_new
        write = log.warning if is_new else log.debug
        message = "an upload failed, the records stay in the spool"
        write(message, reason=str(error), next_attempt_in_s=round(retry_in, 1))


def _shorten(timeout: asyncio.Timeout, at: float) -> None:
    """Let a timeout end earlier. A timeout that has expired, and whose task has not run yet, cannot be changed."""
    when = timeout.when()
    if when is not None and at < when and not timeout.expired():
        timeout.reschedule(at)


def _timeout_message(stored: StoredObject, seconds: float, *, at_deadline: bool) -> str:
    """Return event, cause and remedy of a timeout."""
    size = len(stored.body)
    message = f"{stored.key} ({size} bytes) was not stored within {seconds:.1f} s"
    if at_deadline:
        message += ", the time that the deadline left"
    if size >= LARGE_BYTES:
        return f"{message}; if this recurs, lower LOGFERRY_FLUSH_BYTES or raise LOGFERRY_UPLOAD_TIMEOUT"
    return f"{message}; check the network route to the destination, or raise LOGFERRY_UPLOAD_TIMEOUT"


def _system_random() -> float:
    """Return a random number from 0 to 1 that differs between the clones of a SnapStart snapshot."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF


def _now() -> float:
    return asyncio.get_running_loop().time()
