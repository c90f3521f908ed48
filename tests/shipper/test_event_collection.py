"""The moments at which the pipe of events is read, on virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from logferry import ipc
from logferry.shipper.channel import Channel
from logferry.shipper.event_collection import INTERVAL_SECONDS, EventCollection
from support.event_harness import EventHarness, event_harness
from support.virtual_time import run as on_virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = "5f0d7c1e-9a63-4f0b-8a77-0c9b1f4e2d10"
SECOND = "6f0d7c1e-9a63-4f0b-8a77-0c9b1f4e2d11"


class Collected:
    """A collection with a real pipe, a real journal and a real channel."""

    def __init__(self, events: EventHarness, *, managed: bool) -> None:
        self.events = events
        self.collection = EventCollection(intake=events.intake, invocations=events.invocations, managed=managed)
        events.invocations.observers.append(self.collection.on_event)
        events.platform.add_stream_callback(self.collection.on_batch)
        self.supervisor, self._sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def run(self) -> None:
        """Use the running event loop."""
        self.channel = Channel(self._sock, on_packet=self.collection.on_packet)
        self.collection.run_in(asyncio.get_running_loop(), self.channel)

    def invoke(self, request: str, **fields: Any) -> None:
        """Send an INVOKE through the channel, and let the shipper receive it."""
        document = json.dumps({"eventType": "INVOKE", "requestId": request, **fields}).encode()
        self.supervisor.send(ipc.EVENT + b"1\n" + document)

    def close(self) -> None:
        """Close the channel."""
        self.supervisor.close()
        self._sock.close()

    @property
    def names(self) -> list[tuple[Any, str | None]]:
        """The observed events with their requests."""
        return [(record.get("event") or record.get("method"), request) for _, record, request in self.events.seen]


@contextmanager
def collected(directory: Path, *, managed: bool = False) -> Iterator[Collected]:
    """Provide a collection and close it."""
    with event_harness(directory, managed=managed) as events:
        it = Collected(events, managed=managed)
        try:
            yield it
        finally:
            it.close()


@pytest.mark.parametrize("waiting", [False, True], ids=["empty pipe", "events in the pipe"])
def test_events_around_an_invoke_belong_to_their_invocation(tmp_path: Path, *, waiting: bool) -> None:
    """If the pipe is empty at an INVOKE, the packet is parsed with the next event; the result is the same."""

    async def scenario() -> None:
        with collected(tmp_path) as it:
            it.run()
            it.invoke(FIRST)
            it.channel.receive_waiting()
            if waiting:
                it.events.write({"event": "before"})
            it.invoke(SECOND, tracing={"type": "X-Amzn-Trace-Id", "value": "Root=1-r;Sampled=1"})
            it.channel.receive_waiting()
            it.events.write({"event": "after"}, {"event": "traced", "trace": "1-r"})
            it.collection.step()
            it.events.intake.collect()
            expected = [("after", SECOND), ("traced", SECOND)]
            assert it.names == ([("before", FIRST), *expected] if waiting else expected)

    on_virtual_time(scenario())


def test_event_is_preceded_by_the_packets_that_have_arrived(tmp_path: Path) -> None:
    """The event loop may serve the listener before the channel."""

    async def scenario() -> None:
        with collected(tmp_path) as it:
            it.run()
            it.invoke(FIRST)
            status = it.collection.endpoint.accept(json.dumps({"event": "posted", "requestId": FIRST}).encode())
            assert status == (200, "")
            assert it.names == [("posted", FIRST)]
            packet = await anext(it.channel.packets())
            assert json.loads(packet.partition(b"\n")[2])["requestId"] == FIRST

    on_virtual_time(scenario())


def test_pipe_is_read_after_a_batch_and_not_before_its_response(tmp_path: Path) -> None:
    """The batch is accepted first; the read follows in the next step of the event loop.

    The first event of an environment waits for another moment, so that a function without events costs no look.
    """

    async def scenario() -> None:
        with collected(tmp_path) as it:
            it.run()
            it.invoke(FIRST)
            it.channel.receive_waiting()
            it.events.write({"event": "e0", "requestId": FIRST})
            it.events.deliver("function", "a line")
            await asyncio.sleep(INTERVAL_SECONDS * 0.9)
            assert it.names == []
            await asyncio.sleep(INTERVAL_SECONDS * 0.2)
            assert it.names == [("e0", FIRST)]
            it.events.write({"event": "e1", "requestId": FIRST})
            it.events.deliver("function", "another line")
            assert len(it.names) == 1
            await asyncio.sleep(0)
            assert it.names == [("e0", FIRST), ("e1", FIRST)]

    on_virtual_time(scenario())


def test_event_after_shutdown_belongs_to_the_last_invocation(tmp_path: Path) -> None:
    """A runtime may write until it is killed. No event had waited at the INVOKE and at SHUTDOWN."""

    async def scenario() -> None:
        with collected(tmp_path) as it:
            it.run()
            for request in (FIRST, SECOND):
                it.invoke(request)
                it.channel.receive_waiting()
            it.supervisor.send(ipc.EVENT + b"2\n" + b'{"eventType":"SHUTDOWN","shutdownReason":"timeout"}')
            it.channel.receive_waiting()
            it.events.write({"event": "last"})
            it.collection.finish()
            assert it.names == [("last", SECOND)]

    on_virtual_time(scenario())


def test_traces_of_invocations_without_events_are_kept(tmp_path: Path) -> None:
    """Their INVOKE events are parsed with the first event, which belongs to the latest invocation."""

    async def scenario() -> None:
        with collected(tmp_path) as it:
            it.run()
            for request, root in ((FIRST, "1-a"), (SECOND, "1-b")):
                it.invoke(request, tracing={"type": "X-Amzn-Trace-Id", "value": f"Root={root};Sampled=1"})
                it.channel.receive_waiting()
            it.events.write({"event": "plain"}, {"event": "first", "trace": "1-a"}, {"event": "second", "trace": "1-b"})
            it.collection.finish()
            assert it.names == [("plain", SECOND), ("first", FIRST), ("second", SECOND)]

    on_virtual_time(scenario())


@pytest.mark.parametrize("managed", [False, True], ids=["on demand", "managed"])
def test_pipe_is_read_once_a_second_during_an_invocation(tmp_path: Path, *, managed: bool) -> None:
    """The timer runs only while an invocation runs, because nothing else can write then."""

    async def scenario() -> None:
        with collected(tmp_path, managed=managed) as it:
            it.run()
            if not managed:
                it.invoke(FIRST)
                it.channel.receive_waiting()
            it.events.deliver("platform.start", {"requestId": FIRST})
            for number in range(3):
                it.events.write({"event": f"e{number}", "requestId": FIRST})
                await asyncio.sleep(INTERVAL_SECONDS * 1.1)
                assert len(it.names) == number + 1
            it.events.deliver("platform.report", {"requestId": FIRST})
            await asyncio.sleep(INTERVAL_SECONDS * 3)
            it.events.write({"event": "late", "requestId": FIRST})
            await asyncio.sleep(INTERVAL_SECONDS * 3)
            assert len(it.names) == 3
            it.collection.finish()
            assert len(it.names) == 4

    on_virtual_time(scenario())


def test_trace_of_a_start_names_the_request_on_managed_instances(tmp_path: Path) -> None:
    """There is no INVOKE event there."""

    async def scenario() -> None:
        with collected(tmp_path, managed=True) as it:
            it.run()
            tracing = {"type": "X-Amzn-Trace-Id", "value": "Root=1-abc;Parent=1;Sampled=1"}
            it.events.deliver("platform.start", {"requestId": FIRST, "tracing": tracing})
            it.events.deliver("platform.start", {"requestId": SECOND, "tracing": "none"})
            it.events.post({"event": "e", "trace": "1-abc"})
            assert it.names == [("e", FIRST)]

    on_virtual_time(scenario())


@pytest.mark.parametrize("record", ["", ',"record":null', ',"record":"x"', ',"record":{"tracing":7}'])
def test_a_start_without_a_usable_record_is_no_error_on_managed_instances(tmp_path: Path, record: str) -> None:
    """An error would end the shipper, and any process may post such an event."""
    with collected(tmp_path, managed=True) as it:
        it.events.platform.accept(f'[{{"type":"platform.start"{record}}}]'.encode())
        assert not it.names
