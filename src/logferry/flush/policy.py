"""When to seal what waits, and in which moment to upload it. Pure: no clock, no I/O; time comes in as seconds.

Three thresholds, and a policy that says which of them are looked at:

    invocation   one object for every N invocations
    time         when the oldest waiting record is older than T seconds
    size         when B bytes wait
    adaptive     like invocation while invocations are far apart, like time (and size) while they are close

A threshold that the user has set is looked at under every policy, so that it also caps the others.

A flush is due `AFTER` the invocation (in post-execution, so that the object holds that invocation too) or `BESIDE` it
(while the next one runs: what waited from before is uploaded, and nothing is waited for). SHUTDOWN ships everything and
needs no policy.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

SECONDS = 1.0
MIB = 1024 * 1024

DEFAULT_INVOCATIONS = 1
DEFAULT_SECONDS = 60 * SECONDS
DEFAULT_BYTES = 4 * MIB

CLOSE_SHARE = 4
"""Invocations are close while at least this many would share an object: batching fewer saves too little to be late."""
PACE_WEIGHT = 0.3
"""Of the newest gap in the running mean: a burst is noticed after two or three invocations, a pause as fast."""


class Flush(Enum):
    """LOGFERRY_FLUSH."""

    INVOCATION = "invocation"
    TIME = "time"
    SIZE = "size"
    ADAPTIVE = "adaptive"


class Timing(Enum):
    """LOGFERRY_FLUSH_TIMING."""

    POST_EXECUTION = "post-execution"
    NEXT_INVOCATION = "next-invocation"


class Thresholds(NamedTuple):
    """What the user has set; None where nothing was said."""

    invocations: int | None = None
    seconds: float | None = None
    size: int | None = None


class Waiting(NamedTuple):
    """What is in the open segment."""

    size: int = 0
    """Bytes; at least 1 where records are known to be on their way."""
    age: float = 0.0
    """Seconds since the oldest of it was accepted."""
    invocations: int = 0
    """Invocations that have ended (or, on INVOKE, will have ended with the one that begins) since the last seal."""


class Pace(NamedTuple):
    """How closely invocations follow each other: a running mean of the gaps between them, in seconds."""

    mean_gap: float | None = None

    def after_gap(self, gap: float | None) -> Pace:
        """The pace once another invocation has begun, `gap` seconds after the one before (None: the first)."""
        if gap is None:
            mean = self.mean_gap
        elif self.mean_gap is None:
            mean = gap
        else:
            mean = self.mean_gap + PACE_WEIGHT * (gap - self.mean_gap)
        return Pace(mean_gap=mean)


class Due(NamedTuple):
    """A flush is due: in which moment, and why (for the log)."""

    timing: Timing
    why: str


class Policy(NamedTuple):
    """The user's choice; asked with what waits and what has just happened."""

    flush: Flush
    timing: Timing
    thresholds: Thresholds

    def on_invoke(self, waiting: Waiting, pace: Pace) -> Due | None:
        """An invocation begins. `waiting` holds what is left from earlier ones."""
        close = self.flush is Flush.ADAPTIVE and self._close(pace)
        timing = Timing.NEXT_INVOCATION if close else self.timing
        # What goes beside holds only invocations that have ended; what goes after will hold this one too.
        ended = waiting.invocations + (1 if timing is Timing.POST_EXECUTION else 0)
        if ended >= self._invocations(close=close):
            return Due(timing, f"{ended} invocations")
        if waiting.size and (why := self._too_old_or_large(waiting)):
            return Due(timing, why)
        return None

    def while_running(self, waiting: Waiting) -> Due | None:
        """Time passes or records arrive inside a long invocation, or where nothing is ever frozen."""
        if waiting.size and (why := self._too_old_or_large(waiting)):
            return Due(Timing.NEXT_INVOCATION, why)
        return None

    def on_end(self, waiting: Waiting) -> Due | None:
        """An invocation has ended where no event announces the next (Managed Instances)."""
        if waiting.size and waiting.invocations >= self._invocations(close=True):
            return Due(Timing.NEXT_INVOCATION, f"{waiting.invocations} invocations")
        return None

    def seconds_until_old(self, waiting: Waiting) -> float | None:
        """How long until age alone makes a flush due; None when it never will."""
        limit = self._seconds()
        return max(0.0, limit - waiting.age) if waiting.size and limit is not None else None

    def _close(self, pace: Pace) -> bool:
        """The first invocation of an environment is never close: a one-shot function is seen at once."""
        return pace.mean_gap is not None and pace.mean_gap * CLOSE_SHARE <= (self._seconds() or 0)

    def _too_old_or_large(self, waiting: Waiting) -> str | None:
        seconds, size = self._seconds(), self._size()
        if seconds is not None and waiting.age >= seconds:
            return f"{waiting.age:.0f} s old"
        if size is not None and waiting.size >= size:
            return f"{waiting.size} bytes"
        return None

    def _invocations(self, *, close: bool) -> float:
        """The number that makes a flush due; infinity where only a user's own threshold could."""
        counted = self.flush is Flush.INVOCATION or (self.flush is Flush.ADAPTIVE and not close)
        return self.thresholds.invocations or (DEFAULT_INVOCATIONS if counted else float("inf"))

    def _seconds(self) -> float | None:
        implied = self.flush in (Flush.TIME, Flush.ADAPTIVE)
        return self.thresholds.seconds if self.thresholds.seconds is not None else DEFAULT_SECONDS if implied else None

    def _size(self) -> int | None:
        implied = self.flush in (Flush.SIZE, Flush.ADAPTIVE)
        return self.thresholds.size if self.thresholds.size is not None else DEFAULT_BYTES if implied else None
