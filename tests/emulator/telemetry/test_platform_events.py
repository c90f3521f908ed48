"""Values in the records of the platform."""

from __future__ import annotations

from logferry.emulator.telemetry.platform_events import iso_time


def test_times_are_utc_with_milliseconds() -> None:
    """The format is 2006-01-02T15:04:05.000Z."""
    assert iso_time(0.0019) == "1970-01-01T00:00:00.001Z"
