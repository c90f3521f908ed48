"""Deadlines: a date of the platform becomes a time on the monotonic clock of this process.

Guarantees:
- A date is compared with the wall clock once, here. Afterwards only the event loop's monotonic
  clock counts, so a wall clock that jumps neither extends nor ends a wait.

References: Extensions API, "Next" (`deadlineMs`, epoch milliseconds).
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST_SECONDS = 900.0
"""Longest function timeout of Lambda, in seconds. A later date shows that one of the clocks is wrong."""


class Deadline(NamedTuple):
    """A time on the event loop's clock, in seconds."""

    at: float

    @classmethod
    def from_epoch_ms(cls, date_ms: float | None, *, now_ms: float, now: float) -> Deadline:
        """Return the deadline of a date; a missing or too late date gives a deadline in `LONGEST_SECONDS`."""
        seconds = LONGEST_SECONDS if date_ms is None else (date_ms - now_ms) / 1000
        return cls(now + min(max(seconds, 0.0), LONGEST_SECONDS))

    def earlier_by(self, seconds: float) -> Deadline:
        """Return a deadline that is earlier by a margin."""
        return Deadline(self.at - seconds)

    def no_later_than(self, other: float) -> Deadline:
        """Return the earlier of this deadline and the time `other`."""
        return Deadline(min(self.at, other))

    def remaining(self, now: float) -> float:
        """Return the seconds until the deadline, or 0 if it has passed."""
        return max(0.0, self.at - now)
