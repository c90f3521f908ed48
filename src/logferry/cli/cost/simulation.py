"""The life of one execution environment, from its first invocation to SHUTDOWN: how many objects it ships, and when.

Promises
  * Every decision is the real one: ``logferry.flush.policy`` is asked at each INVOKE and inside invocations, as the
    extension
    asks it. Only what is asked is made up: invocations as regular as a clock, each logging evenly while it runs.
  * It takes milliseconds, however many invocations there are: what waits only grows until it is sealed, so the next
    invocation in which anything happens is searched for instead of walked to; and after ``ENOUGH`` flushes the rest of
    the life is taken to be like what was seen.

Progress is one number, ``sealed``: the invocations whose records have gone, with the running one as a fraction. What
waits, how old it is and how many invocations have ended since all follow from it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.flush.policy import Pace, Timing, Waiting
from logferry.supervisor.lambda_api import SHORT_BUFFER_MS

if TYPE_CHECKING:
    from logferry.flush.policy import Due, Policy

ENOUGH = 500
"""Flushes after which a life holds no surprises: its first two or three differ, the others repeat."""
DELIVERY_BYTES = 1 << 20
"""The most that the platform is asked to deliver at once; it does after 25 ms, too (Telemetry API, "Buffering")."""


@dataclass(frozen=True)
class Rhythm:
    """What an environment lives through: ``invocations``, one every ``gap`` seconds, each running ``seconds`` of them.

    Each leaves ``size`` bytes waiting; SHUTDOWN comes ``idle`` seconds after the last has ended.
    """

    invocations: int
    gap: float
    seconds: float
    size: int
    idle: float
    most: int
    """Bytes that the journal lets wait at most: then it seals by itself."""


@dataclass(frozen=True)
class Shipped:
    """What a life ships: objects by the moment of their flush, and the longest that a record waited (seconds).

    SHUTDOWN always ships one more, for the last invocation's ``platform.report`` comes after everything else.
    """

    after: float
    beside: float
    longest_wait: float

    @property
    def objects(self) -> float:
        """All of them, SHUTDOWN's included."""
        return self.after + self.beside + 1


def live(policy: Policy, rhythm: Rhythm) -> Shipped:
    """Live a life under a policy."""
    life = _Life(policy, rhythm)
    at = 0
    while at < rhythm.invocations and life.after + life.beside < ENOUGH:
        life.run(at)
        at = life.next_eventful(at + 1)
    share = rhythm.invocations / at
    return Shipped(after=life.after * share, beside=life.beside * share, longest_wait=life.longest_wait(at))


class _Life:
    """What has been sealed so far."""

    def __init__(self, policy: Policy, rhythm: Rhythm) -> None:
        self._policy = policy
        self._rhythm = rhythm
        large = bisect_left(
            range(rhythm.most), True, key=lambda size: policy.while_running(Waiting(size=size)) is not None
        )
        delivery = min(DELIVERY_BYTES, rhythm.size * min(1.0, SHORT_BUFFER_MS / 1000 / rhythm.seconds))
        self._enough_bytes = max(large, delivery)  # what arrives together goes together
        self._most_bytes = max(rhythm.most, delivery)
        self._sealed = 0.0
        self._longest = 0.0
        self.after = self.beside = 0

    def run(self, number: int) -> None:
        """Live through an invocation: seal what is due at its INVOKE, while it runs, and after it."""
        start, seconds = number * self._rhythm.gap, self._rhythm.seconds
        due = self._on_invoke(number)
        after = due is not None and due.timing is Timing.POST_EXECUTION
        if due and not after:
            self._seal(number, at=start)
            self.beside += 1
        while (into := self._seconds_until_due(number, promised=after)) < seconds:
            self._seal(number + into / seconds, at=start + into)
            self.beside += 1
        if after:
            self._seal(number + 1, at=start + seconds)
            self.after += 1

    def next_eventful(self, number: int) -> int:
        """The first invocation from `number` on in which a flush is due; their total where none is."""

        def eventful(number: int) -> bool:
            due = self._on_invoke(number)
            return due is not None or self._seconds_until_due(number, promised=False) < self._rhythm.seconds

        return bisect_left(range(self._rhythm.invocations), True, lo=number, key=eventful)

    def longest_wait(self, reached: int) -> float:
        """The longest that a record waits; until SHUTDOWN where nothing else ships it."""
        if self.after == reached:
            return self._longest
        end = (self._rhythm.invocations - 1) * self._rhythm.gap + self._rhythm.seconds
        seen_to_the_end = reached == self._rhythm.invocations
        left = max(0.0, end - self._logged_at(self._sealed)) if seen_to_the_end else self._longest
        return max(self._longest, left + self._rhythm.idle)

    def _seal(self, sealed: float, *, at: float) -> None:
        self._longest = max(self._longest, at - self._logged_at(self._sealed))
        self._sealed = sealed

    def _logged_at(self, place: float) -> float:
        """When the first record after `place` is logged, in seconds of this life."""
        number = math.floor(place)
        return number * self._rhythm.gap + (place - number) * self._rhythm.seconds

    def _on_invoke(self, number: int) -> Due | None:
        waiting = Waiting()
        if number > self._sealed:
            waiting = Waiting(
                size=math.ceil(self._bytes_up_to(number)),
                age=number * self._rhythm.gap - self._logged_at(self._sealed),
                invocations=number - math.floor(self._sealed),
            )
        return self._policy.on_invoke(waiting, Pace(self._rhythm.gap) if number else Pace())

    def _seconds_until_due(self, number: int, *, promised: bool) -> float:
        """How far into the run of `number` age or size make a flush due; beyond its end where they do not.

        Once a flush after this invocation is promised, age and size count from its INVOKE.
        """
        start, seconds = number * self._rhythm.gap, self._rhythm.seconds
        place = max(float(number), self._sealed)
        now = self._logged_at(place)
        since = max(self._logged_at(self._sealed), start if promised else 0.0)
        old = self._policy.seconds_until_old(Waiting(size=1, age=now - since))
        before = self._bytes_up_to(max(float(number), self._sealed)) if promised else 0.0
        enough = min(self._enough_bytes + before, self._most_bytes)
        large = (enough - self._bytes_up_to(place)) / self._rhythm.size * seconds
        return now - start + min(large, math.inf if old is None else old)

    def _bytes_up_to(self, place: float) -> float:
        return (place - self._sealed) * self._rhythm.size
