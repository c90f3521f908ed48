"""Flushes by age and size inside long invocations, and all flushes on Managed Instances, where nothing freezes.

Guarantees:
- A flush starts only while the execution environment is known to run.
- After a thaw, the event that ended the freeze is handled first, because it may make another flush due.

Design: an upload that starts while only the runtime is busy may be frozen when the function returns. This does no harm,
because it is repeated after the thaw under the same key with the same bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from logferry import ipc
from logferry.deadline import Deadline
from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from logferry.flush.scheduler import Scheduler
    from logferry.flush.uploader import Uploader
    from logferry.records.invocations import Invocations
    from logferry.shipper.change_signal import ChangeSignal
    from logferry.shipper.channel import Channel

FREEZE_DETECTION_SECONDS = 0.02
"""Delay of a timer that indicates a freeze."""
THAW_SECONDS = 0.25
"""Longest time between a thaw and the arrival of the event that caused it."""
OPEN_UPLOAD_SECONDS = 60.0
"""Limit of an upload while no event is held; the upload timeout ends it earlier."""
ROUNDING_SECONDS = 0.001
"""Difference of two times that is no change: sums of floating-point numbers differ in their last digits."""
RETRY_CHECK_SECONDS = 1.0
"""Interval on Managed Instances in which a failed upload is checked for a new attempt."""


class BackgroundFlush:
    """A task that seals and uploads while the execution environment runs."""

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        invocations: Invocations,
        uploader: Uploader,
        changes: ChangeSignal,
        channel: Channel,
        managed: bool,
    ) -> None:
        """Wire the components. `managed`: Managed Instances, where flushes also depend on the number of reports."""
        self.event_held = False
        """Whether the lifecycle holds an INVOKE, during which the environment cannot freeze."""
        self._scheduler = scheduler
        self._invocations = invocations
        self._uploader = uploader
        self._changes = changes
        self._channel = channel
        self._managed = managed

    async def run(self) -> None:
        """Flush until the task is cancelled."""
        while True:
            running = self._is_running()
            due = self._scheduler.due_now() if running else None
            if due:
                self._scheduler.seal(running=0 if self._managed else 1)
            if due or (running and self._uploader.has_ready_segment()):
                uploaded = await self._uploader.drain(Deadline(loop_time() + OPEN_UPLOAD_SECONDS))
                if uploaded and not self.event_held:
                    self._channel.send(ipc.UPLOAD_SUCCEEDED)  # while an event is held, DONE has this meaning
                continue
            until = Deadline(loop_time() + self._seconds_until_check(running=running))
            await self._changes.wait_until(partial(self._must_check_before, until), until)
            if loop_time() > until.at + FREEZE_DETECTION_SECONDS:
                await self._changes.wait(Deadline(loop_time() + THAW_SECONDS))

    def _must_check_before(self, until: Deadline) -> bool:
        """Return whether a change has made a flush due now, or at an earlier time than `until`."""
        running = self._is_running()
        if running and (self._scheduler.due_now() or self._uploader.has_ready_segment()):
            return True
        return loop_time() + self._seconds_until_check(running=running) < until.at - ROUNDING_SECONDS

    def _is_running(self) -> bool:
        """Return whether the execution environment is known to run, and its INVOKE has been handled.

        After a thaw, `platform.start` may arrive before the INVOKE that ended the freeze.
        """
        running, latest = self._invocations.running, self._scheduler.latest_request_id
        return self._managed or self.event_held or (running is not None and (not latest or running == latest))

    def _seconds_until_check(self, *, running: bool) -> float:
        """Return the seconds until a check is necessary without any change."""
        longest = RETRY_CHECK_SECONDS if self._managed and self._uploader.backlog else OPEN_UPLOAD_SECONDS
        until_old = self._scheduler.seconds_until_old() if running else None
        return longest if until_old is None else min(longest, until_old)
