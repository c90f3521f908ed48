"""Limits of the disk: a full spool, a full /tmp. Nothing goes in silence and nothing dies of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.fault_proxy import ARRIVED
from support.lambda_stub import BareLambda
from support.large_batches import LINE, MIB, ONE_MIB_OF_LINES, mebibyte, resident
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, lines_of, records_of_type
from support.s3_faults import Fault
from support.tmpfs import fill, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.s3_environment import Scene


MOST_IN_MEMORY = 40
"""MiB: far more than may wait in the memory of a function that has 128."""


def segments_of(reports: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The segments that reports of losses name, each as often as it is named."""
    return [
        (loss["environment"], number)
        for loss in (report["record"] for report in reports)
        for number in range(loss["segment"], loss["until"] + 1)
    ]


async def test_a_full_spool_drops_the_oldest_and_the_count_is_in_the_next_object(scene: Scene) -> None:
    """Spool full with S3 down: the newest stays, `logferry.dropped` counts the rest, the platform sees no refusal."""
    await scene.proxy.set_fault(Fault.INTERNAL_ERROR)
    settings = scene.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        await platform.start()
        for number in range(8):
            await platform.invoke([f"{number}-{n} {LINE}" for n in range(ONE_MIB_OF_LINES)])
        await scene.proxy.set_fault(Fault.NONE)
        await platform.shutdown()
        stock = assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert stock.reported_lost > 0
    assert stock.waiting.total() == 0
    dropped = records_of_type(objects, "logferry.dropped")
    lost = segments_of(dropped)
    assert sorted((name, number) for name, numbers in gaps(objects).items() for number in numbers) == sorted(lost)
    assert any(line.startswith("7-") for line in lines_of(objects))
    assert platform.repeated == []


async def test_a_segment_is_not_dropped_while_it_is_being_uploaded(scene: Scene) -> None:
    """Spool full in the middle of an upload: what is in flight is not counted as lost, and nothing dies of it."""
    arrived = asyncio.Event()
    scene.proxy.at_stage = lambda seen: arrived.set() if seen.stage == ARRIVED else None
    settings = scene.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="5")
    await scene.proxy.set_fault(Fault.LATENCY)
    async with BareLambda(settings) as platform:
        life = await platform.start()
        running = asyncio.create_task(platform.invoke([f"first {LINE}"] * ONE_MIB_OF_LINES))
        await asyncio.wait_for(arrived.wait(), 15)
        shipper = life.shipper
        for number in range(6):
            await platform.deliver(mebibyte(f"flood{number}"))
        await running
        await scene.proxy.set_fault(Fault.NONE)
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        stock = assert_balanced(platform, await scene.arrived(), scene.spool)
    assert stock.reported_lost > 0


async def test_a_segment_dropped_while_others_are_uploaded_does_not_end_the_shipper(scene: Scene) -> None:
    """Spool full during a long drain: what was dropped meanwhile is passed over."""
    settings = scene.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation")
    await scene.proxy.set_fault(Fault.INTERNAL_ERROR)
    async with BareLambda(settings) as platform:
        life = await platform.start()
        for number in range(3):
            await platform.invoke([f"{number}-{n} {LINE}" for n in range(ONE_MIB_OF_LINES)])
        shipper = life.shipper
        await scene.proxy.set_fault(Fault.LATENCY)
        before = scene.proxy.count(ARRIVED)
        closing = asyncio.create_task(platform.hand_out(invoke_event("again", seconds=20)))
        while scene.proxy.count(ARRIVED) == before and not closing.done():
            await platform.deliver(batch(start("again"), runtime_done("again"), report_of("again")))
            await asyncio.sleep(0.1)
            if closing.done():  # the breaker was still open: ask again
                closing = asyncio.create_task(platform.hand_out(invoke_event("again", seconds=20)))
        for number in range(5):
            await platform.deliver(mebibyte(f"flood{number}"))
        await closing
        await scene.proxy.set_fault(Fault.NONE)
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    dropped = segments_of(records_of_type(objects, "logferry.dropped"))
    assert len(dropped) == len(set(dropped)), "each loss is counted once"


async def test_a_noisy_invocation_under_a_working_s3_loses_nothing_to_a_small_spool(scene: Scene) -> None:
    """One long invocation prints twice the spool: what fills it is shipped beside, whatever the policy waits for."""
    settings = scene.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        await platform.start()
        await platform.invoke(["warm"])  # its libraries are loaded: until then nothing can be shipped
        held = asyncio.create_task(platform.hand_out(invoke_event("long", seconds=30)))
        await platform.deliver(batch(start("long")))
        for number in range(16):
            await platform.deliver(batch(*(function(f"{number}-{n} {LINE}") for n in range(ONE_MIB_OF_LINES // 2))))
            await asyncio.sleep(0.05)  # ten megabytes per second, a tenth of what an upload takes here
        await platform.deliver(batch(runtime_done("long")))
        await held
        await platform.deliver(batch(report_of("long")))
        await platform.shutdown()
        stock = assert_balanced(platform, await scene.arrived(), scene.spool)
    assert stock.reported_lost == 0, stock


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 3 MiB."""
    with mounted(tmp_path / "disk", "size=3m") as disk:
        yield disk


async def test_a_full_disk_is_survived_and_left_behind(scene: Scene, tiny_disk: Path) -> None:
    """ENOSPC in /tmp: some waits in memory, then 503; the shipper lives, and what was accepted arrives in the end."""
    settings = scene.settings(LOGFERRY_SPOOL_DIR=str(tiny_disk / "spool"), LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        shipper = life.shipper
        ballast = fill(tiny_disk)
        await scene.proxy.set_fault(Fault.INTERNAL_ERROR)
        statuses = []
        for number in range(MOST_IN_MEMORY):
            body = mebibyte(f"in memory {number}")
            statuses.append(await platform.post(body))
            if statuses[-1] == 200:
                platform.accepted.append(body)
        assert statuses[-1] == 503, "memory is bounded"
        assert resident(shipper) < 200 * MIB
        assert await platform.invoke([]) < 2
        ballast.unlink()
        await scene.proxy.set_fault(Fault.NONE)
        await asyncio.sleep(1.5)  # longer than the breaker stays open after one failure
        await platform.deliver(mebibyte("taken again"))
        await platform.invoke(["after"])
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        stock = assert_balanced(platform, objects := await scene.arrived(), tiny_disk / "spool")
    assert (stock.reported_lost, stock.waiting.total()) == (0, 0)
    assert {"before", "after"} <= set(lines_of(objects))


async def test_a_disk_that_fills_up_between_deliveries_does_not_stop_what_can_be_shipped(
    scene: Scene, tiny_disk: Path
) -> None:
    """ENOSPC when a segment is to be sealed: it is uploaded all the same, which makes room."""
    settings = scene.settings(LOGFERRY_SPOOL_DIR=str(tiny_disk / "spool"), LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        shipper = life.shipper
        held = asyncio.create_task(platform.hand_out(invoke_event("full")))
        await platform.deliver(batch(start("full"), function("kept"), function(LINE)))
        await asyncio.sleep(0)
        ballast = fill(tiny_disk)
        await platform.post(batch(runtime_done("full")))
        await held
        ballast.unlink()
        await platform.invoke(["after"])
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        objects = await scene.arrived()
    assert [line for line in lines_of(objects) if line != LINE] == ["before", "kept", "after"]
