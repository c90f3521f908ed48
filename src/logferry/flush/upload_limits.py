"""Time limits of uploads, and the turn of segments whose upload took too long or whose object was rejected.

Guarantees:
- The limit of an upload grows with the size of the object. It grows further after each timeout of
  the same segment, until the transfer rate that it assumes is `SLOWEST_BYTES_PER_SECOND`.
- After a timeout of a large object the other segments are uploaded first. The segment is tried
  again after a time that doubles with each timeout.
- The limit of a small object stays the upload timeout, because its size cannot be the cause.
- After a rejection of one object (too large, malformed) the other segments are uploaded first. The
  segment is tried again after `REJECTED_SECONDS`.

Design: with a fixed limit, the upload of a large object was repeated indefinitely, and all later
segments waited. On the other hand, an invocation must not be held for long because S3 does not respond.
Hence the limit for a held invocation grows only after a first timeout, and other segments show in
the meantime whether the sink works. The module is pure: time and random numbers are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.flush.circuit_breaker import REJECTED_SECONDS, backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from logferry.journal.segment import Segment

ASSUMED_BYTES_PER_SECOND = 512 * 1024
"""Transfer rate that the first limit of an object assumes, in bytes per second. S3 is usually
faster by a factor of 20 or more."""
SLOWEST_BYTES_PER_SECOND = 64 * 1024
"""Lowest transfer rate that a limit assumes, in bytes per second."""
LONGEST_SECONDS = 300.0
"""Longest limit of an upload, in seconds."""
LARGE_BYTES = 256 * 1024
"""Size of an object from which its size may be the cause of a timeout, in bytes."""


class _Slow:
    """A large object whose upload has timed out, or an object that was rejected."""

    __slots__ = ("not_before", "rejections", "size", "timeouts")

    def __init__(self) -> None:
        self.rejections = 0
        self.timeouts = 0
        self.size = 0
        self.not_before = 0.0


class UploadLimits:
    """The limits of all waiting segments."""

    __slots__ = ("_jitter", "_slow", "_timeout")

    def __init__(self, *, timeout_seconds: float, jitter: Callable[[], float]) -> None:
        """`timeout_seconds` is LOGFERRY_UPLOAD_TIMEOUT; `jitter` returns random numbers from 0 to 1."""
        self._timeout = timeout_seconds
        self._jitter = jitter
        self._slow: dict[tuple[str, int], _Slow] = {}

    def seconds(self, segment: Segment, size: int) -> float:
        """Return the limit of the next upload of a segment whose object has `size` bytes."""
        if size < LARGE_BYTES:
            return self._timeout
        rate = max(SLOWEST_BYTES_PER_SECOND, ASSUMED_BYTES_PER_SECOND / 2.0 ** self.timeouts(segment))
        return float(min(self._timeout + size / rate, max(self._timeout, LONGEST_SECONDS)))

    def hold_seconds(self, backlog: Iterable[Segment], now: float) -> float:
        """Return how long an invocation may be held for uploads: one upload timeout, or the limit of a slow object."""
        slow = [(one, found) for one in backlog if (found := self._slow.get(_id(one)))]
        limits = [self.seconds(one, found.size) for one, found in slow if now >= found.not_before]
        return max([self._timeout, *limits])

    def timeouts(self, segment: Segment) -> int:
        """Return how many uploads of a segment have timed out because of its size."""
        slow = self._slow.get(_id(segment))
        return slow.timeouts if slow else 0

    def note_timeout(self, segment: Segment, size: int, now: float) -> None:
        """Extend the limit of a segment with a large object, and postpone its next upload."""
        if size < LARGE_BYTES:
            return
        slow = self._slow.setdefault(_id(segment), _Slow())
        slow.timeouts += 1
        slow.size = size
        slow.not_before = now + backoff(slow.timeouts, jitter=self._jitter)

    def note_rejection(self, segment: Segment, now: float) -> None:
        """Postpone the next upload of a segment whose object was rejected, while others may be stored."""
        slow = self._slow.setdefault(_id(segment), _Slow())
        slow.rejections += 1
        slow.not_before = now + REJECTED_SECONDS

    def rejections(self, segment: Segment) -> int:
        """Return how often the object of a segment was rejected."""
        slow = self._slow.get(_id(segment))
        return slow.rejections if slow else 0

    def is_ready(self, segment: Segment, now: float) -> bool:
        """Return whether an upload of a segment is not postponed."""
        slow = self._slow.get(_id(segment))
        return slow is None or now >= slow.not_before

    def in_order(self, backlog: Sequence[Segment]) -> Sequence[Segment]:
        """Return the segments in the order of their uploads: oldest first, then timeouts, then rejections."""
        return sorted(backlog, key=self._turn) if self._slow else backlog

    def _turn(self, segment: Segment) -> tuple[bool, int]:
        return self.rejections(segment) > 0, self.timeouts(segment)

    def retain(self, backlog: Iterable[Segment]) -> None:
        """Forget the segments that are not in the backlog any more."""
        if self._slow:
            waiting = {_id(segment) for segment in backlog}
            self._slow = {key: slow for key, slow in self._slow.items() if key in waiting}


def _id(segment: Segment) -> tuple[str, int]:
    """Return the identity of a segment, which does not change when its file is renamed."""
    return segment.environment, segment.number
