"""The flush that belongs to an invocation: wait for its records, seal, upload.

Guarantees:
- An invocation without a due flush and without an upload in flight is not extended.
- An invocation with a due flush ends when its records are stored, and never later than its deadline minus
  `UPLOAD_MARGIN_SECONDS`, whatever the stream or the sink do.
- After `run` no upload is in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.deadline import Deadline
from logferry.flush.policy import Timing
from logferry.log import get_logger
from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from logferry.flush.policy import Due
    from logferry.flush.scheduler import InvokeDecision, Scheduler
    from logferry.flush.uploader import Uploader
    from logferry.records.invocations import Invocations
    from logferry.shipper.change_signal import ChangeSignal
    from logferry.shipper.events import Invoke

RUNTIME_DONE_MARGIN_SECONDS = 0.5
"""Time before an invocation's deadline that is reserved for the upload if `platform.runtimeDone` never arrives."""
UPLOAD_MARGIN_SECONDS = 0.2
"""Time before an invocation's deadline at which an upload is given up."""
CANCEL_MARGIN_SECONDS = 0.05
"""Time before that at which an earlier upload, started by age or size, is cancelled, so that it has ended at DONE."""
PREVIOUS_END_WAIT_SECONDS = 0.1
"""Longest wait for the last records of the previous invocation: the platform's buffer of 25 ms on a slow machine."""

log = get_logger()


class InvocationFlush:
    """The flush at the end of an invocation, or of the previous one while the next runs."""

    def __init__(
        self, *, scheduler: Scheduler, invocations: Invocations, uploader: Uploader, changes: ChangeSignal
    ) -> None:
        self._scheduler = scheduler
        self._invocations = invocations
        self._uploader = uploader
        self._changes = changes

    async def run(self, event: Invoke, decision: InvokeDecision) -> None:
        """Flush as decided. The invocation is extended until this method returns."""
        # While the circuit breaker is open, nothing is waited for: a due flush stays due.
        if decision.due and self._uploader.attempt_allowed():
            await self._seal(event, decision, decision.due)
        until = self._uploader.hold_deadline(event.deadline.earlier_by(UPLOAD_MARGIN_SECONDS))
        if self._uploader.has_ready_segment():
            self._uploader.shorten_deadline(until.earlier_by(CANCEL_MARGIN_SECONDS))
            await self._uploader.drain(until)
        self._uploader.cancel_connect()

    async def _seal(self, event: Invoke, decision: InvokeDecision, due: Due) -> None:
        if due.timing is Timing.POST_EXECUTION:
            self._uploader.connect()
            await self._wait_for_runtime_done(event)
            self._scheduler.seal(running=0)
        else:
            await self._wait_for_end_of(decision.previous_request_id)
            self._scheduler.seal(running=1)

    async def _wait_for_runtime_done(self, event: Invoke) -> None:
        """Wait until the runtime has finished this request, as long as the deadline leaves time for the upload.

        A repeated event, whose first shipper ended, may have had its `platform.runtimeDone` long ago, in a segment that
        is uploaded and removed. It is waited for only if the journal shows that the invocation is running.
        """
        if not self._invocations.may_run(event.request_id, event.again):
            return
        deadline = event.deadline.earlier_by(RUNTIME_DONE_MARGIN_SECONDS)
        if not await self._changes.wait_until(lambda: self._invocations.ended(event.request_id), deadline):
            log.warning("platform.runtimeDone did not arrive before the deadline", request_id=event.request_id)

    async def _wait_for_end_of(self, previous: str | None) -> None:
        """Wait for the end of the previous invocation, whose last records were in delivery at the freeze."""
        if previous:
            deadline = Deadline(loop_time() + PREVIOUS_END_WAIT_SECONDS)
            await self._changes.wait_until(lambda: self._invocations.ended(previous), deadline)
