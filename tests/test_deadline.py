"""Deadlines: conversion of dates, and margins."""

from __future__ import annotations

import pytest

from logferry.deadline import LONGEST_SECONDS, Deadline

NOW_MS, NOW = 1_795_000_000_000.0, 5000.0


@pytest.mark.parametrize(
    ("date_ms", "seconds"),
    [
        (NOW_MS + 3000, 3.0),
        (NOW_MS + 0.5, 0.0005),
        (NOW_MS, 0.0),
        (NOW_MS - 60_000, 0.0),
        (0, 0.0),
        (NOW_MS + 900_000, LONGEST_SECONDS),
        (NOW_MS + 10_000_000, LONGEST_SECONDS),
        (None, LONGEST_SECONDS),
    ],
)
def test_date_becomes_a_deadline_between_now_and_the_longest_timeout(date_ms: float | None, seconds: float) -> None:
    """A date in the past leaves no time. A date beyond any timeout shows a wrong clock and is limited."""
    deadline = Deadline.from_epoch_ms(date_ms, now_ms=NOW_MS, now=NOW)
    assert deadline.at == pytest.approx(NOW + seconds)
    assert deadline.remaining(NOW) == pytest.approx(seconds)


def test_deadline_is_only_moved_to_an_earlier_time() -> None:
    """`earlier_by` leaves a margin, and `no_later_than` takes the earlier time."""
    deadline = Deadline(10.0)
    assert deadline.earlier_by(0.5) == Deadline(9.5)
    assert deadline.no_later_than(7.0) == Deadline(7.0)
    assert deadline.no_later_than(70.0) == deadline
    assert deadline.earlier_by(99.0).remaining(0.0) == 0.0
