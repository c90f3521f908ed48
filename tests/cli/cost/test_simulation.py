"""The simulation of an environment gives the result of a calculation second by second."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from logferry.cli.cost.simulation import MAX_SIMULATED_FLUSHES, FlushTotals, Workload, simulate
from logferry.flush.policy import Flush, Pace, Policy, Thresholds, Timing, Waiting

MAX_PENDING = 16 << 20


@dataclass
class Walk:
    """The same environment second by second, with bytes, age and invocations."""

    policy: Policy
    workload: Workload
    size: int = 0
    oldest: float | None = None
    since_seal: int = 0
    post_execution: int = 0
    next_invocation: int = 0
    longest: float = 0.0

    def walk(self) -> FlushTotals:
        """Return the flushes of the environment."""
        pace = Pace()
        gap, seconds = int(self.workload.gap), int(self.workload.seconds)
        for number in range(self.workload.invocations):
            start = number * gap
            pace = pace.after_gap(gap if number else None)
            due = self.policy.on_invoke(self._waiting(start), pace)
            self.since_seal += 1
            pending_flush = due is not None and due.timing is Timing.POST_EXECUTION
            before = self.size if pending_flush else 0
            if due and due.timing is Timing.NEXT_INVOCATION:
                self._seal(start, in_next=True, running=1)
            for now in range(start, start + seconds):
                waiting = self._waiting(now, since=start if pending_flush else 0, before=before)
                if self.policy.while_running(waiting) or self.size >= self.workload.max_pending:
                    self._seal(now, in_next=True, running=1)
                    before = 0
                if self.oldest is None:
                    self.oldest = now
                self.size += self.workload.size // seconds
            if due and due.timing is Timing.POST_EXECUTION:
                self._seal(start + seconds, in_next=False, running=0)
        end = (self.workload.invocations - 1) * gap + seconds
        if self.post_execution < self.workload.invocations:
            left = 0 if self.oldest is None else end - self.oldest
            self.longest = max(self.longest, left + self.workload.idle)
        return FlushTotals(self.post_execution, self.next_invocation, self.longest)

    def _waiting(self, now: int, *, since: int = 0, before: int = 0) -> Waiting:
        age = 0 if self.oldest is None else now - max(self.oldest, since)
        return Waiting(size=self.size - before, age=age, invocations=self.since_seal)

    def _seal(self, now: int, *, in_next: bool, running: int) -> None:
        if self.oldest is not None:
            self.longest = max(self.longest, now - self.oldest)
        self.size, self.oldest, self.since_seal = 0, None, running
        self.next_invocation += in_next
        self.post_execution += not in_next


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Generate workloads in whole seconds, with powers of two for exact shares."""
    seconds = 2 ** draw(st.integers(0, 7))
    gap = seconds + draw(st.integers(0, 150))
    size = seconds * draw(st.sampled_from([64, 4096, 65536]))
    return Workload(
        draw(st.integers(1, 60)),
        gap=gap,
        seconds=seconds,
        size=size,
        idle=draw(st.integers(0, 900)),
        max_pending=MAX_PENDING,
    )


THRESHOLDS = st.builds(
    Thresholds,
    invocations=st.none() | st.integers(1, 9),
    seconds=st.none() | st.integers(1, 200),
    size=st.none() | st.sampled_from([65536, 1 << 20, 1 << 22]),
)


@given(workload=workloads(), flush=st.sampled_from(Flush), timing=st.sampled_from(Timing), thresholds=THRESHOLDS)
def test_simulation_equals_the_calculation_second_by_second(
    workload: Workload, flush: Flush, timing: Timing, thresholds: Thresholds
) -> None:
    """Objects by timing and the maximum delay are those of a policy call in every second."""
    policy = Policy(flush, timing, thresholds)
    walked = Walk(policy, workload).walk()
    assume(walked.post_execution + walked.next_invocation < MAX_SIMULATED_FLUSHES)
    assert simulate(policy, workload) == walked


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("flush", Flush)
@pytest.mark.parametrize(("gap", "seconds", "size"), [(1, 1, 4096), (41, 16, 4096), (7, 4, 65536 * 4), (61, 1, 64)])
def test_extrapolation_of_a_long_simulation_is_accurate(
    flush: Flush, timing: Timing, gap: int, seconds: int, size: int
) -> None:
    """The number of objects differs by less than 1 %, and the maximum delay is never too short."""
    policy = Policy(flush, timing, Thresholds())
    workload = Workload(2000, gap=gap, seconds=seconds, size=size, idle=600, max_pending=MAX_PENDING)
    found, walked = simulate(policy, workload), Walk(policy, workload).walk()
    assert found.objects == pytest.approx(walked.objects, rel=0.01)
    assert found.post_execution == pytest.approx(walked.post_execution, rel=0.01, abs=1)
    between = 2000 * gap / walked.objects + gap
    assert walked.max_delay <= found.max_delay <= walked.max_delay + between


@pytest.mark.parametrize(
    ("flush", "objects"), [(Flush.INVOCATION, 1001), (Flush.TIME, 1), (Flush.SIZE, 1), (Flush.ADAPTIVE, 2)]
)
def test_a_thousand_consecutive_invocations_make_the_measured_number_of_objects(flush: Flush, objects: int) -> None:
    """The numbers are those of the benchmark, "PUTs for 1,000 invocations in a row"."""
    workload = Workload(1000, gap=0.004, seconds=0.002, size=2000, idle=600, max_pending=MAX_PENDING)
    assert simulate(Policy(flush, Timing.POST_EXECUTION, Thresholds()), workload).objects == objects


def test_the_size_limit_of_a_segment_seals_without_a_threshold() -> None:
    """A segment has at most a quarter of the spool, so 64 MiB of one invocation make four objects."""
    workload = Workload(1, gap=100, seconds=64, size=64 << 20, idle=600, max_pending=MAX_PENDING)
    totals = simulate(Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=86_400)), workload)
    assert totals == FlushTotals(post_execution=0, next_invocation=3, max_delay=16 + 600)
    assert totals.objects == 4
