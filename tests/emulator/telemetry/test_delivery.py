"""Delivery to one subscriber: an account of records that always balances."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from logferry.emulator.lambda_service import TelemetryBehaviour, Timeline
from logferry.emulator.telemetry.batch import Batch, Piece, cut, encode
from logferry.emulator.telemetry.platform_events import Event
from logferry.emulator.telemetry.subscriber import Subscriber
from logferry.emulator.telemetry.subscription import TELEMETRY_API, Subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_SECONDS = 5.0


class Listener:
    """A subscriber's listener: what it got, and how it answers."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.at_once = 0
        self.most_at_once = 0
        self._arrived = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        """Keep a body; answer when allowed, with the next of the statuses or 200."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = await request.read()
        async with self._arrived:
            self.bodies.append(body)
            self._arrived.notify_all()
        await self.may_answer.wait()
        self.at_once -= 1
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def wait_for(self, count: int) -> None:
        """Wait, bounded, until so many bodies have arrived."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.bodies) >= count)

    def lines(self) -> list[Any]:
        """The records' values, in order."""
        return [record["record"] for body in self.bodies for record in json.loads(body)]


@asynccontextmanager
async def subscribed(
    *, max_items: int = 1000, max_bytes: int = 262_144, timeout_ms: int = 25, **behaviour: Any
) -> AsyncIterator[tuple[Subscriber, Listener, Timeline]]:
    """A subscriber and the listener it delivers to."""
    listener = Listener()
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/{path:.*}", listener.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    wish = Subscription(
        "ext", TELEMETRY_API, "2025-01-29", ("function", "platform"), max_items, max_bytes, timeout_ms,
        port=runner.addresses[0][1], path="/",
    )  # fmt: skip
    behaviour.setdefault("retry_first_seconds", 0.02)
    timeline = Timeline()
    async with aiohttp.ClientSession() as session:
        subscriber = Subscriber(
            wish,
            session=session,
            behaviour=TelemetryBehaviour(**behaviour),
            log_format="Text",
            timeline=timeline,
            now=lambda: 0.0,
        )
        yield subscriber, listener, timeline
        listener.may_answer.set()
        await subscriber.close()
    await runner.cleanup()


def line(text: str) -> Event:
    """A function's line."""
    return Event(0.0, "function", text)


async def accepted(timeline: Timeline, subscriber: Subscriber, count: int) -> None:
    """Wait, bounded, until so many records have been accepted."""
    await timeline.wait_for(lambda e: e.kind == "delivery" and len(subscriber.delivered) >= count)


async def test_a_batch_goes_when_its_first_record_has_waited_long_enough() -> None:
    """That is `timeoutMs` after the first, not after the last."""
    async with subscribed(timeout_ms=100) as (subscriber, listener, timeline):
        subscriber.offer(line("a"))
        await asyncio.sleep(0.03)
        subscriber.offer(line("b"))
        assert not listener.bodies
        await accepted(timeline, subscriber, 2)
    assert listener.lines() == ["a", "b"]
    assert 95 < timeline.of("delivery")[0].at_ms < 400


async def test_a_batch_goes_when_it_holds_max_items() -> None:
    """Without waiting for the timeout."""
    async with subscribed(max_items=3, timeout_ms=30_000) as (subscriber, listener, timeline):
        for number in range(7):
            subscriber.offer(line(str(number)))
        await accepted(timeline, subscriber, 6)
    assert [len(json.loads(body)) for body in listener.bodies] == [3, 3]


async def test_a_batch_goes_when_it_reaches_or_passes_max_bytes() -> None:
    """The record that overflows it is in it."""
    async with subscribed(max_bytes=1000, timeout_ms=30_000) as (subscriber, listener, timeline):
        for number in range(3):
            subscriber.offer(line(str(number) * 600))
        await accepted(timeline, subscriber, 2)
    assert [len(json.loads(body)) for body in listener.bodies] == [2]
    assert len(listener.bodies[0]) > 1000


