"""The flush policy: every cell of its decision table."""

from __future__ import annotations

import itertools

import pytest

from logferry.flush.policy import (
    DEFAULT_BYTES,
    DEFAULT_SECONDS,
    FREQUENT_INVOCATIONS,
    Flush,
    Pace,
    Policy,
    Thresholds,
    Timing,
    Waiting,
)

POST_EXECUTION, NEXT_INVOCATION = Timing.POST_EXECUTION, Timing.NEXT_INVOCATION
NOTHING_SET = Thresholds()
FAR, CLOSE, FIRST = Pace(mean_gap=300.0), Pace(mean_gap=0.2), Pace()
NEW = Waiting(size=100, age=1.0, invocations=0)
OLD = Waiting(size=100, age=DEFAULT_SECONDS, invocations=0)
LARGE = Waiting(size=DEFAULT_BYTES, age=1.0, invocations=0)
ONE_ENDED = Waiting(size=100, age=1.0, invocations=1)
EMPTY = Waiting()


def timing_on_invoke(
    flush: Flush,
    waiting: Waiting,
    pace: Pace = FAR,
    timing: Timing = POST_EXECUTION,
    thresholds: Thresholds = NOTHING_SET,
) -> Timing | None:
    """Return the timing of the flush that an INVOKE makes due, or None."""
    due = Policy(flush, timing, thresholds).on_invoke(waiting, pace)
    return due.timing if due else None


@pytest.mark.parametrize(
    ("flush", "waiting", "pace", "expected"),
    [
        (Flush.INVOCATION, EMPTY, FIRST, POST_EXECUTION),
        (Flush.INVOCATION, NEW, FAR, POST_EXECUTION),
        (Flush.INVOCATION, NEW, CLOSE, POST_EXECUTION),
        (Flush.TIME, EMPTY, FIRST, None),
        (Flush.TIME, NEW, FAR, None),
        (Flush.TIME, OLD, FAR, POST_EXECUTION),
        (Flush.TIME, LARGE, FAR, None),
        (Flush.SIZE, EMPTY, FIRST, None),
        (Flush.SIZE, OLD, FAR, None),
        (Flush.SIZE, LARGE, FAR, POST_EXECUTION),
        (Flush.ADAPTIVE, EMPTY, FIRST, POST_EXECUTION),
        (Flush.ADAPTIVE, NEW, FAR, POST_EXECUTION),
        (Flush.ADAPTIVE, ONE_ENDED, CLOSE, None),
        (Flush.ADAPTIVE, OLD, CLOSE, NEXT_INVOCATION),
        (Flush.ADAPTIVE, LARGE, CLOSE, NEXT_INVOCATION),
        (Flush.ADAPTIVE, EMPTY, CLOSE, None),
    ],
)
def test_policy_checks_its_own_threshold(flush: Flush, waiting: Waiting, pace: Pace, expected: Timing | None) -> None:
    """Without settings the defaults apply. Adaptive uses the next invocation while invocations are close."""
    assert timing_on_invoke(flush, waiting, pace) is expected


@pytest.mark.parametrize("flush", Flush)
@pytest.mark.parametrize(
    ("thresholds", "waiting"),
    [
        (Thresholds(invocations=3), Waiting(size=100, age=1.0, invocations=2)),
        (Thresholds(seconds=5.0), Waiting(size=100, age=5.0)),
        (Thresholds(size=2000), Waiting(size=2000, age=1.0)),
    ],
)
def test_threshold_of_the_user_limits_every_policy(flush: Flush, thresholds: Thresholds, waiting: Waiting) -> None:
    """The threshold that is reached first makes the flush due, under every policy."""
    assert timing_on_invoke(flush, waiting, FAR, thresholds=thresholds) is POST_EXECUTION


@pytest.mark.parametrize("flush", Flush)
@pytest.mark.parametrize(
    "waiting", [Waiting(size=1999, age=4.9, invocations=1), Waiting(), Waiting(size=0, age=100.0, invocations=0)]
)
def test_no_flush_is_due_below_every_threshold(flush: Flush, waiting: Waiting) -> None:
    """An invocation in which nothing is due costs nothing, under every policy."""
    thresholds = Thresholds(invocations=3, seconds=5.0, size=2000)
    policy = Policy(flush, POST_EXECUTION, thresholds)
    assert policy.on_invoke(waiting, FAR) is None
    assert policy.while_running(waiting) is None


@pytest.mark.parametrize(("before", "expected"), [(0, None), (1, NEXT_INVOCATION), (2, NEXT_INVOCATION)])
def test_flush_during_the_next_invocation_needs_an_ended_one(before: int, expected: Timing | None) -> None:
    """An object that is uploaded during an invocation contains only earlier ones."""
    assert (
        timing_on_invoke(Flush.INVOCATION, Waiting(size=9, age=0, invocations=before), FAR, NEXT_INVOCATION) is expected
    )


@pytest.mark.parametrize(("before", "expected"), [(0, None), (3, None), (4, POST_EXECUTION), (5, POST_EXECUTION)])
def test_every_nth_invocation_flushes_and_counts_itself(before: int, expected: Timing | None) -> None:
    """With N=5 the fifth invocation flushes in its own post-execution, so the object contains five."""
    waiting = Waiting(size=9, age=0.0, invocations=before)
    assert timing_on_invoke(Flush.INVOCATION, waiting, FAR, POST_EXECUTION, Thresholds(invocations=5)) is expected


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("flush", [Flush.TIME, Flush.SIZE])
def test_timing_of_the_user_applies_to_time_and_size(flush: Flush, timing: Timing) -> None:
    """LOGFERRY_FLUSH_TIMING applies to every reason of a flush."""
    waiting = OLD if flush is Flush.TIME else LARGE
    assert timing_on_invoke(flush, waiting, CLOSE, timing) is timing


