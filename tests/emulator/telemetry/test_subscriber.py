"""Delivery to one subscriber: buffering, retries, freezes, and the balance of records."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from logferry.emulator.lambda_service import TelemetryBehaviour, Timeline
from logferry.emulator.telemetry.batch import encode
from logferry.emulator.telemetry.platform_events import Event
from logferry.emulator.telemetry.subscriber import Subscriber
from logferry.emulator.telemetry.subscription import TELEMETRY_API, Subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ARRIVAL_SECONDS = 5.0
"""Time limit for the arrival of a body, in seconds."""

BUFFER_MS = 30_000
"""Buffering time in milliseconds, far beyond the duration of a test."""


class Listener:
    """The listener of a subscriber: received bodies and configured responses."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.in_progress = 0
        self.max_in_progress = 0
        self._arrived = asyncio.Condition()

    async def receive(self, request: web.Request) -> web.Response:
        """Keep a body; respond when allowed, with the next status or 200."""
        self.in_progress += 1
        self.max_in_progress = max(self.max_in_progress, self.in_progress)
        body = await request.read()
        async with self._arrived:
            self.bodies.append(body)
            self._arrived.notify_all()
        await self.may_respond.wait()
        self.in_progress -= 1
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def wait_for(self, count: int) -> None:
        """Wait until `count` bodies have arrived."""
        async with asyncio.timeout(ARRIVAL_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.bodies) >= count)

    def lines(self) -> list[Any]:
        """Return the values of the records, in order."""
        return [record["record"] for body in self.bodies for record in json.loads(body)]


@asynccontextmanager
async def subscribed(
    *, max_items: int = 1000, max_bytes: int = 262_144, timeout_ms: int = 25, **behaviour: Any
) -> AsyncIterator[tuple[Subscriber, Listener, Timeline]]:
    """Give a subscriber and its listener."""
    listener = Listener()
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/{path:.*}", listener.receive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    subscription = Subscription(
        "ext", TELEMETRY_API, "2025-01-29", ("function", "platform"), max_items, max_bytes, timeout_ms,
        port=runner.addresses[0][1], path="/",
    )  # fmt: skip
    behaviour.setdefault("retry_first_seconds", 0.02)
    timeline = Timeline()
    async with aiohttp.ClientSession() as session:
        subscriber = Subscriber(
            subscription,
            session=session,
            behaviour=TelemetryBehaviour(**behaviour),
            log_format="Text",
            timeline=timeline,
            now=lambda: 0.0,
        )
        yield subscriber, listener, timeline
        listener.may_respond.set()
        await subscriber.close()
    await runner.cleanup()


def line(text: str) -> Event:
    """Return a line of the function."""
    return Event(0.0, "function", text)


async def accepted(timeline: Timeline, subscriber: Subscriber, count: int) -> None:
    """Wait until `count` records have been accepted."""
    await timeline.wait_for(lambda e: e.kind == "delivery" and len(subscriber.delivered) >= count)


async def test_a_batch_is_sent_timeout_ms_after_its_first_record() -> None:
    """A later record does not extend the time."""
    async with subscribed(timeout_ms=100) as (subscriber, listener, timeline):
        subscriber.enqueue(line("a"))
        await asyncio.sleep(0.03)
        subscriber.enqueue(line("b"))
        assert not listener.bodies
        await accepted(timeline, subscriber, 2)
    assert listener.lines() == ["a", "b"]
    assert 95 < timeline.of("delivery")[0].at_ms < 400


async def test_a_batch_is_sent_when_it_has_max_items() -> None:
    """A full batch does not wait for `timeoutMs`."""
    async with subscribed(max_items=3, timeout_ms=BUFFER_MS) as (subscriber, listener, timeline):
        for number in range(7):
            subscriber.enqueue(line(str(number)))
        await accepted(timeline, subscriber, 6)
    assert [len(json.loads(body)) for body in listener.bodies] == [3, 3]


