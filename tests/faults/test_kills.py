"""The shipper killed at chosen points: each accepted record is delivered once, and no invocation notices.

Before and after storing, between upload and removal, between append and answer, at a seal, in a recovery, and in the
last upload of all. What is killed at random, and whole extensions, are in `test_random_kills`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.fault_proxy import ANSWERED, ARRIVED, STORED, Seen
from support.lambda_stub import BareLambda
from support.platform_events import batch, function
from support.process_kill import SIGNALS, numbers, seed_of_this_run, strike_down
from support.reconciliation import Ledger, assert_balanced, finals, gaps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.s3_environment import Scene


LOOK_SECONDS = 5.0
"""The bound of a tight look for a point that passes within milliseconds."""


async def _when(true: Callable[[], object]) -> None:
    """Look as often as the loop goes round; what is looked for lasts less than any notification would take."""
    until = time.monotonic() + LOOK_SECONDS
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("the point to kill at never came")
        await asyncio.sleep(0)


async def _all_is_delivered(platform: BareLambda, scene: Scene) -> Ledger:
    """Shut down: nothing waits or is lost, and no number is missing."""
    await platform.shutdown()
    stock = assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert (stock.waiting.total(), stock.reported_lost) == (0, 0)
    assert gaps(objects) == {}
    return stock


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stage", [ARRIVED, STORED, ANSWERED])
async def test_a_shipper_killed_at_a_stage_of_its_upload_loses_nothing_and_stores_nothing_twice(
    scene: Scene, stage: str, number: int
) -> None:
    """Killed while uploading, after storing, and between the answer and the segment's removal: each fifth upload."""
    settings = scene.settings(LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        life = await platform.start()

        def strike(seen: Seen) -> None:
            if seen.stage == stage and scene.proxy.count(stage) % 5 == 2:
                strike_down(life.shipper, number)

        scene.proxy.at_stage = strike
        held = [await platform.invoke([f"{n}-{line}" for line in range(3)]) for n in range(20)]
        scene.proxy.at_stage = lambda _: None
        await _all_is_delivered(platform, scene)
    assert max(held) < 9
    assert sum("the shipper died" in line for line in life.output) >= 4


async def test_a_shipper_killed_in_its_last_upload_leaves_one_end_and_nothing_behind(scene: Scene) -> None:
    """Killed at SHUTDOWN: the next shipper ships the rest inside the 2,000 ms; a reader finds exactly one end."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time")) as platform:
        life = await platform.start()
        for n in range(3):
            await platform.invoke([f"line {n}"])
        killed: list[Seen] = []

        def strike(seen: Seen) -> None:
            if not killed and seen.stage == ARRIVED:
                killed.append(seen)
                strike_down(life.shipper, signal.SIGKILL)

        scene.proxy.at_stage = strike
        took = await platform.shutdown()
        objects = await scene.arrived()
        assert_balanced(platform, objects, scene.spool)
    assert killed
    assert took < 2
    for name, ends in finals(objects).items():
        highest = max(int(o.metadata["segment"]) for o in objects if o.metadata["environment"] == name)
        assert ends == [highest]


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_shipper_killed_between_append_and_answer_loses_nothing(scene: Scene, number: int) -> None:
    """The open segment has grown and the platform has no answer: it delivers again, and that is stored once."""
    settings = scene.settings(LOGFERRY_FLUSH="time")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        await platform.invoke(["warm"])
        for n in range(12):
            before = _size_of_open(scene.spool)
            body = batch(*(function(f"{n}-{line} {'x' * 900}") for line in range(500)))
            delivered = asyncio.create_task(platform.deliver(body))
            await _when(lambda before=before: _size_of_open(scene.spool) > before)  # type: ignore[misc]
            strike_down(life.shipper, number)
            await delivered
            # The next one loads at a low priority, and only an invocation that it is done with ends the row of deaths.
            await platform.invoke([], seconds=60)
        stock = await _all_is_delivered(platform, scene)
    print(f"{len(platform.repeated)} deliveries were repeated by the platform")
    assert stock.delivered == stock.accepted, "a delivery repeated because its answer was lost is stored once"


def _size_of_open(spool: Path) -> int:
    try:
        return sum(path.stat().st_size for path in spool.glob("*.open"))
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_shipper_killed_at_a_seal_keeps_its_numbers(scene: Scene, number: int) -> None:
    """Killed as soon as a sealed segment can be seen: between its rename, the next open file and its upload."""
    settings = scene.settings(LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        await platform.invoke(["warm"])
        for n in range(10):
            before = scene.proxy.count(ARRIVED)
            running = asyncio.create_task(platform.invoke([f"sealed {n}"]))
            await _when(lambda before=before: list(scene.spool.glob("*.sealed")) or scene.proxy.count(ARRIVED) > before)  # type: ignore[misc]
            strike_down(life.shipper, number)
            assert await running < 9
        await _all_is_delivered(platform, scene)


async def test_a_shipper_killed_in_its_recovery_is_replaced_and_loses_nothing(scene: Scene) -> None:
    """Killed again while it reads what the one before left: at most twice in a row, or it would be given up."""
    rng = numbers(seed_of_this_run())
    settings = scene.settings(LOGFERRY_FLUSH="time")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        for n in range(12):
            held: asyncio.Task[float] | None = None
            for _ in range(2):
                shipper = life.shipper
                strike_down(shipper, rng.choice(SIGNALS))
                await _when(lambda shipper=shipper: life.shipper not in (None, shipper))  # type: ignore[misc]
                # Not before: one that has its libraries is done with an event at once, and may be so before it dies.
                held = held or asyncio.create_task(platform.invoke([f"{n}-{line}" for line in range(50)]))
                await asyncio.sleep(rng.random() * 0.03)
            assert held
            assert await held < 9
        await _all_is_delivered(platform, scene)
