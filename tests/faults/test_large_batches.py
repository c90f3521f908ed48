"""Batches at their limits: large, split into two, delivered again. Each record is stored completely and once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.lambda_stub import BareLambda
from support.large_batches import LINE, ONE_MIB_OF_LINES
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, lines_of, records_of_type

if TYPE_CHECKING:
    from support.s3_environment import S3Environment


async def test_batch_of_four_mebibytes_is_accepted(s3_env: S3Environment) -> None:
    """A batch of more than twice maxBytes is accepted, and every line is stored."""
    async with BareLambda(s3_env.settings()) as platform:
        await platform.start()
        for number in range(2):
            body = batch(*(function(f"{number}-{n} {LINE}") for n in range(4 * ONE_MIB_OF_LINES)))
            assert len(body) > 4_000_000
            await platform.deliver(body)
        await platform.shutdown()
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)


@pytest.mark.parametrize("letters", ["ascii", "two bytes each"])
async def test_record_split_across_two_requests_is_joined(s3_env: S3Environment, letters: str) -> None:
    """A record above maxBytes arrives in two requests with a repeated envelope and is stored completely.

    The split is at a byte and may be inside a character.
    """
    settings = s3_env.settings(LOGFERRY_FLUSH="invocation")
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
        objects = await s3_env.arrived()
    assert took < 3, "runtimeDone behind the split record was not recognized"
    assert lines_of(objects) == ["first", long]
    assert len(records_of_type(objects, "platform.runtimeDone")) == 1


async def test_batch_delivered_again_is_stored_once(s3_env: S3Environment) -> None:
    """The response was lost and the same bytes arrive again: the response is 200, and they are stored once."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        body = batch(function("again"), function("and again"))
        await platform.deliver(body)
        assert await platform.post(body) == 200
        await platform.invoke(["other"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert sorted(lines_of(objects)) == ["again", "and again", "other"]
