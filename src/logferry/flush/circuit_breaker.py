"""A circuit breaker: after a failure an upload costs nothing until the next allowed attempt. Pure: time comes in.

Closed, every attempt is allowed. A failure opens it for a while that doubles with each further one, with jitter, so
that a thousand environments do not come back in the same second; then one trial is allowed, which closes it or opens it
for longer. What will not pass by waiting (a missing right or bucket) is tried again rarely from the first failure on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
REJECTED_SECONDS = 300.0
"""For 403 and 404: somebody has to change something, and that takes minutes."""
JITTER = 0.25
_RANDOM = random.SystemRandom()
"""From the kernel: a generator seeded before a SnapStart snapshot would give every clone the same numbers."""


def backoff(failures: int, *, jitter: Callable[[], float] = _RANDOM.random) -> float:
    """Seconds to wait after that many failures in a row: 1, 2, 4 … 60, each give or take a quarter."""
    seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
    return float(seconds * (1 + JITTER * (2 * jitter() - 1)))


@dataclass
class CircuitBreaker:
    """What is known about the sink: how often it failed in a row, and when it may be tried again."""

    failures: int = 0
    closed_at: float = 0.0
    jitter: Callable[[], float] = _RANDOM.random
    """Only for testing: the random numbers."""

    def allows(self, now: float) -> bool:
        """Whether an attempt may be made."""
        return now >= self.closed_at

    def succeeded(self) -> None:
        """The sink works."""
        self.failures, self.closed_at = 0, 0.0

    def failed(self, now: float, *, rejected: bool) -> float:
        """The sink failed; returns the seconds until the next attempt."""
        self.failures += 1
        seconds = REJECTED_SECONDS if rejected else backoff(self.failures, jitter=self.jitter)
        self.closed_at = now + seconds
        return seconds
