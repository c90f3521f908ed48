"""The circuit breaker: a sink that fails costs one attempt, then nothing for a while."""

from __future__ import annotations

import pytest

from logferry.flush.circuit_breaker import (
    FIRST_SECONDS,
    JITTER,
    LONGEST_SECONDS,
    REJECTED_SECONDS,
    CircuitBreaker,
    backoff,
)

STEADY = 0.5
"""The jitter in whose middle nothing is added or taken."""


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10_000, 60)]
)
def test_the_wait_doubles_with_each_failure_up_to_its_longest(failures: int, seconds: float) -> None:
    """After a long outage the sink is tried once a minute, and no number of failures overflows."""
    assert backoff(failures, jitter=lambda: STEADY) == seconds


@pytest.mark.parametrize(("throw", "factor"), [(0.0, 1 - JITTER), (1.0, 1 + JITTER)])
def test_jitter_spreads_the_environments_by_a_quarter(throw: float, factor: float) -> None:
    """A thousand environments do not come back in the same second."""
    assert backoff(3, jitter=lambda: throw) == pytest.approx(4 * factor)


def test_it_allows_one_trial_when_its_time_has_come_and_not_before() -> None:
    """Closed it allows all; open nothing, until the moment that `failed` has named."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    assert breaker.allows(0.0)
    seconds = breaker.failed(100.0, rejected=False)
    assert seconds == FIRST_SECONDS
    assert not breaker.allows(100.0)
    assert not breaker.allows(100.0 + seconds - 0.001)
    assert breaker.allows(100.0 + seconds)
    assert breaker.failed(101.0, rejected=False) == 2 * FIRST_SECONDS
    assert not breaker.allows(102.9)


def test_a_success_makes_it_forget() -> None:
    """One trial that works closes it, and the next failure begins from the shortest wait."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    for _ in range(9):
        breaker.failed(0.0, rejected=False)
    breaker.succeeded()
    assert breaker.allows(0.0)
    assert breaker.failures == 0
    assert breaker.failed(0.0, rejected=False) == FIRST_SECONDS


def test_what_somebody_must_mend_is_tried_rarely_from_the_first_time_on() -> None:
    """A missing right does not pass by waiting a second."""
    breaker = CircuitBreaker(jitter=lambda: STEADY)
    assert breaker.failed(0.0, rejected=True) == REJECTED_SECONDS > LONGEST_SECONDS
