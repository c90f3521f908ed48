"""A shipper at work on virtual time: the test is the platform and the supervisor, the neighbours are real or named.

Real are the journal (in a temporary directory), the accumulator, the uploader and the socket pair to the supervisor; a
sink from `sink.fakes` stands for S3. Deliveries go straight into the accumulator: HTTP has tests of its own.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from journal.scene import follow, origin, ticking
from logferry import telemetry, wire
from logferry.accumulator import Accumulator
from logferry.breaker import Breaker
from logferry.encode import DEFAULT_KEY, StoredObject, encode
from logferry.invocations import Invocations
from logferry.journal.journal import Journal
from logferry.policy import Flush, Moment, Policy, Thresholds
from logferry.repeats import Repeats
from logferry.shipper import Shipper
from logferry.uploader import Uploader
from virtual_time import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from logferry.journal.segment import Header
    from support.sink_doubles import Takes

UPLOAD_TIMEOUT = 5.0
EPOCH_MS = 1_795_000_000_000.0
PATIENCE_SECONDS = 100_000.0
"""Virtual: the bound of every wait of a test."""

INVOCATION = Policy(Flush.INVOCATION, Moment.AFTER, Thresholds())
EACH_BESIDE = Policy(Flush.INVOCATION, Moment.BESIDE, Thresholds())
ADAPTIVE = Policy(Flush.ADAPTIVE, Moment.AFTER, Thresholds())
NEVER = Policy(Flush.SIZE, Moment.AFTER, Thresholds())


def as_object(header: Header, bodies: Iterable[bytes], final: bool) -> StoredObject:
    """Encode as the extension does, not compressed."""
    types = frozenset({"platform", "function"})
    return encode(header, bodies, final=final, key=DEFAULT_KEY, compress=False, types=types)


class Life:
    """One environment from its first event to its last."""

    def __init__(self, directory: Path, sink: Takes, *, policy: Policy, managed: bool, environment: str) -> None:
        self.sink = sink
        self.supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.supervisor, channel):
            end.setblocking(False)
        clock = ticking()
        self.journal = Journal(
            directory,
            origin=origin(environment, concurrent=managed),
            limit_bytes=64 * 1024 * 1024,
            clock_ms=clock,
            count_records=telemetry.count_records,
            follow=follow,
            complain=print,
        )
        loop = asyncio.get_running_loop()
        self.accumulator = Accumulator(
            journal=self.journal,
            policy=policy,
            invocations=Invocations(),
            repeats=Repeats(),
            managed=managed,
            clock=loop.time,
        )
        self.uploader = Uploader(
            journal=self.journal,
            sink=sink,
            encode=as_object,
            timeout_seconds=UPLOAD_TIMEOUT,
            breaker=Breaker(jitter=lambda: 0.5),
        )
        self.shipper = Shipper(
            channel=channel,
            accumulator=self.accumulator,
            uploader=self.uploader,
            managed=managed,
            epoch_ms=lambda: EPOCH_MS + now() * 1000,
        )
        self.channel = channel
        self.numbered = 0
        self.wells = 0
        """How often it was said that an upload has worked while no event was in hand."""
        self.in_flight_at_done: list[int] = []
        self.said: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue()

    # --- the platform

    def deliver(self, *events: dict[str, Any]) -> None:
        """Deliver records, as the listener would hand them on."""
        at = f"2026-11-21T00:00:00.{len(self.in_flight_at_done):03d}Z"
        stamped = [{"time": at, "moment": f"{now():.6f}"} | event for event in events]
        self.accumulator.accept(json.dumps(stamped).encode())

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

    def hand_on(self, event: dict[str, Any], *, seconds: float, again: bool = False) -> int:
        """Hand an event on, with a deadline in so many seconds; give its number."""
        self.numbered += 1
        document = json.dumps(event | {"deadlineMs": round(EPOCH_MS + (now() + seconds) * 1000)}).encode()
        kind = wire.AGAIN if again else wire.EVENT
        self.supervisor.send(kind + b"%d\n" % self.numbered + document)
        return self.numbered

    def invoke(self, request: str, *, seconds: float = 60.0, again: bool = False) -> int:
        """Hand on an INVOKE; give its number."""
        return self.hand_on({"eventType": "INVOKE", "requestId": request}, seconds=seconds, again=again)

    def shut_down(self, *, seconds: float = 2.0) -> int:
        """Hand on a SHUTDOWN; give its number."""
        return self.hand_on({"eventType": "SHUTDOWN", "shutdownReason": "spindown"}, seconds=seconds)

    async def listen(self) -> None:
        """Take down each packet of the shipper, its moment, and how many uploads were under way in it."""
        while packet := await asyncio.get_running_loop().sock_recv(self.supervisor, wire.PACKET_BYTES):
            if packet[:1] == wire.DONE:
                self.in_flight_at_done.append(self.sink.in_flight)
            if packet == wire.WELL:  # news for the supervisor alone
                self.wells += 1
            else:
                self.said.put_nowait((packet, round(now(), 3)))

    async def heard(self) -> tuple[bytes, float]:
        """Wait for the next packet of the shipper; give it and its moment."""
        return await asyncio.wait_for(self.said.get(), PATIENCE_SECONDS)

    async def done(self, number: int) -> float:
        """Wait for "done" of that event; give the moment."""
        packet, moment = await self.heard()
        assert packet == wire.DONE + b"%d" % number, packet
        return moment

    async def whole_invocation(self, request: str, *, runs: float = 0.1, seconds: float = 60.0) -> float:
        """One invocation that runs so long and says so; give how long "done" came after the runtime was done."""
        number = self.invoke(request, seconds=seconds)
        self.starts(request)
        self.line(f"of {request}")
        await asyncio.sleep(runs)
        self.runtime_done(request)
        ended = now()
        return round(max(await self.done(number) - ended, 0.0), 3)


@asynccontextmanager
async def life(
    directory: Path,
    sink: Takes,
    *,
    policy: Policy = INVOCATION,
    managed: bool = False,
    environment: str = "e1",
) -> AsyncIterator[Life]:
    """Let a shipper work; it is cancelled at the end unless it has ended by itself."""
    it = Life(directory, sink, policy=policy, managed=managed, environment=environment)
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
        it.journal.close()
    if not working.cancelled():
        working.result()
