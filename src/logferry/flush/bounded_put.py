"""One `put` of a sink within a time limit and a deadline, and once more after a freeze.

Guarantees:
- The put ends at its limit or at the deadline, which may be moved to an earlier time meanwhile.
- A put during which the environment was frozen is repeated in the first step after the thaw. The
  deadline from before the freeze does not apply to the repetition.
- A pending connection attempt is awaited within the limit.

Design: a freeze is no failure of the sink, and a connection from before the freeze is usually dead.
Waiting for it would extend the invocation that ended the freeze.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logferry.deadline import Deadline
from logferry.errors import SinkUnavailable
from logferry.flush.freeze_watch import FreezeWatch
from logferry.flush.upload_limits import LARGE_BYTES
from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink


class UploadTimeout(SinkUnavailable):
    """An upload that did not end within its limit."""


class BoundedPut:
    """The connection attempts and puts of one sink, one at a time."""

    __slots__ = ("_connecting", "_shortened", "_sink", "_timeout")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._connecting: asyncio.Task[None] | None = None
        self._timeout: asyncio.Timeout | None = None
        """Timeout of the current attempt."""
        self._shortened: Deadline | None = None
        """Deadline that `shorten` has set since the current put began."""

    def connect(self) -> None:
        """Start to connect, and cancel an earlier attempt."""
        self.cancel_connect()
        self._connecting = asyncio.create_task(self._sink.connect())

    def cancel_connect(self) -> None:
        """Cancel a pending connection attempt."""
        if self._connecting:
            self._connecting.cancel()

    def shorten(self, deadline: Deadline) -> None:
        """Let the current put end at this deadline if it would end later."""
        self._shortened = deadline if self._shortened is None else self._shortened.no_later_than(deadline.at)
        if self._timeout:
            _shorten(self._timeout, deadline.at)

    async def run(self, stored: StoredObject, *, limit: float, deadline: Deadline) -> None:
        """Put an object within `limit` seconds and the deadline. Raises SinkError."""
        self._shortened = None
        if not await self._attempt(stored, limit, deadline, may_be_repeated=True):
            # The deadline is from before the freeze. A deadline from after the thaw counts.
            await self._attempt(stored, limit, self._shortened, may_be_repeated=False)

    async def _attempt(
        self, stored: StoredObject, limit: float, deadline: Deadline | None, *, may_be_repeated: bool
    ) -> bool:
        """Put an object once; return False if it must be repeated after a freeze. Raises SinkError."""
        began, frozen = loop_time(), False
        bound = Deadline(began + limit)
        self._timeout = timeout = asyncio.timeout_at((bound.no_later_than(deadline.at) if deadline else bound).at)

        def on_thaw() -> None:
            nonlocal frozen
            frozen = may_be_repeated
            if frozen:
                _shorten(timeout, loop_time())

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
            raise UploadTimeout(_timeout_message(stored, loop_time() - began, at_deadline=at_deadline)) from None
        finally:
            self._timeout = None
        return True


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
