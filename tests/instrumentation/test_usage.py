"""Usage of an invocation from two samples."""

from __future__ import annotations

from logferry.instrumentation.usage import Levels, Sample, levels_of, usage_between

START = Sample(
    runtime_pid=7,
    runtime_cpu_ns=1_000_000_000,
    own_cpu_ns=50_000_000,
    busy_ticks=100,
    steal_ticks=3,
    cores=2,
    rss_bytes=10,
    peak_rss_bytes=20,
    environment_bytes=30,
    received_bytes=1000,
    sent_bytes=2000,
    tmp_used_bytes=40,
    tmp_bytes=512,
    descriptors=5,
    threads=2,
)
NOTHING = Sample(*[None] * len(Sample._fields))


def usage(start: Sample | None, end: Sample, maxima: Levels | None = None) -> dict[str, object]:
    """Return the usage with a memory limit and ticks of 10 ms."""
    return usage_between(start, end, memory_limit_bytes=128, tick_ms=10, maxima=maxima)


def test_counters_are_differences_and_the_rest_is_of_the_end() -> None:
    """Each field has its own unit."""
    end = START._replace(
        runtime_cpu_ns=1_200_345_678,
        own_cpu_ns=53_000_000,
        busy_ticks=130,
        steal_ticks=4,
        received_bytes=1500,
        sent_bytes=2100,
        rss_bytes=11,
    )
    assert usage(START, end) == {
        "cpuMs": 200.346,
        "ownCpuMs": 3.0,
        "environmentCpuMs": 300,
        "stealMs": 10,
        "cores": 2,
        "rssBytes": 11,
        "peakRssBytes": 20,
        "environmentBytes": 30,
        "memoryLimitBytes": 128,
        "receivedBytes": 500,
        "sentBytes": 100,
        "tmpUsedBytes": 40,
        "tmpBytes": 512,
        "descriptors": 5,
        "threads": 2,
    }


def test_values_that_could_not_be_read_are_absent() -> None:
    """Absent is not zero."""
    assert usage(START, NOTHING) == {"memoryLimitBytes": 128}
    assert (
        usage(NOTHING, START).keys().isdisjoint({"cpuMs", "ownCpuMs", "environmentCpuMs", "stealMs", "receivedBytes"})
    )
    assert usage_between(START, NOTHING, memory_limit_bytes=None, tick_ms=10) == {}


def test_counters_that_ran_backwards_are_absent() -> None:
    """A clone of a snapshot, or a counter that wrapped, gives no negative value."""
    end = START._replace(runtime_cpu_ns=1, own_cpu_ns=1, busy_ticks=1, steal_ticks=1, received_bytes=1, sent_bytes=1)
    counters = {"cpuMs", "ownCpuMs", "environmentCpuMs", "stealMs", "receivedBytes", "sentBytes"}
    assert usage(START, end).keys().isdisjoint(counters)
    assert usage(START, end)["rssBytes"] == 10


def test_another_runtime_has_no_cpu_time() -> None:
    """The counters of two processes have no difference."""
    found = usage(START, START._replace(runtime_pid=8, runtime_cpu_ns=2_000_000_000))
    assert "cpuMs" not in found
    assert found["ownCpuMs"] == 0


def test_without_a_start_only_the_values_of_the_end_are_known() -> None:
    """A shipper that was restarted has no sample of the start."""
    found = usage(None, START)
    assert found.keys().isdisjoint({"cpuMs", "ownCpuMs", "environmentCpuMs", "stealMs", "receivedBytes", "sentBytes"})
    assert found["peakRssBytes"] == 20


def test_maxima_include_the_sample_at_the_end() -> None:
    """A value that could not be read in one sample is that of the others."""
    inside = Levels(rss_bytes=99, descriptors=1).maxima(Levels(environment_bytes=7, threads=4))
    found = usage(START, START, inside)
    assert {name: value for name, value in found.items() if name.startswith("max")} == {
        "maxRssBytes": 99,
        "maxEnvironmentBytes": 30,
        "maxTmpUsedBytes": 40,
        "maxDescriptors": 5,
        "maxThreads": 4,
    }
    assert not [name for name in usage(START, START) if name.startswith("max")]
    assert levels_of(NOTHING) == Levels()
