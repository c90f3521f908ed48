"""Deadlines: a date from the platform becomes a moment of our own clock, once, at the border.

The platform speaks of dates (`deadlineMs`, epoch milliseconds). Dates are compared with the wall clock exactly once,
here; from then on only the event loop's monotonic clock counts, so that a wall clock that jumps cannot stretch or end
a wait.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST_SECONDS = 900.0
"""Lambda's longest timeout: a date further off means that one of the clocks is wrong."""


class Deadline(NamedTuple):
    """A moment on the event loop's clock, in seconds."""

    at: float

    @classmethod
    def from_epoch_ms(cls, date_ms: float | None, *, now_ms: float, now: float) -> Deadline:
        """The moment of a platform's date; a missing date or one beyond any timeout is `LONGEST_SECONDS` away."""
        seconds = LONGEST_SECONDS if date_ms is None else (date_ms - now_ms) / 1000
        return cls(now + min(max(seconds, 0.0), LONGEST_SECONDS))

    def less(self, seconds: float) -> Deadline:
        """A deadline that leaves that much of this one."""
        return Deadline(self.at - seconds)

    def sooner(self, other: float) -> Deadline:
        """This one, or the moment `other` if that comes first."""
        return Deadline(min(self.at, other))

    def remaining(self, now: float) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at - now)
