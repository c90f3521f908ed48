"""The conductor of the asyncio process: events in, "done" out.

Promises:
- an invocation in which no flush is due is "done" at once;
- one in which a flush is due ends when what waits has been uploaded, and never later than its deadline minus a margin,
  whatever the stream or the sink do;
- nothing is in flight when "done" is said;
- inside a long invocation age and size make a flush due too, and it runs beside the function;
- at SHUTDOWN it listens until the last report is in (or a small budget is spent), ships everything, and ends.

An event is taken from the channel while another is being worked on only to be remembered: Lambda gives the next one
after our "done".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from logferry import wire
from logferry.deadline import Deadline
from logferry.errors import JournalFull
from logferry.policy import Due, Moment, Pace, Policy, Waiting

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from logferry.invocations import Invocations
    from logferry.journal.journal import Journal
    from logferry.uploader import Uploader

RUNTIME_DONE_MARGIN_SECONDS = 0.5
"""Left of an invocation's deadline for the upload when its `platform.runtimeDone` never comes."""
UPLOAD_MARGIN_SECONDS = 0.2
"""Left of an invocation's deadline when an upload is given up."""
SHUTDOWN_MARGIN_SECONDS = 0.25
"""Left of the 2,000 ms when the last upload is given up: "done", the exit, and a slow machine."""
LAST_REPORT_SECONDS = 0.3
"""At SHUTDOWN: others have measured 5 ms on average and 40 at most for the last `platform.report`."""
OPEN_UPLOAD_SECONDS = 60.0
"""The bound of an upload that runs while no event is held; the upload timeout is what really ends it."""

log = structlog.get_logger()


