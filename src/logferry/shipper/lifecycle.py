"""The conductor of the asyncio process: events in, "done" out.

Promises:
- an invocation in which no flush is due is "done" at once;
- one in which a flush is due ends when what waits has been uploaded, and never later than its deadline minus a margin,
  whatever the stream or the sink do;
- nothing is in flight when "done" is said;
- inside a long invocation age and size make a flush due too, and it runs beside the function;
- at SHUTDOWN it listens until the last report is in (or a small budget is spent), ships everything, and ends.

An event that comes while another is being worked on is worked on afterwards: Lambda gives the next one after our
"done", so that happens only when the supervisor has given one up.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from logferry import ipc
from logferry.deadline import Deadline
from logferry.flush.policy import Due, Timing
from logferry.log import get_logger
from logferry.shipper import events

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence

    from logferry.flush.scheduler import InvokeDecision, Scheduler
    from logferry.flush.uploader import Uploader
    from logferry.listener.intake import Intake
    from logferry.records.invocations import Invocations
    from logferry.shipper.events import Invoke, Shutdown

RUNTIME_DONE_MARGIN_SECONDS = 0.5
"""Left of an invocation's deadline for the upload when its `platform.runtimeDone` never comes."""
UPLOAD_MARGIN_SECONDS = 0.2
"""Left of an invocation's deadline when an upload is given up."""
CUT_SECONDS = 0.05
"""Before that an upload is cut which time or size had begun: it is to be over when "done" is said."""
REST_SECONDS = 0.1
"""For the rest of the invocation before, beside the next one: the platform's buffer of 25 ms, and a slow machine."""
SHUTDOWN_MARGIN_SECONDS = 0.25
"""Left of the 2,000 ms when the last upload is given up: "done", the exit, and a slow machine."""
LAST_REPORT_SECONDS = 0.3
"""At SHUTDOWN: others have measured 5 ms on average and 40 at most for the last `platform.report`."""
LATE_SECONDS = 0.02
"""A timer this late was probably frozen."""
THAW_SECONDS = 0.25
"""How long the event that ended a freeze may take to reach us."""
OPEN_UPLOAD_SECONDS = 60.0
"""The bound of an upload that runs while no event is held; the upload timeout is what really ends it."""
TRIAL_SECONDS = 1.0
"""On Managed Instances, how often it is looked whether a failed upload may be tried again."""

log = get_logger()


