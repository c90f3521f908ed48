"""An environment at work while others beside it post to its listener: what must hold all the while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from support.lambda_stub import BareLambda
from support.large_batches import MIB
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import ledger, lines_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.s3_environment import Scene


ANSWER_SECONDS = 5.0
"""The platform's patience with one POST is not documented; the emulator's is this."""


MEMORY_BYTES = 160 * MIB
"""Of the shipper under attack: it holds 45 MB at rest, and may read two bodies of 8 MiB at a time."""


@contextlib.asynccontextmanager
async def platform_at_work(scene: Scene, **settings: str) -> AsyncIterator[BareLambda]:
    """An environment whose shipper has its libraries: the doorman is a case of its own."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time", **settings)) as platform:
        await platform.start()
        held = asyncio.create_task(platform.hand_out(invoke_event("warm")))
        await platform.deliver(batch(start("warm"), function("warm"), runtime_done("warm")))
        await held
        yield platform


async def ends_complete(platform: BareLambda, scene: Scene, *, shipper: int | None) -> list[str]:
    """Nothing has died of it, and all that the platform delivered is there."""
    assert platform.life.shipper == shipper, platform.life.output
    await platform.deliver(batch(function("end"), report_of("warm")))
    await platform.shutdown()
    stock = ledger(platform, objects := await scene.arrived(), scene.spool)
    assert not stock.missing, stock
    return lines_of(objects)


async def timed(platform: BareLambda, line: str) -> float:
    """How long the answer to a delivery of one line takes (seconds)."""
    began = time.monotonic()
    await platform.deliver(batch(function(line)))
    return time.monotonic() - began
