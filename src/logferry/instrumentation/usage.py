"""Resource usage of an invocation, from a sample at its start and one at its end. Pure.

Guarantees:
- A value that could not be read is absent.
- A counter that ran backwards gives no value: the runtime was replaced, or the environment is the clone of a snapshot.

Design: counters stand still while the environment is frozen, so the sample at the end of an invocation is the start of
the next one. The peak of the memory is the kernel's own (`VmHWM`), for the life of the process, and needs no further
samples. The values of /proc/stat have a resolution of 10 ms, those of a process are exact.
"""

from __future__ import annotations

from typing import NamedTuple

NANOSECONDS_PER_MS = 1_000_000
_DIGITS = 3
"""Digits behind the point of a duration in milliseconds."""


class Sample(NamedTuple):
    """Counters and values at one moment. What could not be read is None."""

    runtime_pid: int | None
    runtime_cpu_ns: int | None
    """CPU time of all threads of the runtime, without its child processes."""
    own_cpu_ns: int | None
    """CPU time of the supervisor and the shipper."""
    busy_ticks: int | None
    steal_ticks: int | None
    cores: int | None
    rss_bytes: int | None
    peak_rss_bytes: int | None
    environment_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None
    tmp_used_bytes: int | None
    tmp_bytes: int | None
    descriptors: int | None
    threads: int | None


class Levels(NamedTuple):
    """Values of one moment inside an invocation, or the maxima of several."""

    rss_bytes: int | None = None
    environment_bytes: int | None = None
    tmp_used_bytes: int | None = None
    descriptors: int | None = None
    threads: int | None = None

    def maxima(self, other: Levels) -> Levels:
        """Return the greater value of each field."""
        return Levels(*(_greater(mine, theirs) for mine, theirs in zip(self, other, strict=True)))


def usage_between(
    start: Sample | None, end: Sample, *, memory_limit_bytes: int | None, tick_ms: float, maxima: Levels | None = None
) -> dict[str, object]:
    """Return the field `usage` of a summary. `tick_ms` is the duration of a tick of /proc/stat.

    Without a sample at the start, the values that need a difference are absent.
    """
    differences = _differences(start, end, tick_ms=tick_ms) if start else {}
    found: dict[str, object] = {
        **differences,
        "cores": end.cores,
        "rssBytes": end.rss_bytes,
        "peakRssBytes": end.peak_rss_bytes,
        "environmentBytes": end.environment_bytes,
        "memoryLimitBytes": memory_limit_bytes,
        **(_traffic(start, end) if start else {}),
        "tmpUsedBytes": end.tmp_used_bytes,
        "tmpBytes": end.tmp_bytes,
        "descriptors": end.descriptors,
        "threads": end.threads,
    }
    if maxima:
        highest = maxima.maxima(levels_of(end))
        names = ("maxRssBytes", "maxEnvironmentBytes", "maxTmpUsedBytes", "maxDescriptors", "maxThreads")
        found |= dict(zip(names, highest, strict=True))
    return {name: value for name, value in found.items() if value is not None}


def levels_of(sample: Sample) -> Levels:
    """Return the values of a sample whose maxima are of interest."""
    return Levels(sample.rss_bytes, sample.environment_bytes, sample.tmp_used_bytes, sample.descriptors, sample.threads)


def cpu_ms_between(start: int | None, end: int | None) -> float | None:
    """Return the difference of two CPU times in nanoseconds, in milliseconds."""
    return _milliseconds(_increase(start, end), 1 / NANOSECONDS_PER_MS)


def _differences(start: Sample, end: Sample, *, tick_ms: float) -> dict[str, object]:
    same_runtime = start.runtime_pid == end.runtime_pid
    return {
        "cpuMs": cpu_ms_between(start.runtime_cpu_ns, end.runtime_cpu_ns) if same_runtime else None,
        "ownCpuMs": cpu_ms_between(start.own_cpu_ns, end.own_cpu_ns),
        "environmentCpuMs": _milliseconds(_increase(start.busy_ticks, end.busy_ticks), tick_ms),
        "stealMs": _milliseconds(_increase(start.steal_ticks, end.steal_ticks), tick_ms),
    }


def _traffic(start: Sample, end: Sample) -> dict[str, object]:
    return {
        "receivedBytes": _increase(start.received_bytes, end.received_bytes),
        "sentBytes": _increase(start.sent_bytes, end.sent_bytes),
    }


def _increase(start: int | None, end: int | None) -> int | None:
    return end - start if start is not None and end is not None and start <= end else None


def _milliseconds(amount: int | None, unit_ms: float) -> float | None:
    return None if amount is None else round(amount * unit_ms, _DIGITS)


def _greater(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
