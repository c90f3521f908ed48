"""A life of an environment: the search for what happens agrees with living through every moment of it."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from logferry.cli.cost.simulation import ENOUGH, Rhythm, Shipped, live
from logferry.flush.policy import Flush, Pace, Policy, Thresholds, Timing, Waiting

MOST = 16 << 20


@dataclass
class Walk:
    """The same life second by second, with the state that the extension keeps: bytes, the oldest, invocations."""

    policy: Policy
    rhythm: Rhythm
    size: int = 0
    oldest: float | None = None
    since_seal: int = 0
    after: int = 0
    beside: int = 0
    longest: float = 0.0

    def walk(self) -> Shipped:
        """Live it."""
        pace = Pace()
        gap, seconds = int(self.rhythm.gap), int(self.rhythm.seconds)
        for number in range(self.rhythm.invocations):
            start = number * gap
            pace = pace.after_gap(gap if number else None)
            due = self.policy.on_invoke(self._waiting(start), pace)
            self.since_seal += 1
            promised = due is not None and due.timing is Timing.POST_EXECUTION
            before = self.size if promised else 0
            if due and due.timing is Timing.NEXT_INVOCATION:
                self._seal(start, beside=True, running=1)
            for now in range(start, start + seconds):
                waiting = self._waiting(now, since=start if promised else 0, before=before)
                if self.policy.while_running(waiting) or self.size >= self.rhythm.most:
                    self._seal(now, beside=True, running=1)
                    before = 0
                if self.oldest is None:
                    self.oldest = now
                self.size += self.rhythm.size // seconds
            if due and due.timing is Timing.POST_EXECUTION:
                self._seal(start + seconds, beside=False, running=0)
        end = (self.rhythm.invocations - 1) * gap + seconds
        if self.after < self.rhythm.invocations:
            left = 0 if self.oldest is None else end - self.oldest
            self.longest = max(self.longest, left + self.rhythm.idle)
        return Shipped(self.after, self.beside, self.longest)

    def _waiting(self, now: int, *, since: int = 0, before: int = 0) -> Waiting:
        age = 0 if self.oldest is None else now - max(self.oldest, since)
        return Waiting(size=self.size - before, age=age, invocations=self.since_seal)

    def _seal(self, now: int, *, beside: bool, running: int) -> None:
        if self.oldest is not None:
            self.longest = max(self.longest, now - self.oldest)
        self.size, self.oldest, self.since_seal = 0, None, running
        self.beside += beside
        self.after += not beside


@st.composite
def rhythms(draw: st.DrawFn) -> Rhythm:
    """Short lives in whole seconds; runs of a power of two, so that a share of one is exact."""
    seconds = 2 ** draw(st.integers(0, 7))
    gap = seconds + draw(st.integers(0, 150))
    size = seconds * draw(st.sampled_from([64, 4096, 65536]))
    return Rhythm(
        draw(st.integers(1, 60)), gap=gap, seconds=seconds, size=size, idle=draw(st.integers(0, 900)), most=MOST
    )


THRESHOLDS = st.builds(
    Thresholds,
    invocations=st.none() | st.integers(1, 9),
    seconds=st.none() | st.integers(1, 200),
    size=st.none() | st.sampled_from([65536, 1 << 20, 1 << 22]),
)


@given(rhythm=rhythms(), flush=st.sampled_from(Flush), timing=st.sampled_from(Timing), thresholds=THRESHOLDS)
def test_what_is_searched_for_is_what_is_met_by_living_it(
    rhythm: Rhythm, flush: Flush, timing: Timing, thresholds: Thresholds
) -> None:
    """Objects by moment, and the longest wait: as when the policy is asked at every second of the life."""
    policy = Policy(flush, timing, thresholds)
    walked = Walk(policy, rhythm).walk()
    assume(walked.after + walked.beside < ENOUGH)
    assert live(policy, rhythm) == walked


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("flush", Flush)
@pytest.mark.parametrize(("gap", "seconds", "size"), [(1, 1, 4096), (41, 16, 4096), (7, 4, 65536 * 4), (61, 1, 64)])
def test_a_long_life_goes_on_as_it_began(flush: Flush, timing: Timing, gap: int, seconds: int, size: int) -> None:
    """After so many flushes the rest is taken to be alike: objects within 1 %, a wait that is not said too short."""
    policy = Policy(flush, timing, Thresholds())
    rhythm = Rhythm(2000, gap=gap, seconds=seconds, size=size, idle=600, most=MOST)
    found, walked = live(policy, rhythm), Walk(policy, rhythm).walk()
    assert found.objects == pytest.approx(walked.objects, rel=0.01)
    assert found.after == pytest.approx(walked.after, rel=0.01, abs=1)
    between = 2000 * gap / walked.objects + gap
    assert walked.longest_wait <= found.longest_wait <= walked.longest_wait + between


@pytest.mark.parametrize(
    ("flush", "objects"), [(Flush.INVOCATION, 1001), (Flush.TIME, 1), (Flush.SIZE, 1), (Flush.ADAPTIVE, 2)]
)
def test_a_thousand_invocations_in_a_row_make_the_objects_that_were_measured(flush: Flush, objects: int) -> None:
    """The README's "PUTs for 1,000 invocations in a row", measured with the real extension."""
    rhythm = Rhythm(1000, gap=0.004, seconds=0.002, size=2000, idle=600, most=MOST)
    assert live(Policy(flush, Timing.POST_EXECUTION, Thresholds()), rhythm).objects == objects


def test_the_journals_own_bound_ships_where_no_threshold_does() -> None:
    """A segment is never larger than a quarter of the spool: 64 MiB logged by one invocation are four objects."""
    rhythm = Rhythm(1, gap=100, seconds=64, size=64 << 20, idle=600, most=MOST)
    shipped = live(Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=86_400)), rhythm)
    assert shipped == Shipped(after=0, beside=3, longest_wait=16 + 600)
    assert shipped.objects == 4
