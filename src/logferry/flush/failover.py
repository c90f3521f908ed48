"""Choice between the first destination and the fallback destination for each upload. Pure.

Guarantees:
- The fallback destination is used only while the first one keeps failing: after `FAILURES` consecutive
  failures, or after one with a pause above `LONG_PAUSE_SECONDS`. This is a rejection, or a destination
  that requests such a pause. At SHUTDOWN one failure is sufficient.
- An object that the first destination rejects for its content or size is offered to the fallback destination. One such
  object is no reason to store others there.
- The first destination gets its trials when its circuit breaker allows them. A successful trial ends
  the use of the fallback destination.
- An attempt at the first destination leaves half of the time for the fallback destination, if that one
  may be used after it. Both together take no longer than one destination alone.

Design: a single failure is no reason, because most of them are over after a second, and an object in
the fallback destination has to be found by readers. Without the shared time, a destination that hangs
would use up the time of each invocation whose trial is due, and the fallback would never be reached.
The module is imported only if there is a fallback destination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from logferry.flush.target import Target
    from logferry.journal.segment import Segment

FAILURES = 2
"""Number of consecutive failures after which the first destination keeps failing."""
LONG_PAUSE_SECONDS = 10.0
"""Pause after a failure from which waiting for the first destination takes too long, in seconds. The pause after a
first transient failure is about a second."""
FIRST_SHARE = 0.5
"""Part of the remaining time that an attempt at the first destination may take."""


class Failover:
    """The first target and the fallback target."""

    __slots__ = ("first", "second")

    def __init__(self, first: Target, second: Target) -> None:
        self.first = first
        self.second = second

    @property
    def keeps_failing(self) -> bool:
        """Whether the first destination keeps failing."""
        breaker = self.first.breaker
        return breaker.failures >= FAILURES or breaker.pause_seconds > LONG_PAUSE_SECONDS

    def usable(self, now: float) -> list[Target]:
        """Return the targets that an upload may use now, the preferred one first."""
        usable = [self.first] if self.first.breaker.allows(now) else []
        if self.keeps_failing and self.second.breaker.allows(now):
            usable.append(self.second)
        return usable

    def next_rejected(self, backlog: Sequence[Segment], now: float) -> tuple[Target, Segment] | None:
        """Return the fallback target and the next segment whose object the first destination has rejected."""
        if not self.second.breaker.allows(now):
            return None
        segment = self.second.next_segment([one for one in backlog if self.first.limits.rejections(one)], now)
        return (self.second, segment) if segment else None

    def last_order(self, now: float) -> list[Target]:
        """Return both targets in the order of the attempts at SHUTDOWN, which ignore the circuit breakers.

        A first destination that has just failed comes last, unless the fallback destination has failed too.
        """
        if self.first.breaker.allows(now) or not self.second.breaker.allows(now):
            return [self.first, self.second]
        return [self.second, self.first]

    def shares_time(self, target: Target, now: float) -> bool:
        """Return whether an attempt must leave time for the fallback destination."""
        return target is self.first and self.first.breaker.failures > 0 and self.second.breaker.allows(now)

    def shares_last_time(self, target: Target, others: Container[Target]) -> bool:
        """Return whether an attempt at SHUTDOWN must leave time for the fallback destination, if `others` has it."""
        return target is self.first and self.second in others

    @staticmethod
    def share_of(deadline: Deadline, now: float) -> Deadline:
        """Return the deadline of an attempt that leaves time for the fallback destination."""
        return Deadline(now + deadline.remaining(now) * FIRST_SHARE)