class Shipper:
    """One shipper process, from its first event to SHUTDOWN or the end of its supervisor."""

    def __init__(
        self,
        *,
        channel: socket.socket,
        intake: Intake,
        scheduler: Scheduler,
        invocations: Invocations,
        uploader: Uploader,
        managed: bool,
        epoch_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        """`managed`: Managed Instances, where nothing is frozen and no event announces an invocation.

        `epoch_ms` is only for testing: the clock that the platform's dates are compared with.
        """
        self._channel = channel
        self._intake = intake
        self._scheduler = scheduler
        self._invocations = invocations
        self._uploader = uploader
        self._managed = managed
        self._epoch_ms = epoch_ms
        self._held = False
        self._told = asyncio.Event()
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        intake.add_callback(self._told.set)

    async def run(self, early: Sequence[tuple[Invoke, InvokeDecision] | Shutdown] = ()) -> None:
        """Work until SHUTDOWN is done or the supervisor is gone; `early` events came while libraries were loaded."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch())
            working: asyncio.Task[None] | None = None
            for waiting in early:
                working = tasks.create_task(self._work(waiting, after=working))
            async for packet in self._packets():
                if packet == ipc.PING:
                    self._send(ipc.PONG)
                elif events.is_event(packet):
                    working = tasks.create_task(self._work(self._judged(packet), after=working))
            for task in (watch, working):
                if task:
                    task.cancel()

    # --- the channel

    async def _packets(self) -> AsyncIterator[bytes]:
        """The packets that come, until the supervisor is gone or our work is over."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._receive)
        try:
            while packet := await self._received.get():
                yield packet
        finally:
            loop.remove_reader(self._channel)

    def _receive(self) -> None:
        try:
            self._received.put_nowait(self._channel.recv(ipc.PACKET_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._received.put_nowait(b"")

    def _send(self, packet: bytes) -> None:
        try:
            self._channel.send(packet)
        except OSError as error:
            log.debug("the supervisor does not hear", error=repr(error))

    def _judged(self, packet: bytes) -> tuple[Invoke, InvokeDecision] | Shutdown:
        event = events.parse(packet, now_ms=self._epoch_ms(), now=_now())
        return event if isinstance(event, events.Shutdown) else (event, self._scheduler.on_invoke(event.request_id))

    async def _work(self, what: tuple[Invoke, InvokeDecision] | Shutdown, *, after: asyncio.Task[None] | None) -> None:
        if after and not after.done():
            await asyncio.wait((after,))
        if isinstance(what, events.Shutdown):
            await self._on_shutdown(what)
            self._send(events.done(what))
            self._received.put_nowait(b"")
        else:
            event, begun = what
            await self._on_invoke(event, begun)
            self._send(events.done(event))

    # --- an invocation

    async def _on_invoke(self, event: Invoke, begun: InvokeDecision) -> None:
        """What an invocation is held for; with nothing due and nothing in flight there is no wait in here."""
        self._held = True
        self._told.set()
        try:
            # While the sink is known not to work nothing is waited for: what is due stays where it is, and stays due.
            if begun.due and self._uploader.attempt_allowed():
                await self._wait_and_seal(event, begun, begun.due)
            # However much waits from an outage, one invocation is held for one upload timeout at most.
            until = event.deadline.less(UPLOAD_MARGIN_SECONDS).sooner(_now() + self._uploader.timeout_seconds)
            if self._uploader.has_ready_segment():
                self._uploader.shorten_deadline(until.less(CUT_SECONDS))
                await self._uploader.drain(until)
            self._uploader.cancel_connect()
        finally:
            self._held = False

    async def _wait_and_seal(self, event: Invoke, begun: InvokeDecision, due: Due) -> None:
        if due.timing is Timing.POST_EXECUTION:
            self._uploader.connect()
            await self._runtime_done(event)
            self._seal(due.why, running=0)
        else:
            await self._rest_of(begun.previous_request_id)
            self._seal(due.why, running=1)

    async def _runtime_done(self, event: Invoke) -> None:
        """Wait until this request's runtime is done, at most until the deadline leaves just enough for the upload.

        An event that is handed on again, because the shipper before this one died with it, may have had its
        `platform.runtimeDone` long ago, in a segment that is uploaded and gone: it is waited for only where the
        journal says that the invocation is running.
        """
        if event.again and self._invocations.running != event.request_id:
            return
        await self._until(
            lambda: self._invocations.ended(event.request_id), event.deadline.less(RUNTIME_DONE_MARGIN_SECONDS)
        )
        if not self._invocations.ended(event.request_id):
            log.warning("platform.runtimeDone did not come before the deadline", request_id=event.request_id)

    async def _rest_of(self, previous: str | None) -> None:
        """Wait for the end of the invocation before: its last records were still on the way when we were frozen."""
        if previous:
            await self._until(lambda: self._invocations.ended(previous), Deadline(_now() + REST_SECONDS))

    def _seal(self, why: str, *, running: int) -> None:
        if sealed := self._scheduler.seal(running=running):
            log.debug("sealed", segment=repr(sealed), why=why)

    # --- inside long invocations, and where nothing is frozen

    async def _watch(self) -> None:
        """Seal and upload by age and size (on Managed Instances also by number) while the environment is running."""
        while True:
            awake = self._awake()
            due = self._scheduler.due_now() if awake else None
            if due:
                self._seal(due.why, running=0 if self._managed else 1)
            if due or (awake and self._uploader.has_ready_segment()):
                if await self._uploader.drain(Deadline(_now() + OPEN_UPLOAD_SECONDS)) and not self._held:
                    self._send(ipc.UPLOAD_SUCCEEDED)  # what is held says it by its "done"
                continue
            until = Deadline(_now() + self._patience(awake=awake))
            await self._news(until)
            if _now() > until.at + LATE_SECONDS:
                # We were frozen: the event that ended that says first what is due.
                await self._news(Deadline(_now() + THAW_SECONDS))

    def _awake(self) -> bool:
        """Whether the environment is known to be running: an event is held, or the runtime is not done yet.

        An upload that is begun while only the runtime is busy may be frozen in its middle, when the function returns
        just then. That is harmless: it is repeated under the same key with the same bytes after the thaw.
        """
        return self._managed or self._held or self._invocations.running is not None

    def _patience(self, *, awake: bool) -> float:
        """Seconds until something has to be looked at again without being told."""
        longest = TRIAL_SECONDS if self._managed and self._uploader.backlog else OPEN_UPLOAD_SECONDS
        until_old = self._scheduler.seconds_until_old() if awake else None
        return longest if until_old is None else min(longest, until_old)

    # --- the end

    async def _on_shutdown(self, event: Shutdown) -> None:
        deadline = event.deadline.less(SHUTDOWN_MARGIN_SECONDS)
        # An upload that hangs since before must leave time for one of our own.
        self._uploader.shorten_deadline(Deadline(_now() + deadline.remaining(_now()) / 2))
        await self._until(self._invocations.all_reported, deadline.sooner(_now() + LAST_REPORT_SECONDS))
        self._intake.close()
        self._scheduler.seal_last()
        await self._uploader.drain(deadline, force=True)
        if left := self._uploader.backlog:
            log.warning(
                "not everything could be shipped before the end; a next life of this environment will do it",
                reason=event.reason,
                segments=len(left),
                bytes=sum(segment.size for segment in left),
            )

    # --- waiting

    async def _until(self, true: Callable[[], bool], deadline: Deadline) -> None:
        """Wait for something the stream tells, at most until the deadline."""
        while not true() and deadline.remaining(_now()):
            await self._news(deadline)

    async def _news(self, deadline: Deadline) -> None:
        """Wait for the next delivery or event, at most until the deadline.

        A deadline that comes wakes whoever waits; he looks again anyway. There are ten of these in an invocation.
        """
        self._told.clear()
        timer = asyncio.get_running_loop().call_at(deadline.at, self._told.set)
        try:
            await self._told.wait()
        finally:
            timer.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
