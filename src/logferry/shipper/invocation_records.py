"""Summaries of invocations and samples of their resource usage: when they are made.

Guarantees:
- A summary is made when the end of its invocation has arrived: `platform.runtimeDone`, or `platform.report` on Managed
  Instances. The response to the batch is sent first, and the events in the pipe are read.
- The summary precedes the flush that waits for the same batch, so it is in the object of its invocation.
- There is one sample for each invocation. It is the end of one and the start of the next.
- A summary that the journal refuses waits, and never turns into an error of the batch that caused it.

Design: an INVOKE event may arrive before the end of the previous invocation, because the environment was frozen in
between. The sample is taken then, before the next invocation has used anything, and marked as late. So is a sample
that follows the end of its invocation by more than `LATE_MS`. The first sample is taken at the first INVOKE event:
earlier ones would contain the Init phase, or be those of a SnapStart snapshot.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from logferry.instrumentation.invocation_summary import InvocationSummaries
from logferry.instrumentation.usage import greater, usage_between
from logferry.records import attribution, decoder
from logferry.records.internal import INVOCATION, USAGE, internal_batch, timed_batch
from logferry.records.model import iso
from logferry.records.timestamps import is_canonical
from logferry.shipper.internal_records import InternalRecords

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from logferry.instrumentation.process_usage import ProcessUsage
    from logferry.instrumentation.usage import Levels, Sample
    from logferry.instrumentation.usage_sampler import UsageSampler
    from logferry.records.internal import InternalBatch
    from logferry.records.invocations import Invocations

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
"""Unit of /proc/stat, in milliseconds."""
MEBIBYTE = 1024 * 1024
PROCESS_USAGE_SECONDS = 60.0
"""Interval of the `logferry.usage` records on Managed Instances, in seconds."""
LATE_MS = 500
"""Time between the end of an invocation and its sample, in milliseconds, from which on the sample is marked as late."""
PAST_KEPT = 4
"""Number of invocations whose end may arrive after a later INVOKE event."""


class _Period:
    """Samples of an invocation whose end has not arrived."""

    __slots__ = ("end", "maxima", "start")

    def __init__(self, start: Sample | None, end: Sample, maxima: Levels | None) -> None:
        self.start = start
        self.end = end
        self.maxima = maxima


class UsageSource:
    """Sources of the usage, with the memory setting of the function."""

    __slots__ = ("interval_seconds", "memory_limit_bytes", "processes", "sampler")

    def __init__(
        self,
        sampler: UsageSampler,
        processes: ProcessUsage | None,
        memory_limit_bytes: int | None,
        interval_seconds: float,
    ) -> None:
        """Keep the sources. `processes` is that of the `logferry.usage` records, None outside Managed Instances.

        `interval_seconds` is the interval of further samples inside an invocation, 0 for none.
        """
        self.sampler = sampler
        self.processes = processes
        self.memory_limit_bytes = memory_limit_bytes
        self.interval_seconds = interval_seconds


def open_usage(*, tmp: str, memory_mb: str, interval_seconds: float, managed: bool) -> UsageSource:
    """Return the sources of this execution environment.

    `tmp` is a directory of the file system whose use is reported; `memory_mb` is the memory setting of the function.
    """
    from logferry.instrumentation.usage_sampler import UsageSampler, process_cpu_ns  # noqa: PLC0415 - usage may be off

    sampler = UsageSampler(tmp=tmp, supervisor_pid=os.getppid())
    processes = None
    if managed:
        from logferry.instrumentation.process_usage import ProcessUsage  # noqa: PLC0415 - Managed Instances only

        processes = ProcessUsage(supervisor_pid=os.getppid(), cpu_ns=process_cpu_ns, own_cpu_ns=sampler.own_cpu_ns)
    limit = int(memory_mb) * MEBIBYTE if memory_mb.isdecimal() else None
    return UsageSource(sampler, processes, limit, interval_seconds)


class InvocationRecords:
    """Maker of the summaries of one shipper process."""

    def __init__(
        self,
        *,
        store: Callable[[InternalBatch], None],
        invocations: Invocations,
        clock_ms: Callable[[], int],
        managed: bool,
        restarted: bool,
        calls: bool,
        events: bool,
        usage: UsageSource | None,
    ) -> None:
        """Observe the stream. `calls` and `events`: whether summaries have these fields. `usage` is None if it is off.

        `restarted`: an earlier shipper process of the environment may have observed a part of an invocation.
        """
        self.summaries = InvocationSummaries(calls=calls, events=events, restarted=restarted)
        self.drain: Callable[[], None] = lambda: None
        """Read the events that wait in the pipe."""
        self._records = InternalRecords(store=store, invocations=invocations)
        self._clock_ms = clock_ms
        self._managed = managed
        self._usage = usage
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: list[tuple[str, decoder.Event]] = []
        self._current: str | None = None
        self._start: Sample | None = None
        self._maxima: Levels | None = None
        self._past: dict[str, _Period] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._processes_since = 0.0

    def run_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use the event loop from now on, and make the summaries of the invocations that have ended before."""
        self._loop = loop
        self._finish()
        if self._usage and self._usage.processes:
            self._usage.processes.take(0.0)
            self._processes_since = loop.time()
            self._timer = loop.call_later(PROCESS_USAGE_SECONDS, self._record_processes)

    def on_invoke(self, request_id: str, again: bool) -> None:
        """Begin an invocation at its INVOKE event, and end the usage of the one before.

        `again`: an earlier shipper process had received the event, so it may have counted a part.
        """
        self.summaries.start(request_id, is_partial=again)
        if self._usage and not self._managed:
            if self._current or not self._start:
                sample = self._usage.sampler.sample()
                if self._current:
                    self._past[self._current] = _Period(self._start, sample, self._take_maxima())
                    self._past = dict(list(self._past.items())[-PAST_KEPT:])
                self._start = sample
            self._current = request_id
            self._set_timer()

    def on_event(self, event: decoder.Event) -> None:
        """Take in the start, the end or the report of an invocation."""
        request_id = attribution.platform_request(event) or ""
        if event.type == decoder.START:
            # Without INVOKE events, the start is the beginning. Otherwise an earlier process may have had the INVOKE.
            self.summaries.start(request_id, is_partial=False if self._managed else None)
        elif event.type == decoder.RUNTIME_DONE or self._managed or self.summaries.is_running(request_id):
            self._ended.append((request_id, event))

    def on_batch(self) -> None:
        """Make the summaries of the invocations that have ended, in the next step of the event loop."""
        if self._loop:
            if self._ended:
                self._loop.call_soon(self._finish)
            else:
                self._records.flush()

    def on_shutdown(self, reason: str) -> None:
        """Make the summaries of the invocations that have no end, before the last segment is sealed."""
        self._finish()
        for request_id in self.summaries.running:
            self.drain()
            status = "timeout" if reason.lower() == "timeout" else None
            self._store(request_id, status=status, duration_ms=None, time="", late=True)
        self._records.flush()

    def _finish(self) -> None:
        """Make the summaries of the invocations that have ended."""
        if not self._ended:
            return
        self.drain()
        ended, self._ended = self._ended, []
        for request_id, event in ended:
            record, time = event.fields.get("record"), event.fields.get("time")
            fields: Mapping[str, Any] = record if isinstance(record, dict) else {}
            metrics = fields.get("metrics")
            ended_at = time if isinstance(time, str) and is_canonical(time) else ""
            self._store(
                request_id,
                status=fields.get("status"),
                duration_ms=metrics.get("durationMs") if isinstance(metrics, dict) else None,
                time=ended_at,
                late="" < ended_at < iso(self._clock_ms() - LATE_MS),
            )

    def _store(self, request_id: str, *, status: object, duration_ms: object, time: str, late: bool) -> None:
        usage = self._take_usage(request_id, late=late)
        summary = self.summaries.end(request_id, status=status, duration_ms=duration_ms, usage=usage)
        if summary:
            self._records.append(timed_batch(INVOCATION, summary, time=time or iso(self._clock_ms())))

    # --- usage

    def _take_usage(self, request_id: str, *, late: bool) -> dict[str, object] | None:
        """Return the usage of an invocation that has ended; None if it is off or unknown."""
        if not self._usage or self._managed:
            return None
        # Three cases: 1. the next invocation has begun, 2. the invocation has just ended, 3. it never began here.
        if request_id in self._past:
            period, late = self._past.pop(request_id), True
        elif request_id == self._current:
            period = _Period(self._start, self._usage.sampler.sample(), self._take_maxima())
            self._start, self._current = period.end, None
        else:
            return None
        usage = usage_between(
            period.start,
            period.end,
            memory_limit_bytes=self._usage.memory_limit_bytes,
            tick_ms=TICK_MS,
            maxima=period.maxima,
        )
        return usage | {"late": True} if late else usage

    def _take_maxima(self) -> Levels | None:
        """Return the maxima of the samples inside the invocation, and stop taking them."""
        maxima, self._maxima = self._maxima, None
        if self._timer and not self._managed:
            self._timer.cancel()
            self._timer = None
        return maxima

    def _set_timer(self) -> None:
        if self._loop and self._usage and self._usage.interval_seconds and not self._timer:
            self._maxima = self._maxima or {}
            self._timer = self._loop.call_later(self._usage.interval_seconds, self._sample_levels)

    def _sample_levels(self) -> None:
        self._timer = None
        if self._usage and self._current:
            self._maxima = greater(self._maxima or {}, self._usage.sampler.levels())
            self._set_timer()

    def _record_processes(self) -> None:
        """Store one `logferry.usage` record of the processes."""
        if self._loop and self._usage and self._usage.processes:
            now = self._loop.time()
            record = self._usage.processes.take(now - self._processes_since)
            self._processes_since = now
            self._records.append(internal_batch(USAGE, [record], at_ms=self._clock_ms()))
            self._timer = self._loop.call_later(PROCESS_USAGE_SECONDS, self._record_processes)