async def test_one_post_is_under_way_at_a_time() -> None:
    """Records gather meanwhile, and go together."""
    async with subscribed() as (subscriber, listener, timeline):
        listener.may_answer.clear()
        subscriber.offer(line("first"))
        await listener.wait_for(1)
        for number in range(5):
            subscriber.offer(line(str(number)))
            await asyncio.sleep(0.03)
        listener.may_answer.set()
        await accepted(timeline, subscriber, 6)
    assert listener.most_at_once == 1
    assert len(listener.bodies) == 2


async def test_what_fails_is_sent_again_before_anything_else() -> None:
    """In order, after a pause that doubles, until it is accepted."""
    async with subscribed(max_items=1, retry_first_seconds=0.05) as (subscriber, listener, timeline):
        listener.statuses = [500, 403]
        subscriber.offer(line("a"))
        subscriber.offer(line("b"))
        await accepted(timeline, subscriber, 2)
    assert listener.lines() == ["a", "a", "a", "b"]
    assert [e.detail["status"] for e in timeline.of("delivery")] == [500, 403, 200, 200]
    first, second, third, _ = (e.at_ms for e in timeline.of("delivery"))
    assert second - first >= 49
    assert third - second >= 99


async def test_an_answer_that_does_not_come_is_a_failure() -> None:
    """And the batch is sent again."""
    async with subscribed(post_timeout_seconds=0.1) as (subscriber, listener, timeline):
        listener.may_answer.clear()
        subscriber.offer(line("a"))
        await timeline.wait_for(lambda e: e.kind == "delivery")
        listener.may_answer.set()
        await accepted(timeline, subscriber, 1)
    assert timeline.of("delivery")[0].detail["status"] == "no answer in 0.1 s"


async def test_nobody_listening_is_a_failure() -> None:
    """Refused connections are retried too."""
    async with subscribed() as (subscriber, _, timeline):
        subscriber._poster._url = "http://127.0.0.1:1/"
        subscriber.offer(line("a"))
        entry = await timeline.wait_for(lambda e: e.kind == "delivery")
    assert "ClientConnectorError" in entry.detail["status"]
    assert not subscriber.delivered


async def test_a_full_buffer_drops_and_says_so() -> None:
    """Nothing leaves the account: sent = delivered + dropped, and the loss is announced."""
    async with subscribed(buffer_limit_bytes=2000) as (subscriber, listener, timeline):
        listener.may_answer.clear()
        subscriber.offer(line("first"))
        await listener.wait_for(1)
        for _ in range(5):
            subscriber.offer(line("x" * 800))
        listener.may_answer.set()
        await accepted(timeline, subscriber, 4)
    (announcement,) = [r for r in subscriber.delivered if r["type"] == "platform.logsDropped"]
    size = sum(len(encode(record)) for record in subscriber.dropped)
    assert len(subscriber.dropped) == 3
    assert announcement["record"]["droppedRecords"] == 3
    assert announcement["record"]["droppedBytes"] == size
    assert "slower" in announcement["record"]["reason"]
    assert len(subscriber.sent) == len(subscriber.delivered) + len(subscriber.dropped)


async def test_drop_on_busy_drops_what_is_due_while_a_post_is_unanswered() -> None:
    """As AWS's Managed Instances emulator does."""
    async with subscribed(drop_on_busy=True) as (subscriber, listener, timeline):
        listener.may_answer.clear()
        subscriber.offer(line("first"))
        await listener.wait_for(1)
        subscriber.offer(line("lost"))
        await timeline.wait_for(lambda e: e.kind == "drop")
        listener.may_answer.set()
        await accepted(timeline, subscriber, 2)
    assert [r["record"] for r in subscriber.dropped if r["type"] == "function"] == ["lost"]
    assert subscriber.delivered[-1]["type"] == "platform.logsDropped"


async def test_drop_on_busy_does_not_retry() -> None:
    """A failed batch is lost and announced."""
    async with subscribed(drop_on_busy=True) as (subscriber, listener, timeline):
        listener.statuses = [500]
        subscriber.offer(line("lost"))
        await accepted(timeline, subscriber, 1)
    assert [r["record"] for r in subscriber.dropped] == ["lost"]
    assert "could not send events: 500" in subscriber.delivered[0]["record"]["reason"]


