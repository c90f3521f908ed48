"""Deliveries at their limits: large, cut in two, repeated. Each record arrives whole and once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.lambda_stub import BareLambda
from support.large_batches import LINE, ONE_MIB_OF_LINES
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, lines_of, records_of_type

if TYPE_CHECKING:
    from support.s3_environment import Scene


async def test_bodies_of_four_mebibytes_are_taken(scene: Scene) -> None:
    """Twice maxBytes and more: accepted, and every line arrives."""
    async with BareLambda(scene.settings()) as platform:
        await platform.start()
        for number in range(2):
            body = batch(*(function(f"{number}-{n} {LINE}") for n in range(4 * ONE_MIB_OF_LINES)))
            assert len(body) > 4_000_000
            await platform.deliver(body)
        await platform.shutdown()
        assert_balanced(platform, await scene.arrived(), scene.spool)


@pytest.mark.parametrize("letters", ["ascii", "two bytes each"])
async def test_a_record_cut_across_two_posts_is_one_record_again(scene: Scene, letters: str) -> None:
    """A record above maxBytes comes in two POSTs, its envelope repeated; it arrives whole, and so does what follows.

    The cut is one of bytes: it may fall into the middle of a character.
    """
    settings = scene.settings(LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        await platform.start()
        long = "".join(f"{n:07d} " for n in range(200_000)) if letters == "ascii" else "é" * 700_000
        encoded = batch(function(long))[1:-1]
        value = encoded.index(b'"record":') + len(b'"record":')
        cut = value + 1 + 1_000_001
        held = asyncio.create_task(platform.hand_out(invoke_event("cut", seconds=4)))
        await platform.deliver(batch(start("cut"), function("first")))
        assert await platform.post(b"[" + encoded[:cut] + b"}]") == 200
        rest = b"[" + encoded[:value] + encoded[cut:] + b"," + batch(runtime_done("cut"))[1:]
        assert await platform.post(rest) == 200
        took = await held
        await platform.deliver(batch(report_of("cut")))
        await platform.shutdown()
        objects = await scene.arrived()
    assert took < 3, "the end of the invocation, delivered behind the cut record, was not seen"
    assert lines_of(objects) == ["first", long]
    assert len(records_of_type(objects, "platform.runtimeDone")) == 1


async def test_a_delivery_repeated_by_the_platform_arrives_once(scene: Scene) -> None:
    """The answer was lost and the very same bytes come again: they are answered 200 and stored once."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        body = batch(function("again"), function("and again"))
        await platform.deliver(body)
        assert await platform.post(body) == 200
        await platform.invoke(["other"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert sorted(lines_of(objects)) == ["again", "and again", "other"]
