"""The last flush, in the Shutdown phase.

Guarantees:
- Batches are accepted until the stream has been quiet for longer than the requested buffer, and during the last upload.
  Records that arrive during the last upload are stored in one more object.
- Transient failures of the sink are retried until the deadline.
- The last message states how much was refused or left in the spool.

Design: the stream has no end mark. The platform delivers lines up to one buffer interval after they were written, also
after SHUTDOWN. Examples are lines of a crash during Init or of a SIGTERM handler, and the last `platform.report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.deadline import Deadline
from logferry.log import get_logger
from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.flush.scheduler import Scheduler
    from logferry.flush.uploader import Uploader
    from logferry.listener.intake import Intake
    from logferry.records.invocations import Invocations
    from logferry.shipper.change_signal import ChangeSignal
    from logferry.shipper.events import Shutdown

LAST_UPLOAD_MARGIN_SECONDS = 0.25
"""Time before the deadline at which the last upload is given up, for DONE and the exit on a slow machine."""
LAST_REPORT_SECONDS = 0.3
"""Longest wait for missing `platform.report` records; others have measured 5 ms on average and at most 40 ms."""
QUIET_SECONDS = 0.06
"""Silence of the stream that ends the wait for late records, in seconds: the requested buffer of 25 ms, and delivery.
Others have measured at most 40 ms between SHUTDOWN and the last record."""
MANAGED_QUIET_SECONDS = 1.05
"""The same on Managed Instances, where the requested buffer is 1,000 ms."""
LEAST_UPLOAD_SECONDS = 0.1
"""Least remaining time in which another upload is started."""
UPLOAD_SHARE = 0.5
"""Part of the remaining time that is reserved for the upload if the stream does not become quiet."""

log = get_logger()


class ShutdownFlush:
    """Acceptance and upload of the last records of the execution environment."""

    def __init__(
        self,
        *,
        intake: Intake,
        scheduler: Scheduler,
        invocations: Invocations,
        uploader: Uploader,
        changes: ChangeSignal,
        managed: bool,
        before_seal: Callable[[str], None],
    ) -> None:
        """Wire the components.

        `managed`: Managed Instances, where the platform's buffer is longer. `before_seal` is called with the reason of
        the event before each last segment is sealed, and adds the last records of logferry.
        """
        self._intake = intake
        self._scheduler = scheduler
        self._invocations = invocations
        self._uploader = uploader
        self._changes = changes
        self._before_seal = before_seal
        self._quiet_seconds = MANAGED_QUIET_SECONDS if managed else QUIET_SECONDS

    async def run(self, event: Shutdown) -> None:
        """Store everything that arrives before the deadline leaves no more time."""
        began = loop_time()
        deadline = event.deadline.earlier_by(LAST_UPLOAD_MARGIN_SECONDS)
        # An upload that hangs since before SHUTDOWN must leave time for another attempt.
        self._uploader.shorten_deadline(_share_of(deadline))
        await self._changes.wait_until(
            self._invocations.all_reported, _share_of(deadline).no_later_than(loop_time() + LAST_REPORT_SECONDS)
        )
        while True:
            await self._wait_for_quiet(began, _share_of(deadline))
            self._before_seal(event.reason)
            self._scheduler.seal_last()
            await self._uploader.drain(deadline, force=True)
            self._scheduler.collect()
            if not self._scheduler.has_records or deadline.remaining(loop_time()) < LEAST_UPLOAD_SECONDS:
                break
        self._intake.close()
        self._report(event)

    async def _wait_for_quiet(self, began: float, deadline: Deadline) -> None:
        """Wait until no batch has arrived for the buffer interval since SHUTDOWN."""
        while True:
            last = max(began, self._intake.last_accepted_at or 0.0)
            quiet_at = last + self._quiet_seconds
            if loop_time() >= min(quiet_at, deadline.at):
                return
            await self._changes.wait(deadline.no_later_than(quiet_at))

    def _report(self, event: Shutdown) -> None:
        segments = self._uploader.backlog
        if not segments and not self._intake.refused.batches and not self._scheduler.has_records:
            return
        log.warning(
            "not all records were uploaded before the deadline of the Shutdown phase; "
            "the spool is uploaded if the execution environment is reset and starts again",
            reason=event.reason,
            segments=len(segments),
            bytes=sum(segment.size for segment in segments),
            rejected_segments=self._uploader.rejected_segments,
            refused_batches=self._intake.refused.batches,
            refused_bytes=self._intake.refused.bytes,
        )


def _share_of(deadline: Deadline) -> Deadline:
    now = loop_time()
    return Deadline(now + deadline.remaining(now) * UPLOAD_SHARE)
