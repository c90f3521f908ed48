"""Decision of when to seal the open segment, and at which time to upload it.

Each policy checks its own thresholds:

    invocation   one object for every N invocations
    time         the oldest record is older than T seconds
    size         B bytes are stored
    adaptive     like time and size while invocations are frequent, else like invocation

Guarantees:
- A threshold that the user has set applies under every policy, so that it also limits the others.
- The same arguments give the same decision. The module is pure: it has no clock and no I/O.

Design: a flush is due either in post-execution, so that the object contains the invocation that is
beginning, or while the next invocation runs. The second kind uploads only records of invocations
that have ended, and waits for no further records. SHUTDOWN uploads everything and needs no policy.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

DEFAULT_INVOCATIONS = 1
DEFAULT_SECONDS = 60.0
DEFAULT_BYTES = 4 * 1024 * 1024

FREQUENT_INVOCATIONS = 4
"""Invocations within the maximum age of a record from which they count as frequent. Batching fewer saves
too little to justify the delay."""
PACE_WEIGHT = 0.3
"""Weight of the newest gap in the running mean. A burst or a pause is detected after two or three invocations."""


class Flush(Enum):
    """Values of LOGFERRY_FLUSH."""

    INVOCATION = "invocation"
    TIME = "time"
    SIZE = "size"
    ADAPTIVE = "adaptive"


class Timing(Enum):
    """Values of LOGFERRY_FLUSH_TIMING."""

    POST_EXECUTION = "post-execution"
    NEXT_INVOCATION = "next-invocation"


class Thresholds(NamedTuple):
    """Thresholds of the user; None for each one that is not set."""

    invocations: int | None = None
    seconds: float | None = None
    size: int | None = None


class Waiting(NamedTuple):
    """Content of the open segment."""

    size: int = 0
    """Size in bytes; at least 1 if records are known to arrive soon."""
    age: float = 0.0
    """Seconds since its oldest batch was accepted."""
    invocations: int = 0
    """Number of invocations since the last seal. On INVOKE, all of them have ended."""


class Pace(NamedTuple):
    """Distance of the invocations: a running mean of the gaps between their beginnings, in seconds."""

    mean_gap: float | None = None

    def after_gap(self, gap: float | None) -> Pace:
        """Return the pace after another invocation, `gap` seconds after the previous one (None: the first)."""
        if gap is None:
            mean = self.mean_gap
        elif self.mean_gap is None:
            mean = gap
        else:
            mean = self.mean_gap + PACE_WEIGHT * (gap - self.mean_gap)
        return Pace(mean_gap=mean)


class Due(NamedTuple):
    """A flush that is due: its timing, and the reason (for the log)."""

    timing: Timing
    reason: str


class Policy(NamedTuple):
    """The settings of the user, which decide about the open segment after each event."""

    flush: Flush
    timing: Timing
    thresholds: Thresholds

    def on_invoke(self, waiting: Waiting, pace: Pace) -> Due | None:
        """Return the flush that an INVOKE makes due. `waiting` describes the records of earlier invocations."""
        frequent = self.flush is Flush.ADAPTIVE and self._is_frequent(pace)
        timing = Timing.NEXT_INVOCATION if frequent else self.timing
        # An object of post-execution will contain this invocation too, the other kind only invocations that have ended.
        ended = waiting.invocations + (1 if timing is Timing.POST_EXECUTION else 0)
        if ended >= self._invocations(frequent=frequent):
            return Due(timing, f"{ended} invocations")
        if waiting.size and (reason := self._age_or_size_reason(waiting)):
            return Due(timing, reason)
        return None

    def while_running(self, waiting: Waiting) -> Due | None:
        """Return the flush that age or size make due in a long invocation, or on Managed Instances."""
        if waiting.size and (reason := self._age_or_size_reason(waiting)):
            return Due(Timing.NEXT_INVOCATION, reason)
        return None

    def on_end(self, waiting: Waiting) -> Due | None:
        """Return the flush that an end of an invocation makes due where no INVOKE announces it (Managed Instances)."""
        if waiting.size and waiting.invocations >= self._invocations(frequent=True):
            return Due(Timing.NEXT_INVOCATION, f"{waiting.invocations} invocations")
        return None

    def seconds_until_old(self, waiting: Waiting) -> float | None:
        """Return the seconds until age alone makes a flush due, or None if it never does."""
        limit = self._seconds()
        return max(0.0, limit - waiting.age) if waiting.size and limit is not None else None

    def _is_frequent(self, pace: Pace) -> bool:
        """Return whether invocations are frequent. The first one of an environment is not: it may be the only one."""
        return pace.mean_gap is not None and pace.mean_gap * FREQUENT_INVOCATIONS <= (self._seconds() or 0)

    def _age_or_size_reason(self, waiting: Waiting) -> str | None:
        seconds, size = self._seconds(), self._size()
        if seconds is not None and waiting.age >= seconds:
            return f"{waiting.age:.0f} s old"
        if size is not None and waiting.size >= size:
            return f"{waiting.size} bytes"
        return None

    def _invocations(self, *, frequent: bool) -> float:
        """Return the number of invocations that makes a flush due, or infinity if none does."""
        counted = self.flush is Flush.INVOCATION or (self.flush is Flush.ADAPTIVE and not frequent)
        return self.thresholds.invocations or (DEFAULT_INVOCATIONS if counted else float("inf"))

    def _seconds(self) -> float | None:
        implied = self.flush in (Flush.TIME, Flush.ADAPTIVE)
        return self.thresholds.seconds if self.thresholds.seconds is not None else DEFAULT_SECONDS if implied else None

    def _size(self) -> int | None:
        implied = self.flush in (Flush.SIZE, Flush.ADAPTIVE)
        return self.thresholds.size if self.thresholds.size is not None else DEFAULT_BYTES if implied else None
