"""Summaries of invocations: when they are made.

Guarantees:
- A summary is made when the end of its invocation has arrived: `platform.runtimeDone`, or `platform.report` on Managed
  Instances. The response to the batch is sent first, and the events in the pipe are read.
- The summary precedes the flush that waits for the same batch, so it is in the object of its invocation.
- A summary that the journal refuses waits, and never turns into an error of the batch that caused it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logferry.instrumentation.invocation_summary import InvocationSummaries
from logferry.records import attribution, decoder
from logferry.records.internal import summary_batch
from logferry.records.model import iso
from logferry.records.timestamps import is_canonical
from logferry.shipper.internal_records import InternalRecords

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from logferry.records.internal import InternalBatch
    from logferry.records.invocations import Invocations
    from logferry.shipper.invocation_usage import UsageSource

_SUCCESSFUL = ("success", None)
"""Statuses of an invocation that has not failed. The reports of the Logs API have no status."""


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
        always = calls or usage is not None
        self.summaries = InvocationSummaries(calls=calls, events=events, restarted=restarted, always=always)
        self.drain: Callable[[], None] = lambda: None
        """Read the events that wait in the pipe."""
        self.has_waiting: Callable[[], bool] = lambda: False
        """Return whether events wait in the pipe."""
        self.on_first_end_without_calls: Callable[[], None] | None = None
        """Called once, at the end of the first invocation, if no call has arrived until then."""
        self._records = InternalRecords(store=store, invocations=invocations)
        self._clock_ms = clock_ms
        self._managed = managed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: list[tuple[str, decoder.Event]] = []
        self._usage = None
        if usage:
            from logferry.shipper.invocation_usage import InvocationUsage  # noqa: PLC0415 - usage may be off

            self._usage = InvocationUsage(usage, clock_ms=clock_ms, append=self._records.append)

    def run_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use the event loop from now on, and make the summaries of the invocations that have ended before."""
        self._loop = loop
        self._finish()
        if self._usage:
            self._usage.run_in(loop)

    def on_invoke(self, request_id: str, again: bool) -> None:
        """Begin an invocation at its INVOKE event, and end the usage of the one before.

        `again`: an earlier shipper process had received the event, so it may have counted a part.
        """
        self.summaries.start(request_id, is_partial=again)
        if self._usage:
            self._usage.begin(request_id)

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
        if not self._loop:
            return
        if self._ended and not self.summaries.always and not self.has_waiting():
            # Most invocations send no event: they need no further step.
            self._ended = [each for each in self._ended if not self.summaries.end_without_summary(each[0])]
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
            self._store(request_id, status=status, duration_ms=None, time=None, failed=True)
        self._records.flush()

    def _finish(self) -> None:
        """Make the summaries of the invocations that have ended."""
        if not self._ended:
            return
        self.drain()
        ended, self._ended = self._ended, []
        for request_id, event in ended:
            record = event.fields.get("record")
            fields: Mapping[str, Any] = record if isinstance(record, dict) else {}
            metrics = fields.get("metrics")
            self._store(
                request_id,
                status=fields.get("status"),
                duration_ms=metrics.get("durationMs") if isinstance(metrics, dict) else None,
                time=event.fields.get("time"),
                failed=fields.get("status") not in _SUCCESSFUL,
            )

    def _store(self, request_id: str, *, status: object, duration_ms: object, time: object, failed: bool) -> None:
        ended_at = time if isinstance(time, str) else ""
        usage = self._usage.end(request_id, ended_at=ended_at, failed=failed) if self._usage else ""
        if summary := self.summaries.end(request_id, status=status, duration_ms=duration_ms, usage=usage):
            self._check_calls()
            at = ended_at if is_canonical(ended_at) else iso(self._clock_ms())
            self._records.append(summary_batch(summary, time=at))

    def _check_calls(self) -> None:
        check, self.on_first_end_without_calls = self.on_first_end_without_calls, None
        if check and not self.summaries.has_calls:
            check()
