"""Times of records: canonical ones exist, and a batch belongs to one hour of the clock."""

from __future__ import annotations

import calendar
import json
from datetime import UTC, datetime

import pytest

from logferry.records.timestamps import HOUR_MS, LATE_MS, hour_of, is_canonical


@pytest.mark.parametrize("year", [1900, 1999, 2000, 2023, 2024, 2096])
def test_canonical_day_exists_in_the_calendar(year: int) -> None:
    """The answer is that of the calendar for every day number."""
    for month in range(15):
        days = calendar.monthrange(year, month)[1] if 1 <= month <= 12 else 0
        for day in range(33):
            assert is_canonical(f"{year}-{month:02d}-{day:02d}T00:00:00.000Z") == (1 <= day <= days)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-21T23:59:59.999Z", True),
        ("2026-11-21T23:59:59Z", True),
        ("2026-11-21T23:59:59.123456789Z", True),
        ("2026-11-21T24:00:00.000Z", False),
        ("2026-11-21T23:60:00.000Z", False),
        ("2026-11-21T23:59:60.000Z", False),
        ("2026-11-21T23:59:59.999+00:00", False),
        ("2026-11-21 23:59:59.999Z", False),
        ("0000-11-21T23:59:59.999Z", False),
        ("", False),
        (None, False),
        (1, False),
    ],
)
def test_canonical_time_has_the_form_of_the_platform(time: object, *, expected: bool) -> None:
    """Any other value is kept as the text of its event."""
    assert is_canonical(time) is expected


HOUR = int(datetime(2026, 11, 21, 3, tzinfo=UTC).timestamp()) // 3600


@pytest.mark.parametrize(
    ("first", "after_ms", "hour"),
    [
        ("2026-11-21T02:59:59.990Z", 20, HOUR - 1),
        ("2026-11-21T03:00:00.010Z", 20, HOUR),
        ("2026-11-21T02:59:59.990Z", LATE_MS, HOUR),
        ("2026-11-20T02:59:59.990Z", 20, HOUR),
        ("2030-01-01T00:00:00.000Z", 20, HOUR),
        ("yesterday", 20, HOUR),
    ],
)
def test_batch_belongs_to_the_hour_of_the_clock_except_for_late_records(first: str, after_ms: int, hour: int) -> None:
    """The buffer of the subscription delays records of the previous hour; a forged time changes nothing else."""
    body = json.dumps([{"time": first, "type": "function", "record": "x"}], separators=(",", ":")).encode()
    assert hour_of(body, now_ms=HOUR * HOUR_MS + after_ms) == hour