async def test_a_batch_is_sent_when_it_exceeds_max_bytes() -> None:
    """The batch includes the record that exceeds the limit."""
    async with subscribed(max_bytes=1000, timeout_ms=BUFFER_MS) as (subscriber, listener, timeline):
        for number in range(3):
            subscriber.enqueue(line(str(number) * 600))
        await accepted(timeline, subscriber, 2)
    assert [len(json.loads(body)) for body in listener.bodies] == [2]
    assert len(listener.bodies[0]) > 1000


async def test_one_request_is_in_progress_at_a_time() -> None:
    """Records collect during a request and are sent together."""
    async with subscribed() as (subscriber, listener, timeline):
        listener.may_respond.clear()
        subscriber.enqueue(line("first"))
        await listener.wait_for(1)
        for number in range(5):
            subscriber.enqueue(line(str(number)))
            await asyncio.sleep(0.03)
        listener.may_respond.set()
        await accepted(timeline, subscriber, 6)
    assert listener.max_in_progress == 1
    assert len(listener.bodies) == 2


async def test_a_failed_batch_is_retried_before_the_next_one() -> None:
    """The pause doubles, and the order is kept."""
    async with subscribed(max_items=1, retry_first_seconds=0.05) as (subscriber, listener, timeline):
        listener.statuses = [500, 403]
        subscriber.enqueue(line("a"))
        subscriber.enqueue(line("b"))
        await accepted(timeline, subscriber, 2)
    assert listener.lines() == ["a", "a", "a", "b"]
    assert [e.detail["status"] for e in timeline.of("delivery")] == [500, 403, 200, 200]
    first, second, third, _ = (e.at_ms for e in timeline.of("delivery"))
    assert second - first >= 49
    assert third - second >= 99


async def test_a_request_without_a_response_is_retried() -> None:
    """A response timeout counts as a failure."""
    async with subscribed(post_timeout_seconds=0.1) as (subscriber, listener, timeline):
        listener.may_respond.clear()
        subscriber.enqueue(line("a"))
        await timeline.wait_for(lambda e: e.kind == "delivery")
        listener.may_respond.set()
        await accepted(timeline, subscriber, 1)
    assert timeline.of("delivery")[0].detail["status"] == "no response in 0.1 s"


async def test_a_refused_connection_is_a_failed_delivery() -> None:
    """A refused connection delivers no record."""
    async with subscribed() as (subscriber, _, timeline):
        subscriber._poster.url = "http://127.0.0.1:1/"
        subscriber.enqueue(line("a"))
        entry = await timeline.wait_for(lambda e: e.kind == "delivery")
    assert "ClientConnectorError" in entry.detail["status"]
    assert not subscriber.delivered


async def test_a_full_buffer_drops_records_and_reports_them() -> None:
    """Sent records equal delivered plus dropped ones, and `platform.logsDropped` states the loss."""
    async with subscribed(buffer_limit_bytes=2000) as (subscriber, listener, timeline):
        listener.may_respond.clear()
        subscriber.enqueue(line("first"))
        await listener.wait_for(1)
        for _ in range(5):
            subscriber.enqueue(line("x" * 800))
        listener.may_respond.set()
        await accepted(timeline, subscriber, 4)
    (report,) = [r for r in subscriber.delivered if r["type"] == "platform.logsDropped"]
    size = sum(len(encode(record)) for record in subscriber.dropped)
    assert len(subscriber.dropped) == 3
    assert report["record"]["droppedRecords"] == 3
    assert report["record"]["droppedBytes"] == size
    assert "slower" in report["record"]["reason"]
    assert len(subscriber.sent) == len(subscriber.delivered) + len(subscriber.dropped)


async def test_drop_on_busy_drops_a_batch_that_is_due_during_a_request() -> None:
    """AWS's Managed Instances emulator does this."""
    async with subscribed(drop_on_busy=True) as (subscriber, listener, timeline):
        listener.may_respond.clear()
        subscriber.enqueue(line("first"))
        await listener.wait_for(1)
        subscriber.enqueue(line("dropped"))
        await timeline.wait_for(lambda e: e.kind == "drop")
        listener.may_respond.set()
        await accepted(timeline, subscriber, 2)
    assert [r["record"] for r in subscriber.dropped if r["type"] == "function"] == ["dropped"]
    assert subscriber.delivered[-1]["type"] == "platform.logsDropped"


