"""The circuit breaker: a failing sink costs one attempt, then nothing for some time."""

from __future__ import annotations

import pytest

from logferry.flush.circuit_breaker import (
    FIRST_SECONDS,
    JITTER,
    LONGEST_REQUESTED_SECONDS,
    LONGEST_SECONDS,
    REJECTED_SECONDS,
    CircuitBreaker,
    backoff,
)

STEADY = 0.5
"""Random number for which jitter changes nothing."""


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10_000, 60)]
)
def test_backoff_doubles_with_each_failure_up_to_the_longest_time(failures: int, seconds: float) -> None:
    """After a long outage there is one trial per minute, and no number of failures overflows."""
    assert backoff(failures, jitter=lambda: STEADY) == seconds


@pytest.mark.parametrize(("throw", "factor"), [(0.0, 1 - JITTER), (1.0, 1 + JITTER)])
def test_backoff_has_a_jitter_of_a_quarter(throw: float, factor: float) -> None:
    """A thousand environments must not return in the same second."""
    assert backoff(3, jitter=lambda: throw) == pytest.approx(4 * factor)


def test_breaker_allows_a_trial_after_the_returned_time_and_not_before() -> None:
    """A closed breaker allows every attempt, an open one no attempt until the time that `failed` returned."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    assert breaker.allows(0.0)
    seconds = breaker.failed(100.0, rejected=False)
    assert seconds == FIRST_SECONDS
    assert not breaker.allows(100.0)
    assert not breaker.allows(100.0 + seconds - 0.001)
    assert breaker.allows(100.0 + seconds)
    assert breaker.failed(101.0, rejected=False) == 2 * FIRST_SECONDS
    assert not breaker.allows(102.9)


def test_breaker_begins_with_the_shortest_time_after_a_success() -> None:
    """A successful trial closes the breaker and resets the number of failures."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    for _ in range(9):
        breaker.failed(0.0, rejected=False)
    breaker.succeeded()
    assert breaker.allows(0.0)
    assert breaker.failures == 0
    assert breaker.failed(0.0, rejected=False) == FIRST_SECONDS


def test_breaker_allows_rare_trials_from_the_first_rejection_on() -> None:
    """A missing permission does not appear within seconds."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    assert breaker.failed(0.0, rejected=True) == REJECTED_SECONDS > LONGEST_SECONDS


@pytest.mark.parametrize(
    ("requested", "failures", "jitter", "seconds"),
    [
        (0.0, 1, 0.0, FIRST_SECONDS * (1 - JITTER)),
        (30.0, 1, 0.0, 30.0),
        (30.0, 1, 1.0, 30.0 * (1 + JITTER)),
        (1.0, 7, STEADY, LONGEST_SECONDS),
        (86_400.0, 1, 0.0, LONGEST_REQUESTED_SECONDS),
    ],
)
def test_breaker_waits_at_least_as_long_as_the_destination_requests(
    requested: float, failures: int, jitter: float, seconds: float
) -> None:
    """Jitter only extends the time, and the limit keeps a faulty destination from ending uploads."""
    breaker = CircuitBreaker(jitter=lambda: jitter)
    for _ in range(failures - 1):
        breaker.failed(0.0, rejected=False)
    assert breaker.failed(0.0, rejected=False, requested_seconds=requested) == pytest.approx(seconds)
    assert not breaker.allows(seconds - 0.001)
    assert breaker.allows(seconds + 0.001)


def test_breaker_waits_no_shorter_after_a_rejection_with_a_requested_time() -> None:
    """A 403 with a short Retry-After is still a 403."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    assert breaker.failed(0.0, rejected=True, requested_seconds=5.0) == REJECTED_SECONDS
