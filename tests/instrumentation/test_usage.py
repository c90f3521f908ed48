"""Usage of an invocation from two samples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.instrumentation.usage import LEVELS, Sample, greater, milliseconds, usage_text

if TYPE_CHECKING:
    from logferry.instrumentation.usage import Levels

CPU_NS, OWN_NS = 1_000_000_000, 50_000_000
COUNTERS = (100, 3, 1000, 2000)
UNKNOWN = (None,) * 4
VALUES = {
    "cores": 2,
    "rssBytes": 10,
    "peakRssBytes": 20,
    "environmentBytes": 30,
    "tmpUsedBytes": 40,
    "tmpBytes": 512,
    "descriptors": 5,
    "threads": 2,
}
START = Sample(7, CPU_NS, OWN_NS, COUNTERS, VALUES)
NOTHING = Sample(None, None, None, UNKNOWN, {})


def usage(
    start: Sample | None, end: Sample, maxima: Levels | None = None, *, limit: int | None = 128, late: bool = False
) -> dict[str, Any]:
    """Return the usage with ticks of 10 ms; the sample at the start is the previous complete one."""
    before = start.counters if start else None
    text = usage_text(
        start, end, counters_before=before, memory_limit_bytes=limit, tick_ms=10, maxima=maxima, late=late
    )
    found: dict[str, Any] = json.loads(text)
    return found


def test_counters_are_differences_and_the_rest_is_of_the_end() -> None:
    """Each field has its own unit."""
    end = Sample(7, 1_200_345_678, 53_000_000, (130, 4, 1500, 2100), VALUES | {"rssBytes": 11})
    assert usage(START, end) == {
        "cpuMs": 200.346,
        "ownCpuMs": 3.0,
        "environmentCpuMs": 300,
        "stealMs": 10,
        "receivedBytes": 500,
        "sentBytes": 100,
        **VALUES,
        "rssBytes": 11,
        "memoryLimitBytes": 128,
    }


def test_values_that_could_not_be_read_are_absent() -> None:
    """Absent is not zero."""
    assert usage(START, NOTHING) == {"memoryLimitBytes": 128}
    assert usage(NOTHING, START) == {**VALUES, "memoryLimitBytes": 128}
    assert usage(START, NOTHING, limit=None) == {}


def test_counters_that_ran_backwards_are_absent() -> None:
    """A clone of a snapshot, or a counter that wrapped, gives no negative value."""
    assert usage(START, Sample(7, 1, 1, (1,) * 4, VALUES)) == {**VALUES, "memoryLimitBytes": 128}


def test_another_runtime_has_no_cpu_time() -> None:
    """The counters of two processes have no difference."""
    found = usage(START, Sample(8, 2_000_000_000, OWN_NS, COUNTERS, VALUES))
    assert "cpuMs" not in found
    assert found["ownCpuMs"] == 0


def test_without_a_start_only_the_values_of_the_end_are_known() -> None:
    """A shipper that was restarted has no sample of the start."""
    assert usage(None, START) == {**VALUES, "memoryLimitBytes": 128}


def test_maxima_include_the_sample_at_the_end() -> None:
    """A value that could not be read in one sample is that of the others."""
    inside = greater({"rssBytes": 99, "descriptors": 1}, {"environmentBytes": 7, "threads": 4})
    found = usage(START, START, inside)
    assert {name: value for name, value in found.items() if name.startswith("max")} == {
        "maxRssBytes": 99,
        "maxEnvironmentBytes": 30,
        "maxTmpUsedBytes": 40,
        "maxDescriptors": 5,
        "maxThreads": 4,
    }
    assert not [name for name in usage(START, START) if name.startswith("max")]
    assert greater({}, {}) == {}
    assert set(greater(VALUES, {})) == set(LEVELS)


def test_sample_that_is_not_complete_has_only_cpu_times() -> None:
    """The counters of the environment wait for the next complete sample. Maxima are known all the same."""
    end = Sample(7, CPU_NS + 2_000_000, OWN_NS)
    assert usage(START, end) == {"cpuMs": 2.0, "ownCpuMs": 0.0}
    assert usage(START, end, {"rssBytes": 7})["maxRssBytes"] == 7
    assert usage(START, end, late=True)["late"] is True


def test_counters_of_the_environment_begin_at_the_previous_complete_sample() -> None:
    """The start of the invocation may be a sample without them."""
    start, end = Sample(7, CPU_NS, OWN_NS), Sample(7, CPU_NS, OWN_NS, (101, 3, 1000, 2001), {})
    text = usage_text(start, end, counters_before=COUNTERS, memory_limit_bytes=None, tick_ms=10)
    expected = {"environmentCpuMs": 10, "stealMs": 0, "receivedBytes": 0, "sentBytes": 1}
    assert json.loads(text) == {"cpuMs": 0, "ownCpuMs": 0, **expected}


def test_milliseconds_are_the_nearest_microsecond() -> None:
    """The text is a number of JSON."""
    assert [milliseconds(ns) for ns in (0, 499, 500, 999_499, 999_500, 12_000_000)] == [
        *("0.000", "0.000", "0.001", "0.999", "1.000", "12.000"),
    ]
