"""Samples of the resource usage of invocations: when they are taken, and what they are the start and the end of.

Guarantees:
- There is one sample for each invocation. It is the end of one and the start of the next. CPU time that is used between
  two invocations, for example by threads of the function, belongs to the later one.
- Complete samples are taken at most once in LOGFERRY_USAGE_COMPLETE_SECONDS, and at the end of each failed invocation.
  Their differences of the counters of the environment begin at the previous complete sample, so that the sum over
  invocations has no gap.

Design: an INVOKE event may arrive before the end of the previous invocation, because the environment was frozen in
between. The sample is taken then, before the next invocation has used anything, and marked as late. So is a sample
that follows the end of its invocation by more than `LATE_MS`. The first sample is taken at the first INVOKE event:
earlier ones would contain the Init phase, or be those of a SnapStart snapshot. The files of /proc take 95 % of the CPU
time of a complete sample. Their values change little between invocations that follow one another within a second.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from logferry.instrumentation.usage import greater, usage_text
from logferry.records.internal import USAGE, internal_batch
from logferry.records.model import iso

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from logferry.instrumentation.process_usage import ProcessUsage
    from logferry.instrumentation.usage import Counters, Levels, Sample
    from logferry.instrumentation.usage_sampler import UsageSampler
    from logferry.records.internal import InternalBatch

TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
"""Unit of /proc/stat, in milliseconds: 10 on every architecture of Lambda."""
MEBIBYTE = 1024 * 1024
PROCESS_USAGE_SECONDS = 60.0
"""Interval of the `logferry.usage` records on Managed Instances, in seconds."""
LATE_MS = 500
"""Time between the end of an invocation and its sample, in milliseconds, from which on the sample is marked as late."""
PAST_KEPT = 4
"""Number of invocations whose end may arrive after a later INVOKE event."""


class _Period:
    """Samples of an invocation, and the counters of the complete sample before its end."""

    __slots__ = ("counters_before", "end", "maxima", "start")

    def __init__(
        self, start: Sample | None, end: Sample, counters_before: Counters | None, maxima: Levels | None
    ) -> None:
        self.start = start
        self.end = end
        self.counters_before = counters_before
        self.maxima = maxima


class UsageSource:
    """Sources of the usage, with the memory setting of the function."""

    __slots__ = ("complete_ms", "interval_seconds", "memory_limit_bytes", "processes", "sampler")

    def __init__(
        self,
        sampler: UsageSampler,
        processes: ProcessUsage | None,
        memory_limit_bytes: int | None,
        interval_seconds: float,
        complete_seconds: float,
    ) -> None:
        """Keep the sources. `processes` is that of the `logferry.usage` records, None outside Managed Instances.

        `interval_seconds` is the interval of further samples inside an invocation, 0 for none. `complete_seconds` is
        the shortest time between two complete samples at the end of successful invocations.
        """
        self.sampler = sampler
        self.processes = processes
        self.memory_limit_bytes = memory_limit_bytes
        self.interval_seconds = interval_seconds
        self.complete_ms = complete_seconds * 1000


def open_usage(
    *, tmp: str, memory_mb: str, interval_seconds: float, complete_seconds: float, managed: bool
) -> UsageSource:
    """Return the sources of this execution environment.

    `tmp` is a directory of the file system whose use is reported; `memory_mb` is the memory setting of the function.
    """
    from logferry.instrumentation.usage_sampler import UsageSampler, process_cpu_ns  # noqa: PLC0415 - not in tests

    sampler = UsageSampler(tmp=tmp, supervisor_pid=os.getppid())
    processes = None
    if managed:
        from logferry.instrumentation.process_usage import ProcessUsage  # noqa: PLC0415 - Managed Instances only

        processes = ProcessUsage(supervisor_pid=os.getppid(), cpu_ns=process_cpu_ns, own_cpu_ns=sampler.own_cpu_ns)
    limit = int(memory_mb) * MEBIBYTE if memory_mb.isdecimal() else None
    return UsageSource(sampler, processes, limit, interval_seconds, complete_seconds)


class InvocationUsage:
    """Usage of the invocations of one shipper process; on Managed Instances that of the processes."""

    def __init__(
        self, source: UsageSource, *, clock_ms: Callable[[], int], append: Callable[[InternalBatch], None]
    ) -> None:
        """Take samples of `source`. `append` stores the `logferry.usage` records."""
        self._source = source
        self._sampler = source.sampler
        self._clock_ms = clock_ms
        self._append = append
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: str | None = None
        self._start: Sample | None = None
        self._maxima: Levels | None = None
        self._past: dict[str, _Period] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._counters: Counters | None = None
        """Counters of the latest complete sample."""
        self._complete_at_ms = 0
        """Time of the latest complete sample at the end of an invocation (epoch ms)."""
        self._processes_since = 0.0

    def run_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use the event loop for timers from now on."""
        self._loop = loop
        if self._source.processes:
            self._source.processes.take(0.0)
            self._processes_since = loop.time()
            loop.call_later(PROCESS_USAGE_SECONDS, self._record_processes)

    def begin(self, request_id: str) -> None:
        """Begin an invocation at its INVOKE event, and end the one before."""
        if self._source.processes:
            return
        # Three cases: 1. the end of the previous invocation has not arrived, 2. it has, with its sample,
        # 3. the first invocation.
        if self._current:
            self._past[self._current] = self._end_period(failed=False)
            self._past = dict(list(self._past.items())[-PAST_KEPT:])
        elif not self._start:
            self._start = self._sampler.sample()
            self._counters = self._start.counters
        self._current = request_id
        self._set_timer()

    def end(self, request_id: str, *, ended_at: str, failed: bool) -> str:
        """Return the JSON text of the usage of an invocation that has ended; empty if it is unknown.

        `ended_at` is the time of its end as the platform writes it, empty if it is unknown.
        """
        # Three cases: 1. the next invocation has begun, 2. the invocation has just ended, 3. it never began here.
        if request_id in self._past:
            period, late = self._past.pop(request_id), True
        elif request_id == self._current:
            period, self._current = self._end_period(failed=failed), None
            late = ended_at < iso(self._clock_ms() - LATE_MS)
        else:
            return ""
        return usage_text(
            period.start,
            period.end,
            counters_before=period.counters_before,
            memory_limit_bytes=self._source.memory_limit_bytes,
            tick_ms=TICK_MS,
            maxima=period.maxima,
            late=late,
        )

    def _end_period(self, *, failed: bool) -> _Period:
        """End the invocation with a sample, which becomes the start of the next one."""
        now_ms = self._clock_ms()
        complete = (
            failed or not 0 <= now_ms - self._complete_at_ms < self._source.complete_ms
        )  # the clock may be set back
        end = self._sampler.sample(complete=complete)
        period = _Period(self._start, end, self._counters, self._take_maxima())
        if complete:
            self._counters, self._complete_at_ms = end.counters, now_ms
        self._start = end
        return period

    def _take_maxima(self) -> Levels | None:
        """Return the maxima of the samples inside the invocation, and stop taking them."""
        maxima, self._maxima = self._maxima, None
        if self._timer:
            self._timer.cancel()
            self._timer = None
        return maxima

    def _set_timer(self) -> None:
        if self._loop and self._source.interval_seconds and not self._timer:
            self._maxima = self._maxima or {}
            self._timer = self._loop.call_later(self._source.interval_seconds, self._sample_levels)

    def _sample_levels(self) -> None:
        self._timer = None
        if self._current:
            self._maxima = greater(self._maxima or {}, self._sampler.levels())
            self._set_timer()

    def _record_processes(self) -> None:
        """Store one `logferry.usage` record of the processes."""
        if self._loop and self._source.processes:
            now = self._loop.time()
            record = self._source.processes.take(now - self._processes_since)
            self._processes_since = now
            self._append(internal_batch(USAGE, [record], at_ms=self._clock_ms()))
            self._loop.call_later(PROCESS_USAGE_SECONDS, self._record_processes)