async def test_a_frozen_subscriber_is_left_alone() -> None:
    """What comes due waits, and goes at the thaw."""
    async with subscribed() as (subscriber, listener, timeline):
        subscriber.freeze()
        subscriber.offer(line("a"))
        await asyncio.sleep(0.1)
        assert not listener.bodies
        subscriber.thaw()
        await accepted(timeline, subscriber, 1)


async def test_what_gathers_while_frozen_goes_together() -> None:
    """The report of one invocation and the start of the next come in one POST, as they do on the platform."""
    async with subscribed() as (subscriber, listener, timeline):
        subscriber.freeze()
        subscriber.offer(line("a"))
        await asyncio.sleep(0.05)
        subscriber.offer(line("b"))
        subscriber.thaw()
        await accepted(timeline, subscriber, 2)
    assert len(listener.bodies) == 1


async def test_nothing_is_retried_while_frozen() -> None:
    """A freeze in the pause before the next attempt holds that attempt."""
    async with subscribed() as (subscriber, listener, timeline):
        listener.statuses = [500]
        subscriber.offer(line("a"))
        await timeline.wait_for(lambda e: e.kind == "delivery")
        subscriber.freeze()
        await asyncio.sleep(0.1)
        assert len(listener.bodies) == 1
        subscriber.thaw()
        await accepted(timeline, subscriber, 1)


async def test_the_time_of_a_frozen_post_stands_still() -> None:
    """A stopped process cannot answer; that is not held against it."""
    async with subscribed(post_timeout_seconds=0.1) as (subscriber, listener, timeline):
        listener.may_answer.clear()
        subscriber.offer(line("a"))
        await listener.wait_for(1)
        subscriber.freeze()
        await asyncio.sleep(0.2)
        subscriber.thaw()
        listener.may_answer.set()
        await accepted(timeline, subscriber, 1)
    assert len(listener.bodies) == 1


async def test_an_ending_environment_waits_for_nothing() -> None:
    """Everything is due at once."""
    async with subscribed(timeout_ms=30_000) as (subscriber, _, timeline):
        subscriber.offer(line("before"))
        subscriber.shorten_deadline()
        await accepted(timeline, subscriber, 1)
        subscriber.offer(line("after"))
        await accepted(timeline, subscriber, 2)


async def test_an_oversized_record_is_cut_in_two_bodies_that_are_no_json() -> None:
    """The second repeats the envelope and resumes the bytes; what follows the record follows it there."""
    async with subscribed(max_bytes=1000, timeout_ms=50, split_oversized=True) as (subscriber, listener, timeline):
        subscriber.offer(line("before"))
        subscriber.offer(line("x" * 1500))
        subscriber.offer(line("after"))
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


def test_a_record_may_be_cut_more_than_once_and_in_the_middle_of_a_character() -> None:
    """The bytes are what counts; joined again they are the record."""
    record = {"time": "t", "type": "function", "record": "é" * 1000}
    pieces = cut(encode(record), record, room=301, max_bytes=600)
    envelope = b'{"time":"t","type":"function","record":'
    assert len(pieces) > 3
    assert [piece.completes for piece in pieces] == [None] * (len(pieces) - 1) + [record]
    value = b"".join(piece.encoded.removeprefix(envelope)[:-1] for piece in pieces)
    assert json.loads(envelope + value + b"}") == record
    assert cut(encode(record), record, room=1, max_bytes=3000) == [Piece(encode(record), record)]


def test_a_batch_takes_nothing_after_a_cut() -> None:
    """Or the cut record could not be resumed."""
    batch = Batch(1000, 262_144)
    batch.add(Piece(b"{", None))
    assert batch.full


def test_what_utf8_cannot_say_is_escaped() -> None:
    """A lone surrogate in a JSON line must not lose the batch."""
    record = {"record": {"message": "\ud800"}}
    assert json.loads(encode(record)) == record
