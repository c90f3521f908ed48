"""A circuit breaker: after a failure, uploads cost nothing until the next allowed attempt.

Guarantees:
- While closed, every attempt is allowed. A failure opens the breaker for a time that doubles with
  each further failure. Then one trial is allowed, which closes the breaker or opens it for longer.
- Permanent errors (403, 404) are retried at the fixed interval `REJECTED_SECONDS`, starting with
  the first failure.
- A trial is not earlier than the destination requests (`Retry-After`), up to `LONGEST_REQUESTED_SECONDS`.

Design: jitter spreads the trials, so that a thousand environments do not return in the same second.
The module is pure: time and random numbers are arguments. It avoids `dataclasses`, which imports
`inspect` (8 ms of CPU time).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SECONDS = 1.0
"""Time until the trial after the first failure, in seconds."""
LONGEST_SECONDS = 60.0
"""Longest time between two trials, in seconds, without jitter."""
REJECTED_SECONDS = 300.0
"""Time until the trial after a 403 or 404, in seconds. A person has to change something, and that takes minutes."""
LONGEST_REQUESTED_SECONDS = 300.0
"""Longest time that a destination can request, in seconds, without jitter. The spool is bounded."""
JITTER = 0.25
"""Largest random deviation of these times, as a fraction."""


def backoff(
    failures: int,
    *,
    jitter: Callable[[], float],
    first: float = FIRST_SECONDS,
    longest: float = LONGEST_SECONDS,
) -> float:
    """Return the seconds to wait after consecutive failures: 1, 2, 4 … 60, each with jitter."""
    seconds = min(longest, first * 2.0 ** min(failures - 1, 16))
    return float(seconds * (1 + JITTER * (2 * jitter() - 1)))


class CircuitBreaker:
    """State of the sink: number of consecutive failures, and the time of the next allowed attempt."""

    __slots__ = ("failures", "jitter", "next_attempt_at", "pause_seconds")

    def __init__(self, *, jitter: Callable[[], float]) -> None:
        """`jitter` returns random numbers from 0 to 1, which must differ between the clones of a SnapStart snapshot."""
        self.failures = 0
        self.pause_seconds = 0.0
        """Time from the last failure until the next attempt, in seconds."""
        self.next_attempt_at = 0.0
        self.jitter = jitter

    def allows(self, now: float) -> bool:
        """Return whether an attempt is allowed."""
        return now >= self.next_attempt_at

    def succeeded(self) -> None:
        """Close the breaker after a successful attempt."""
        self.failures, self.pause_seconds, self.next_attempt_at = 0, 0.0, 0.0

    def failed(self, now: float, *, rejected: bool, requested_seconds: float = 0.0) -> float:
        """Open the breaker after a failed attempt; return the seconds until the next one.

        `requested_seconds` is the time that the destination requests. Jitter only extends it.
        """
        self.failures += 1
        seconds = REJECTED_SECONDS if rejected else backoff(self.failures, jitter=self.jitter)
        if requested_seconds:
            requested = min(requested_seconds, LONGEST_REQUESTED_SECONDS) * (1 + JITTER * self.jitter())
            seconds = max(seconds, requested)
        self.pause_seconds = seconds
        self.next_attempt_at = now + seconds
        return seconds
