"""Usage of an invocation from two samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.instrumentation.usage import LEVELS, Sample, greater, usage_between

if TYPE_CHECKING:
    from logferry.instrumentation.usage import Levels

COUNTERS = {
    "cpuMs": 1_000_000_000,
    "ownCpuMs": 50_000_000,
    "environmentCpuMs": 100,
    "stealMs": 3,
    "receivedBytes": 1000,
    "sentBytes": 2000,
}
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
START = Sample(7, COUNTERS, VALUES)
NOTHING = Sample(None, {}, {})


def usage(start: Sample | None, end: Sample, maxima: Levels | None = None) -> dict[str, object]:
    """Return the usage with a memory limit and ticks of 10 ms."""
    return usage_between(start, end, memory_limit_bytes=128, tick_ms=10, maxima=maxima)


def test_counters_are_differences_and_the_rest_is_of_the_end() -> None:
    """Each field has its own unit."""
    counters = {
        "cpuMs": 1_200_345_678,
        "ownCpuMs": 53_000_000,
        "environmentCpuMs": 130,
        "stealMs": 4,
        "receivedBytes": 1500,
        "sentBytes": 2100,
    }
    assert usage(START, Sample(7, counters, VALUES | {"rssBytes": 11})) == {
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
    assert usage_between(START, NOTHING, memory_limit_bytes=None, tick_ms=10) == {}


def test_counters_that_ran_backwards_are_absent() -> None:
    """A clone of a snapshot, or a counter that wrapped, gives no negative value."""
    assert usage(START, Sample(7, dict.fromkeys(COUNTERS, 1), VALUES)) == {**VALUES, "memoryLimitBytes": 128}


def test_another_runtime_has_no_cpu_time() -> None:
    """The counters of two processes have no difference."""
    found = usage(START, Sample(8, COUNTERS | {"cpuMs": 2_000_000_000}, VALUES))
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
