"""Resource usage of an invocation, from a sample at its start and one at its end. Pure.

Guarantees:
- A value that could not be read is absent.
- A counter that ran backwards gives no value: the runtime was replaced, or the environment is the clone of a snapshot.

Design: counters stand still while the environment is frozen, so the sample at the end of an invocation is the start of
the next one. The peak of the memory is the kernel's own (`VmHWM`), for the life of the process, and needs no further
samples. The values of /proc/stat have a resolution of 10 ms, those of a process are exact. The JSON text is written
without `json`: after each pause of the process, its encoder takes longer than all the rest of a sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Levels = Mapping[str, int]
    """Those values of one moment whose maxima are of interest, or the maxima of several moments."""
    Counters = tuple[int | None, int | None, int | None, int | None]
    """Counters of the environment in the order of `COUNTERS`. What could not be read is None."""

COUNTERS = ("environmentCpuMs", "stealMs", "receivedBytes", "sentBytes")
"""Fields that are differences of counters of the environment: two in ticks of /proc/stat, two in bytes."""
_IN_TICKS = COUNTERS[:2]
NANOSECONDS_PER_MS = 1_000_000
LEVELS = ("rssBytes", "environmentBytes", "tmpUsedBytes", "descriptors", "threads")
"""Fields whose maxima are of interest."""


class Sample:
    """CPU times at one moment, and in a complete sample everything else."""

    __slots__ = ("counters", "cpu_ns", "own_cpu_ns", "runtime_pid", "values")

    def __init__(
        self,
        runtime_pid: int | None,
        cpu_ns: int | None,
        own_cpu_ns: int | None,
        counters: Counters | None = None,
        values: Mapping[str, int] | None = None,
    ) -> None:
        """`cpu_ns` is the CPU time of `runtime_pid`, `own_cpu_ns` that of logferry.

        A complete sample also has `counters` of the environment, and the `values` that could be read, by field.
        """
        self.runtime_pid = runtime_pid
        self.cpu_ns = cpu_ns
        self.own_cpu_ns = own_cpu_ns
        self.counters = counters
        self.values = values


def usage_text(
    start: Sample | None,
    end: Sample,
    *,
    counters_before: Counters | None,
    memory_limit_bytes: int | None,
    tick_ms: int,
    maxima: Levels | None = None,
    late: bool = False,
) -> str:
    """Return the JSON text of the field `usage` of a summary. `tick_ms` is the duration of a tick of /proc/stat.

    Without a sample at the start, the CPU times are absent. `counters_before` are those of the previous complete
    sample. They are used if `end` is complete. `late` becomes a field.
    """
    members: list[str] = []
    if start:
        if start.runtime_pid == end.runtime_pid:  # the counters of two processes have no difference
            _add_milliseconds(members, "cpuMs", start.cpu_ns, end.cpu_ns)
        _add_milliseconds(members, "ownCpuMs", start.own_cpu_ns, end.own_cpu_ns)
    if end.values is not None:
        members += _of_environment(counters_before, end.counters, tick_ms=tick_ms)
        members += [f'"{name}":{value}' for name, value in end.values.items()]
        if memory_limit_bytes is not None:
            members.append(f'"memoryLimitBytes":{memory_limit_bytes}')
    if maxima is not None:
        highest = greater(maxima, end.values or {})
        members += [f'"max{name[0].upper()}{name[1:]}":{value}' for name, value in highest.items()]
    if late:
        members.append('"late":true')
    return "{" + ",".join(members) + "}"


def _add_milliseconds(members: list[str], name: str, then: int | None, now: int | None) -> None:
    if then is not None and now is not None and then <= now:
        members.append(f'"{name}":{milliseconds(now - then)}')


def _of_environment(before: Counters | None, after: Counters | None, *, tick_ms: int) -> list[str]:
    """Return the differences of those counters that are known and did not run backwards."""
    known = zip(COUNTERS, before or (), after or (), strict=False)
    differences = [(name, now - then) for name, then, now in known if None not in (then, now) and then <= now]  # type: ignore[operator]
    return [f'"{name}":{value * tick_ms if name in _IN_TICKS else value}' for name, value in differences]


def milliseconds(ns: int) -> str:
    """Return the text of a duration in milliseconds, with three digits behind the point."""
    us = (ns + 500) // 1000
    return f"{us // 1000}.{us % 1000:03d}"


def greater(one: Levels, other: Levels) -> Levels:
    """Return the greater value of each field in `LEVELS`."""
    found = {name: max(one.get(name, -1), other.get(name, -1)) for name in LEVELS}
    return {name: value for name, value in found.items() if value >= 0}


def cpu_ms_between(start: int | None, end: int | None) -> float | None:
    """Return the difference of two CPU times in ns, in milliseconds; None if one is unknown or it is negative."""
    if start is None or end is None or start > end:
        return None
    return round((end - start) / NANOSECONDS_PER_MS, 3)
