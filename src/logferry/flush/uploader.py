"""Sealed segments to the sink, in order, within the time given.

Promises:
- a segment is removed only after the sink has said that it holds the object; until then every failure leaves it where
  it is, and the repeat overwrites itself (see `encode`);
- one upload at a time, so that whoever says "done" can wait for all of them by waiting for one;
- a sink that fails costs one attempt, then nothing until the breaker allows a trial. At SHUTDOWN one attempt is always
  made;
- a failure is said once, with its remedy, and so is the recovery; a rejection is said even behind another failure.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Protocol

from logferry.deadline import Deadline
from logferry.errors import SegmentLost, SinkError, SinkRejected, SinkUnavailable
from logferry.flush.circuit_breaker import CircuitBreaker
from logferry.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment
    from logferry.records.model import Header, StoredObject

INLINE_BYTES = 256 * 1024
"""Up to here encoding takes 2 ms and is done at once; what is larger goes to a thread, and deliveries are answered."""
FROZEN_SECONDS = 2.0
"""An attempt that overran its time by this much was frozen in the middle: that says nothing about the sink."""

log = get_logger()


class Sink(Protocol):
    """Stores an object or raises; there is no third outcome."""

    async def connect(self) -> None:
        """Do what can be done ahead of a `put`; bounded, and it does not raise."""

    async def put(self, stored: StoredObject) -> None:
        """Return when the object is stored; raise SinkUnavailable or SinkRejected when it may not be."""


class Uploader:
    """Brings what is sealed to the sink."""

    def __init__(
        self,
        *,
        journal: Journal,
        sink: Sink,
        encode: Callable[[Header, Iterable[bytes], bool], StoredObject],
        timeout_seconds: float,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._journal = journal
        self._sink = sink
        self._encode = encode
        self.timeout_seconds = self._timeout = timeout_seconds
        self._breaker = breaker or CircuitBreaker(jitter=_system_random)
        self._one_at_a_time = asyncio.Lock()
        self._until = Deadline(0.0)
        """Of the drain that is under way."""
        self._bound: asyncio.Timeout | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._rejected = False
        self._uploaded = 0

    @property
    def backlog(self) -> tuple[Segment, ...]:
        """What is sealed and not uploaded, oldest first."""
        return self._journal.sealed

    def attempt_allowed(self) -> bool:
        """Whether an attempt may be made now."""
        return self._breaker.allows(_now())

    def has_ready_segment(self) -> bool:
        """Whether something sealed waits and may be tried now; always so while an upload is in flight."""
        return bool(self.backlog) and self.attempt_allowed()

    def connect(self) -> None:
        """Have the sink connect while the function still runs: else its caller's bill holds the handshake too."""
        self._connecting = asyncio.create_task(self._sink.connect())

    def cancel_connect(self) -> None:
        """Give up a connection that is still being opened: nothing is to be under way in a freeze."""
        if self._connecting:
            self._connecting.cancel()

    def shorten_deadline(self, deadline: Deadline) -> None:
        """Let the drain that is under way end at this deadline, if it would end later: there is less time now."""
        self._until = self._until.sooner(deadline.at)
        if self._bound and deadline.at < (self._bound.when() or deadline.at):
            self._bound.reschedule(deadline.at)

    async def drain(self, deadline: Deadline, *, force: bool = False) -> int:
        """Upload what is sealed, oldest first, until all is done, one fails, or the deadline comes; returns how many.

        An upload that somebody else has begun is waited for, and goes on where it outlasts the deadline. With `insist`
        one attempt is made even while the breaker is open.
        """
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            return 0
        self._until, before = deadline, self._uploaded
        try:
            while self.backlog:
                waiting = self.backlog[0]  # looked up each time: the spool may have given one up meanwhile
                if self._until.remaining(_now()) <= 0 or not (force or self._breaker.allows(_now())):
                    break
                with self._journal.holding(waiting):
                    if not await self._upload(waiting):
                        break
            return self._uploaded - before
        finally:
            self._one_at_a_time.release()

    async def _upload(self, waiting: Segment) -> bool:
        """One segment; False when the sink failed."""
        try:
            stored = await self._encoded(waiting)
        except SegmentLost as error:
            log.error("a segment is lost", segment=repr(waiting), reason=str(error))  # noqa: TRY400 - no traceback for users
            self._journal.lose(waiting, reason=str(error))
            return True
        try:
            await self._put(stored)
        except SinkError as error:
            self._note_failure(error)
            return False
        self._journal.remove(waiting)
        self._uploaded += 1
        if self._breaker.failures:
            log.warning("uploads work again", after_failures=self._breaker.failures)
        self._breaker.succeeded()
        log.debug("uploaded", key=stored.key, bytes=len(stored.body), records=stored.metadata["records"])
        return True

    async def _put(self, stored: StoredObject) -> None:
        """Put within the upload timeout and the deadline. Raises SinkError.

        Once more where a freeze came in between, whose end has left a deadline from before it behind.
        """
        for may_repeat in (True, False):
            began = _now()
            bound = self._until.sooner(began + self._timeout) if may_repeat else Deadline(began + self._timeout)
            try:
                async with asyncio.timeout_at(bound.at) as self._bound:
                    if self._connecting and not self._connecting.done():
                        await asyncio.wait((self._connecting,))
                    await self._sink.put(stored)
            except (TimeoutError, SinkUnavailable) as error:
                if not may_repeat or _now() <= bound.at + FROZEN_SECONDS:
                    raise _unavailable(error, stored.key, seconds=_now() - began) from error
            else:
                return
            finally:
                self._bound = None

    async def _encoded(self, waiting: Segment) -> StoredObject:
        if waiting.size <= INLINE_BYTES:
            return self._encode_segment(waiting)
        return await asyncio.to_thread(self._encode_segment, waiting)

    def _encode_segment(self, waiting: Segment) -> StoredObject:
        with self._journal.reading(waiting) as (header, bodies):
            return self._encode(header, bodies, waiting.final)

    def _note_failure(self, error: SinkError) -> None:
        rejected = isinstance(error, SinkRejected)
        news = not self._breaker.failures or (rejected and not self._rejected)
        self._rejected = rejected
        seconds = self._breaker.failed(_now(), rejected=rejected)
        say = log.warning if news else log.debug
        say("an upload failed, the records stay on disk", why=str(error), next_attempt_in_s=round(seconds, 1))


def _unavailable(error: Exception, key: str, *, seconds: float) -> SinkUnavailable:
    if isinstance(error, SinkUnavailable):
        return error
    return SinkUnavailable(f"{key} was not stored within {seconds:.1f} s")


def _system_random() -> float:
    """Return a random number from 0 to 1 that differs between the clones of a SnapStart snapshot."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF


def _now() -> float:
    return asyncio.get_running_loop().time()