async def test_drop_on_busy_drops_a_failed_batch_and_reports_it() -> None:
    """A failed batch is not retried."""
    async with subscribed(drop_on_busy=True) as (subscriber, listener, timeline):
        listener.statuses = [500]
        subscriber.enqueue(line("dropped"))
        await accepted(timeline, subscriber, 1)
    assert [r["record"] for r in subscriber.dropped] == ["dropped"]
    assert "could not send events: 500" in subscriber.delivered[0]["record"]["reason"]


async def test_a_frozen_subscriber_receives_a_due_batch_after_the_thaw() -> None:
    """No request starts during a freeze."""
    async with subscribed() as (subscriber, listener, timeline):
        subscriber.freeze()
        subscriber.enqueue(line("a"))
        await asyncio.sleep(0.1)
        assert not listener.bodies
        subscriber.thaw()
        await accepted(timeline, subscriber, 1)


async def test_records_of_a_freeze_are_sent_in_one_batch() -> None:
    """The report of one invocation and the start of the next arrive in one batch."""
    async with subscribed() as (subscriber, listener, timeline):
        subscriber.freeze()
        subscriber.enqueue(line("a"))
        await asyncio.sleep(0.05)
        subscriber.enqueue(line("b"))
        subscriber.thaw()
        await accepted(timeline, subscriber, 2)
    assert len(listener.bodies) == 1


async def test_a_retry_waits_for_the_thaw() -> None:
    """A freeze during the pause delays the next attempt."""
    async with subscribed() as (subscriber, listener, timeline):
        listener.statuses = [500]
        subscriber.enqueue(line("a"))
        await timeline.wait_for(lambda e: e.kind == "delivery")
        subscriber.freeze()
        await asyncio.sleep(0.1)
        assert len(listener.bodies) == 1
        subscriber.thaw()
        await accepted(timeline, subscriber, 1)


async def test_the_response_timeout_pauses_during_a_freeze() -> None:
    """A stopped process cannot respond, so frozen time does not count."""
    async with subscribed(post_timeout_seconds=0.1) as (subscriber, listener, timeline):
        listener.may_respond.clear()
        subscriber.enqueue(line("a"))
        await listener.wait_for(1)
        subscriber.freeze()
        await asyncio.sleep(0.2)
        subscriber.thaw()
        listener.may_respond.set()
        await accepted(timeline, subscriber, 1)
    assert len(listener.bodies) == 1


async def test_deliver_immediately_sends_each_record_without_buffering() -> None:
    """At the end of an environment pending and further records are due at once."""
    async with subscribed(timeout_ms=BUFFER_MS) as (subscriber, listener, timeline):
        subscriber.enqueue(line("before"))
        subscriber.deliver_immediately()
        await accepted(timeline, subscriber, 1)
        subscriber.enqueue(line("after"))
        await accepted(timeline, subscriber, 2)
    assert listener.lines() == ["before", "after"]
    assert [e.detail["records"] for e in timeline.of("delivery")] == [1, 1], "neither record waits for another"
    assert timeline.of("delivery")[-1].at_ms < BUFFER_MS / 10, "neither record waits for timeoutMs"


async def test_an_oversized_record_is_split_into_two_bodies_that_are_not_json() -> None:
    """The second body repeats the envelope, continues the bytes, and includes the records that follow."""
    async with subscribed(max_bytes=1000, timeout_ms=50, split_oversized=True) as (subscriber, listener, timeline):
        subscriber.enqueue(line("before"))
        subscriber.enqueue(line("x" * 1500))
        subscriber.enqueue(line("after"))
        await accepted(timeline, subscriber, 3)
    head, tail = listener.bodies
    for body in (head, tail):
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            json.loads(body)
    envelope = b'{"time":"1970-01-01T00:00:00.000Z","type":"function","record":'
    assert head.endswith(b"xxx}]")
    assert tail.startswith(b"[" + envelope + b"xxx")
    joined = head.removesuffix(b"}]") + tail.removeprefix(b"[" + envelope)
    assert [record["record"] for record in json.loads(joined)] == ["before", "x" * 1500, "after"]
    assert [record["record"] for record in subscriber.delivered] == ["before", "x" * 1500, "after"]
