"""A shipper on virtual time: the test acts as the platform and as the supervisor.

The journal (in a temporary directory), the intake, the scheduler, the uploader and the socket pair
are real. A sink from `support.sink_doubles` replaces S3. Batches bypass HTTP.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from logferry import ipc
from logferry.flush.circuit_breaker import CircuitBreaker
from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.flush.scheduler import Scheduler
from logferry.flush.uploader import Uploader
from logferry.journal.journal import Journal
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.records import decoder
from logferry.records.encoder import encode
from logferry.records.invocations import Invocations
from logferry.records.object_key import DEFAULT_KEY
from logferry.shipper.channel import Channel
from logferry.shipper.event_loop import build_lifecycle
from support.journal_harness import close, origin, ticking
from support.virtual_time import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from logferry.records.model import Header, StoredObject
    from logferry.shipper.invocation_records import InvocationRecords
    from support.sink_doubles import StoringSink

UPLOAD_TIMEOUT = 5.0
EPOCH_MS = 1_795_000_000_000.0
PATIENCE_SECONDS = 100_000.0
"""Maximum time of every wait of a test, in virtual seconds."""

INVOCATION = Policy(Flush.INVOCATION, Timing.POST_EXECUTION, Thresholds())
NEXT_INVOCATION = Policy(Flush.INVOCATION, Timing.NEXT_INVOCATION, Thresholds())
ADAPTIVE = Policy(Flush.ADAPTIVE, Timing.POST_EXECUTION, Thresholds())
NEVER = Policy(Flush.SIZE, Timing.POST_EXECUTION, Thresholds())


def as_object(header: Header, bodies: Iterable[bytes], final: bool) -> StoredObject:
    """Encode as the extension does, without compression."""
    types = frozenset({"platform", "function"})
    return encode(header, bodies, final=final, key=DEFAULT_KEY, compress=False, types=types)


def _following(invocations: Invocations) -> Callable[[Header, Iterable[bytes]], str | None]:
    """Return a function that takes in a leftover segment, as the extension does."""

    def take_in(header: Header, bodies: Iterable[bytes]) -> str | None:
        invocations.resume(header)
        for body in bodies:
            invocations.see(body)
        return invocations.running

    return take_in


class ShipperHarness:
    """One execution environment from its first event to its last."""

    def __init__(
        self,
        directory: Path,
        sink: StoringSink,
        *,
        policy: Policy,
        managed: bool,
        environment: str,
        records: Callable[[ShipperHarness], InvocationRecords | None],
    ) -> None:
        self.sink = sink
        self.supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.supervisor, channel):
            end.setblocking(False)
        clock = ticking()
        self.invocations = invocations = Invocations()
        self.journal = Journal(
            str(directory),
            origin=origin(environment, concurrent=managed),
            limit_bytes=64 * 1024 * 1024,
            clock_ms=clock,
            count_records=decoder.count_records,
            follow=_following(invocations),
            warn=print,
            started=invocations.started,
        )
        loop = asyncio.get_running_loop()
        self.intake = Intake(
            journal=self.journal,
            deduplicator=Deduplicator(),
            invocations=invocations,
            managed=managed,
            clock=loop.time,
        )
        self.scheduler = Scheduler(
            journal=self.journal, policy=policy, invocations=invocations, managed=managed, clock=loop.time
        )
        self.intake.add_callback(self.scheduler.on_batch)
        self.uploader = Uploader(
            journal=self.journal,
            sink=sink,
            encode=as_object,
            timeout_seconds=UPLOAD_TIMEOUT,
            breaker=CircuitBreaker(jitter=lambda: 0.5),
        )
        self.shipper = build_lifecycle(
            channel=Channel(channel),
            journal=self.journal,
            intake=self.intake,
            scheduler=self.scheduler,
            invocations=invocations,
            uploader=self.uploader,
            records=(instrumented := records(self)),
            epoch_ms=lambda: EPOCH_MS + now() * 1000,
        )
        if instrumented:
            instrumented.run_in(loop)
        self.channel = channel
        self.numbered = 0
        self.upload_reports = 0
        """Number of reports of a successful upload while no event was in progress."""
        self.in_flight_at_done: list[int] = []
        self.packets: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue()

    # --- the platform

    def deliver(self, *events: dict[str, Any]) -> None:
        """Deliver records as the listener passes them on."""
        at = f"2026-11-21T00:00:00.{len(self.in_flight_at_done):03d}Z"
        stamped = [{"time": at, "moment": f"{now():.6f}"} | event for event in events]
        self.intake.accept(json.dumps(stamped).encode())

    def line(self, text: str) -> None:
        """Deliver a line of the function."""
        self.deliver({"type": "function", "record": text})

    def starts(self, request: str) -> None:
        """Deliver `platform.start`."""
        self.deliver({"type": "platform.start", "record": {"requestId": request}})

    def runtime_done(self, request: str) -> None:
        """Deliver `platform.runtimeDone`."""
        self.deliver({"type": "platform.runtimeDone", "record": {"requestId": request}})

    def report(self, request: str) -> None:
        """Deliver `platform.report`."""
        self.deliver({"type": "platform.report", "record": {"requestId": request}})

    # --- the supervisor

    def send_event(self, event: dict[str, Any], *, seconds: float, again: bool = False) -> int:
        """Send an event with a deadline in the given number of seconds; return its number."""
        self.numbered += 1
        document = json.dumps(event | {"deadlineMs": round(EPOCH_MS + (now() + seconds) * 1000)}).encode()
        kind = ipc.EVENT_RETRY if again else ipc.EVENT
        self.supervisor.send(kind + b"%d\n" % self.numbered + document)
        return self.numbered

    def invoke(self, request: str, *, seconds: float = 60.0, again: bool = False) -> int:
        """Send an INVOKE; return its number."""
        return self.send_event({"eventType": "INVOKE", "requestId": request}, seconds=seconds, again=again)

    def shut_down(self, *, seconds: float = 2.0, reason: str = "spindown") -> int:
        """Send a SHUTDOWN; return its number."""
        return self.send_event({"eventType": "SHUTDOWN", "shutdownReason": reason}, seconds=seconds)

    async def listen(self) -> None:
        """Record each packet of the shipper, its time, and the number of uploads in flight at DONE."""
        while packet := await asyncio.get_running_loop().sock_recv(self.supervisor, ipc.PACKET_BYTES):
            if packet[:1] == ipc.DONE:
                self.in_flight_at_done.append(self.sink.in_flight)
            if packet == ipc.UPLOAD_SUCCEEDED:  # concerns only the supervisor
                self.upload_reports += 1
            else:
                self.packets.put_nowait((packet, round(now(), 3)))

    async def next_packet(self) -> tuple[bytes, float]:
        """Wait for the next packet of the shipper; return it and its time."""
        return await asyncio.wait_for(self.packets.get(), PATIENCE_SECONDS)

    async def done(self, number: int) -> float:
        """Wait for DONE of that event; return the time."""
        packet, timing = await self.next_packet()
        assert packet == ipc.DONE + b"%d" % number, packet
        return timing

    async def run_invocation(self, request: str, *, runs: float = 0.1, seconds: float = 60.0) -> float:
        """Run one invocation of the given duration; return the time from the end of the runtime to DONE."""
        number = self.invoke(request, seconds=seconds)
        self.starts(request)
        self.line(f"of {request}")
        await asyncio.sleep(runs)
        self.runtime_done(request)
        ended = now()
        return round(max(await self.done(number) - ended, 0.0), 3)


@asynccontextmanager
async def running_shipper(
    directory: Path,
    sink: StoringSink,
    *,
    policy: Policy = INVOCATION,
    managed: bool = False,
    environment: str = "e1",
    records: Callable[[ShipperHarness], InvocationRecords | None] = lambda _: None,
) -> AsyncIterator[ShipperHarness]:
    """Run a shipper; it is cancelled at the end unless it has ended. `records` returns its maker of summaries."""
    it = ShipperHarness(directory, sink, policy=policy, managed=managed, environment=environment, records=records)
    working = asyncio.create_task(it.shipper.run())
    listening = asyncio.create_task(it.listen())
    try:
        yield it
    finally:
        listening.cancel()
        await asyncio.wait((listening,))
        it.supervisor.close()
        await asyncio.wait((working,), timeout=1.0)
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
        it.channel.close()
        close(it.journal)
    if not working.cancelled():
        working.result()
