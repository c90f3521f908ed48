"""Resource usage of an invocation, from a sample at its start and one at its end. Pure.

Guarantees:
- A value that could not be read is absent.
- A counter that ran backwards gives no value: the runtime was replaced, or the environment is the clone of a snapshot.

Design: counters stand still while the environment is frozen, so the sample at the end of an invocation is the start of
the next one. The peak of the memory is the kernel's own (`VmHWM`), for the life of the process, and needs no further
samples. The values of /proc/stat have a resolution of 10 ms, those of a process are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Levels = Mapping[str, int]
    """Those values of one moment whose maxima are of interest, or the maxima of several moments."""

NANOSECONDS_PER_MS = 1_000_000
CPU, OWN_CPU, ENVIRONMENT_CPU, STEAL = "cpuMs", "ownCpuMs", "environmentCpuMs", "stealMs"
"""Counters of CPU time. The first two are in nanoseconds, the others in ticks of /proc/stat."""
RECEIVED, SENT = "receivedBytes", "sentBytes"
"""Counters of the network."""
LEVELS = ("rssBytes", "environmentBytes", "tmpUsedBytes", "descriptors", "threads")
"""Fields whose maxima are of interest."""
_DIGITS = 3
"""Digits behind the point of a duration in milliseconds."""


class Sample:
    """Counters and values at one moment, under the names of their fields. What could not be read is absent."""

    __slots__ = ("counters", "runtime_pid", "values")

    def __init__(self, runtime_pid: int | None, counters: Mapping[str, int], values: Mapping[str, int]) -> None:
        """`runtime_pid` is the process whose CPU time is the counter `cpuMs`."""
        self.runtime_pid = runtime_pid
        self.counters = counters
        self.values = values


def usage_between(
    start: Sample | None, end: Sample, *, memory_limit_bytes: int | None, tick_ms: float, maxima: Levels | None = None
) -> dict[str, object]:
    """Return the field `usage` of a summary. `tick_ms` is the duration of a tick of /proc/stat.

    Without a sample at the start, the values that need a difference are absent.
    """
    usage: dict[str, object] = {}
    if start:
        before, after = start.counters, end.counters
        for name, now in after.items():
            then = before.get(name)
            # Two exceptions: 1. a counter that ran backwards or has no start, 2. the CPU time of another process.
            if then is None or then > now or (name == CPU and start.runtime_pid != end.runtime_pid):
                continue
            if name in (RECEIVED, SENT):
                usage[name] = now - then
            elif name in (CPU, OWN_CPU):
                usage[name] = round((now - then) / NANOSECONDS_PER_MS, _DIGITS)
            else:
                usage[name] = round((now - then) * tick_ms, _DIGITS)
    usage.update(end.values)
    if memory_limit_bytes is not None:
        usage["memoryLimitBytes"] = memory_limit_bytes
    if maxima is not None:
        usage.update({f"max{name[0].upper()}{name[1:]}": each for name, each in greater(maxima, end.values).items()})
    return usage


def greater(one: Levels, other: Levels) -> Levels:
    """Return the greater value of each field in `LEVELS`."""
    found = {name: max(one.get(name, -1), other.get(name, -1)) for name in LEVELS}
    return {name: value for name, value in found.items() if value >= 0}


def cpu_ms_between(start: int | None, end: int | None) -> float | None:
    """Return the difference of two CPU times in ns, in milliseconds; None if one is unknown or it is negative."""
    if start is None or end is None or start > end:
        return None
    return round((end - start) / NANOSECONDS_PER_MS, _DIGITS)