@pytest.mark.parametrize("flush", Flush)
def test_empty_segment_is_never_old_or_large(flush: Flush) -> None:
    """An object without records is useless, so age alone makes no flush due."""
    policy = Policy(flush, POST_EXECUTION, NOTHING_SET)
    empty = Waiting(size=0, age=1e6, invocations=9)
    assert policy.while_running(empty) is None
    assert policy.on_end(empty) is None
    assert policy.seconds_until_old(empty) is None


@pytest.mark.parametrize(
    ("flush", "waiting", "due"),
    [
        (Flush.INVOCATION, OLD, False),
        (Flush.INVOCATION, LARGE, False),
        (Flush.TIME, OLD, True),
        (Flush.TIME, LARGE, False),
        (Flush.SIZE, OLD, False),
        (Flush.SIZE, LARGE, True),
        (Flush.ADAPTIVE, OLD, True),
        (Flush.ADAPTIVE, LARGE, True),
        (Flush.ADAPTIVE, NEW, False),
    ],
)
def test_age_and_size_flush_at_once_inside_a_long_invocation(flush: Flush, waiting: Waiting, *, due: bool) -> None:
    """While the function runs, the upload extends nothing, so it does not wait."""
    found = Policy(flush, POST_EXECUTION, NOTHING_SET).while_running(waiting)
    assert (found.timing if found else None) is (NEXT_INVOCATION if due else None)


@pytest.mark.parametrize(
    ("flush", "thresholds", "ended", "due"),
    [
        (Flush.INVOCATION, NOTHING_SET, 1, True),
        (Flush.INVOCATION, Thresholds(invocations=10), 9, False),
        (Flush.INVOCATION, Thresholds(invocations=10), 10, True),
        (Flush.ADAPTIVE, NOTHING_SET, 1000, False),
        (Flush.ADAPTIVE, Thresholds(invocations=10), 10, True),
        (Flush.TIME, NOTHING_SET, 1000, False),
        (Flush.SIZE, Thresholds(invocations=10), 10, True),
    ],
)
def test_end_of_an_invocation_counts_on_managed_instances(
    flush: Flush, thresholds: Thresholds, ended: int, *, due: bool
) -> None:
    """No event announces an invocation there. Invocations are close, so adaptive batches them."""
    waiting = Waiting(size=9, age=0.0, invocations=ended)
    assert bool(Policy(flush, POST_EXECUTION, thresholds).on_end(waiting)) is due


@pytest.mark.parametrize(
    ("flush", "thresholds", "age", "expected"),
    [
        (Flush.TIME, NOTHING_SET, 20.0, 40.0),
        (Flush.TIME, NOTHING_SET, 100.0, 0.0),
        (Flush.ADAPTIVE, NOTHING_SET, 0.0, 60.0),
        (Flush.SIZE, NOTHING_SET, 20.0, None),
        (Flush.SIZE, Thresholds(seconds=30.0), 20.0, 10.0),
        (Flush.INVOCATION, NOTHING_SET, 20.0, None),
    ],
)
def test_policy_returns_the_time_until_age_makes_a_flush_due(
    flush: Flush, thresholds: Thresholds, age: float, expected: float | None
) -> None:
    """The caller sets one timer and does not poll."""
    assert Policy(flush, POST_EXECUTION, thresholds).seconds_until_old(Waiting(size=1, age=age)) == expected


@pytest.mark.parametrize(
    ("gap", "seconds", "expected"),
    [
        (60 / FREQUENT_INVOCATIONS, None, None),
        (60 / FREQUENT_INVOCATIONS + 0.1, None, POST_EXECUTION),
        (1.0, 2.0, POST_EXECUTION),
        (0.5, 2.0, None),
    ],
)
def test_adaptive_batches_invocations_that_are_close(
    gap: float, seconds: float | None, expected: Timing | None
) -> None:
    """Invocations are frequent if at least FREQUENT_INVOCATIONS fit into the maximum age of a record."""
    pace = Pace(mean_gap=gap)
    assert timing_on_invoke(Flush.ADAPTIVE, NEW, pace, thresholds=Thresholds(seconds=seconds)) is expected


def test_pace_detects_a_burst_or_a_pause_within_three_invocations() -> None:
    """The pace is a running mean, so one gap alone does not end a burst."""
    pace = Pace().after_gap(None)
    assert pace.mean_gap is None
    for _ in range(3):
        pace = pace.after_gap(0.1)
    assert timing_on_invoke(Flush.ADAPTIVE, NEW, pace) is None
    for _ in range(3):
        pace = pace.after_gap(600.0)
    assert timing_on_invoke(Flush.ADAPTIVE, NEW, pace) is POST_EXECUTION
    for _ in range(20):
        pace = pace.after_gap(0.1)
    assert timing_on_invoke(Flush.ADAPTIVE, NEW, pace) is None


def test_policy_returns_the_same_decision_with_a_reason_for_the_same_arguments() -> None:
    """The policy is pure, and a due flush has a reason for the log."""
    for flush, timing, waiting, pace in itertools.product(Flush, Timing, (NEW, OLD, LARGE, EMPTY), (FAR, CLOSE, FIRST)):
        policy = Policy(flush, timing, NOTHING_SET)
        first = policy.on_invoke(waiting, pace)
        assert first == policy.on_invoke(waiting, pace)
        assert first is None or first.reason