class Shipper:
    """One shipper process, from its first event to SHUTDOWN or the end of its supervisor."""

    def __init__(
        self,
        *,
        channel: socket.socket,
        journal: Journal,
        policy: Policy,
        uploader: Uploader,
        invocations: Invocations,
        managed: bool,
        epoch_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        """`managed`: Managed Instances, where nothing is frozen and no event announces an invocation.

        `epoch_ms` is only for testing: the clock that the platform's dates are compared with.
        """
        self._channel = channel
        self._journal = journal
        self._policy = policy
        self._uploader = uploader
        self._managed = managed
        self._epoch_ms = epoch_ms
        self._invocations = invocations
        self._pace = Pace()
        self._last_invoke: float | None = None
        self._since_seal = 0
        self._reports_counted = 0
        self._oldest: float | None = _now() if journal.waiting_bytes else None
        self._held = False
        self._closed = False
        self._told = asyncio.Event()
        self._ended = asyncio.Event()

    # --- records in

    def accept(self, body: bytes) -> None:
        """Store a delivery; it is accepted when this returns. Raises JournalFull."""
        if self._closed:
            raise JournalFull("the environment is being shut down")
        self._journal.append(body)
        self.observe(body)

    def observe(self, body: bytes) -> None:
        """Take notice of a delivery that is in the journal."""
        if self._oldest is None:
            self._oldest = _now()
        self._invocations.see(body)
        self._journal.running = None if self._managed else self._invocations.running
        self._told.set()

    # --- events in

    async def run(self, early: Sequence[bytes] = ()) -> None:
        """Work until SHUTDOWN is done or the supervisor is gone; `early` packets came while libraries were loaded."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch())
            working: asyncio.Task[None] | None = None
            packets = deque(early)
            while packet := packets.popleft() if packets else await self._receive():
                if packet == wire.PING:
                    self._send(wire.PONG)
                elif packet[:1] in (wire.EVENT, wire.AGAIN):
                    working = tasks.create_task(self._work(packet, after=working))
                if self._ended.is_set():
                    break
            for task in (watch, working):
                if task:
                    task.cancel()

    async def _receive(self) -> bytes:
        """The next packet; empty when the supervisor is gone or our work is over."""
        receive = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(self._channel, wire.PACKET_BYTES))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((receive, ended), return_when=asyncio.FIRST_COMPLETED)
            return receive.result() if receive.done() else b""
        except OSError:
            return b""
        finally:
            receive.cancel()
            ended.cancel()

    def _send(self, packet: bytes) -> None:
        try:
            self._channel.send(packet)
        except OSError as error:
            log.debug("the supervisor does not hear", error=repr(error))

    async def _work(self, packet: bytes, *, after: asyncio.Task[None] | None) -> None:
        if after:
            await asyncio.wait((after,))
        number, _, document = packet[1:].partition(b"\n")
        event: dict[str, Any] = json.loads(document)
        deadline = Deadline.from_epoch_ms(event.get("deadlineMs"), now_ms=self._epoch_ms(), now=_now())
        if event.get("eventType") == "SHUTDOWN":
            await self._on_shutdown(str(event.get("shutdownReason", "")), deadline.less(SHUTDOWN_MARGIN_SECONDS))
            self._send(wire.DONE + number)
            self._ended.set()
        else:
            await self._on_invoke(str(event.get("requestId", "")), deadline, again=packet[:1] == wire.AGAIN)
            self._send(wire.DONE + number)

    # --- an invocation

    async def _on_invoke(self, request_id: str, deadline: Deadline, *, again: bool) -> None:
        now = _now()
        self._pace = self._pace.after_gap(None if self._last_invoke is None else now - self._last_invoke)
        self._last_invoke = now
        self._invocations.began(request_id)
        due = self._policy.on_invoke(self._waiting(), self._pace)
        self._since_seal += 1
        self._held = True
        try:
            await self._serve(request_id, due, deadline, again=again)
        finally:
            self._held = False
        self._told.set()

    async def _serve(self, request_id: str, due: Due | None, deadline: Deadline, *, again: bool) -> None:
        """What an invocation is held for; with nothing due and nothing in flight there is no wait in here.

        An event that is handed on `again`, because the shipper before this one died with it, may have had its
        `platform.runtimeDone` long ago, in a segment that is uploaded and gone: it is waited for only where the
        journal says that the invocation is running.
        """
        upload_until = deadline.less(UPLOAD_MARGIN_SECONDS)
        if due and due.moment is Moment.AFTER:
            if not again or self._invocations.running == request_id:
                await self._runtime_done(request_id, deadline.less(RUNTIME_DONE_MARGIN_SECONDS))
            self._seal(due.why, running=0)
        elif due:
            self._seal(due.why, running=1)
        if due or self._uploader.owes():
            await self._uploader.drain(upload_until)
        await self._uploader.settle(upload_until)

    async def _runtime_done(self, request_id: str, deadline: Deadline) -> None:
        await self._until(lambda: self._invocations.ended(request_id), deadline)
        if not self._invocations.ended(request_id):
            log.warning("platform.runtimeDone did not come before the deadline", request_id=request_id)

    def _seal(self, why: str, *, running: int) -> None:
        """Seal what waits; `running` invocations have begun and are not over, and belong to the next segment too."""
        if sealed := self._journal.seal():
            log.debug("sealed", segment=repr(sealed), why=why)
        self._since_seal = running
        self._oldest = None

    # --- inside long invocations, and where nothing is frozen

    async def _watch(self) -> None:
        """Seal and upload by age and size (on Managed Instances also by number) while the environment is running."""
        while True:
            if self._managed:
                self._since_seal += self._invocations.reports - self._reports_counted
                self._reports_counted = self._invocations.reports
            awake = self._awake()
            due = self._policy.while_running(self._waiting()) if awake else None
            if self._managed and not due:
                due = self._policy.on_end(self._waiting())
            if due:
                self._seal(due.why, running=0 if self._managed else 1)
            if due or (self._managed and self._uploader.owes()):
                await self._uploader.drain(Deadline(_now() + OPEN_UPLOAD_SECONDS))
            else:
                await self._news(Deadline(_now() + self._patience(awake=awake)))

    def _awake(self) -> bool:
        """Whether the environment is known to be running: an event is held, or the runtime is not done yet.

        An upload that is begun while only the runtime is busy may be frozen in its middle, when the function returns
        just then. That is harmless: it is repeated under the same key with the same bytes after the thaw.
        """
        return self._managed or self._held is not None or self._invocations.running is not None

    def _patience(self, *, awake: bool) -> float:
        """Seconds until age makes a flush due; where the sink owes us a trial, not longer than a second."""
        if not awake:
            return OPEN_UPLOAD_SECONDS
        until_old = self._policy.seconds_until_old(self._waiting())
        longest = 1.0 if self._managed and self._journal.sealed else OPEN_UPLOAD_SECONDS
        return longest if until_old is None else min(longest, until_old)

    # --- the end

    async def _on_shutdown(self, reason: str, deadline: Deadline) -> None:
        budget = deadline.sooner(_now() + LAST_REPORT_SECONDS)
        await self._until(self._invocations.all_reported, budget)
        # What comes from here on could not be shipped, and must not be answered 200.
        self._closed = True
        self._journal.seal(last=True)
        await self._uploader.drain(deadline, insist=True)
        if left := self._journal.sealed:
            log.warning(
                "not everything could be shipped before the end; a next life of this environment will do it",
                reason=reason,
                segments=len(left),
                bytes=sum(segment.size for segment in left),
            )

    # --- waiting

    def _waiting(self) -> Waiting:
        age = 0.0 if self._oldest is None else _now() - self._oldest
        return Waiting(size=self._journal.waiting_bytes, age=age, invocations=self._since_seal)

    async def _until(self, true: Callable[[], bool], deadline: Deadline) -> None:
        """Wait for something the stream tells, at most until the deadline."""
        while not true() and deadline.remaining(_now()):
            await self._news(deadline)

    async def _news(self, deadline: Deadline) -> None:
        """Wait for the next delivery or event, at most until the deadline."""
        self._told.clear()
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._told.wait()
        except TimeoutError:
            return


def _now() -> float:
    return asyncio.get_running_loop().time()
