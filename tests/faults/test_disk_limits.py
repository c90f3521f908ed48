"""Limits of the disk: a full spool and a full /tmp. Every loss is reported, and the shipper continues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.fault_proxy import ARRIVED
from support.lambda_stub import BareLambda
from support.large_batches import LINE, MIB, ONE_MIB_OF_LINES, one_mib_batch, resident_bytes
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, lines_of, records_of_type
from support.s3_faults import Fault
from support.tmpfs import fill, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.s3_environment import S3Environment


MOST_IN_MEMORY = 40
"""MiB of batches: far more than the shipper may buffer in the memory of a function with 128 MB."""


def segments_of(reports: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return the segments that loss reports name, as often as they are named."""
    return [
        (loss["environment"], number)
        for loss in (report["record"] for report in reports)
        for number in range(loss["segment"], loss["until"] + 1)
    ]


async def test_full_spool_discards_the_oldest_and_reports_the_count(s3_env: S3Environment) -> None:
    """With S3 down and a full spool the newest segments stay, and `logferry.dropped` counts the rest."""
    await s3_env.proxy.set_fault(Fault.INTERNAL_ERROR)
    settings = s3_env.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        await platform.start()
        for number in range(8):
            await platform.invoke([f"{number}-{n} {LINE}" for n in range(ONE_MIB_OF_LINES)])
        await s3_env.proxy.set_fault(Fault.NONE)
        await platform.shutdown()
        account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert account.reported_lost > 0
    assert account.waiting.total() == 0
    dropped = records_of_type(objects, "logferry.dropped")
    lost = segments_of(dropped)
    assert sorted((name, number) for name, numbers in gaps(objects).items() for number in numbers) == sorted(lost)
    assert any(line.startswith("7-") for line in lines_of(objects))
    assert platform.repeated == []


async def test_segment_in_upload_is_not_discarded(s3_env: S3Environment) -> None:
    """If the spool becomes full during an upload, the segment in flight is not counted as lost."""
    arrived = asyncio.Event()
    s3_env.proxy.at_stage = lambda seen: arrived.set() if seen.stage == ARRIVED else None
    settings = s3_env.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="5")
    await s3_env.proxy.set_fault(Fault.LATENCY)
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        running = asyncio.create_task(platform.invoke([f"first {LINE}"] * ONE_MIB_OF_LINES))
        await asyncio.wait_for(arrived.wait(), 15)
        shipper = extension.shipper
        for number in range(6):
            await platform.deliver(one_mib_batch(f"flood{number}"))
        await running
        await s3_env.proxy.set_fault(Fault.NONE)
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        account = assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    assert account.reported_lost > 0


async def test_segment_discarded_during_an_upload_does_not_end_the_shipper(s3_env: S3Environment) -> None:
    """If the spool becomes full during many uploads, the uploader skips the discarded segments."""
    settings = s3_env.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation")
    await s3_env.proxy.set_fault(Fault.INTERNAL_ERROR)
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        for number in range(3):
            await platform.invoke([f"{number}-{n} {LINE}" for n in range(ONE_MIB_OF_LINES)])
        shipper = extension.shipper
        await s3_env.proxy.set_fault(Fault.LATENCY)
        before = s3_env.proxy.count(ARRIVED)
        closing = asyncio.create_task(platform.hand_out(invoke_event("again", seconds=20)))
        while s3_env.proxy.count(ARRIVED) == before and not closing.done():
            await platform.deliver(batch(start("again"), runtime_done("again"), report_of("again")))
            await asyncio.sleep(0.1)
            if closing.done():  # the circuit breaker was still open: request another event
                closing = asyncio.create_task(platform.hand_out(invoke_event("again", seconds=20)))
        for number in range(5):
            await platform.deliver(one_mib_batch(f"flood{number}"))
        await closing
        await s3_env.proxy.set_fault(Fault.NONE)
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    dropped = segments_of(records_of_type(objects, "logferry.dropped"))
    assert len(dropped) == len(set(dropped)), "each loss is counted once"


async def test_invocation_larger_than_the_spool_loses_nothing(s3_env: S3Environment) -> None:
    """One long invocation prints twice the spool size; full segments are uploaded while it runs, under every policy."""
    settings = s3_env.settings(LOGFERRY_SPOOL_BYTES="4MiB", LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        await platform.start()
        await platform.invoke(["warm"])  # loads the libraries, before which no upload is possible
        held = asyncio.create_task(platform.hand_out(invoke_event("long", seconds=30)))
        await platform.deliver(batch(start("long")))
        for number in range(16):
            await platform.deliver(batch(*(function(f"{number}-{n} {LINE}") for n in range(ONE_MIB_OF_LINES // 2))))
            await asyncio.sleep(0.05)  # ten megabytes per second, a tenth of what an upload takes here
        await platform.deliver(batch(runtime_done("long")))
        await held
        await platform.deliver(batch(report_of("long")))
        await platform.shutdown()
        account = assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    assert account.reported_lost == 0, account


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Provide a file system of 3 MiB."""
    with mounted(tmp_path / "disk", "size=3m") as disk:
        yield disk


async def test_full_disk_buffers_in_memory_then_refuses_and_recovers(s3_env: S3Environment, small_disk: Path) -> None:
    """After ENOSPC in /tmp batches are buffered in memory, then the response is 503; accepted records are stored."""
    settings = s3_env.settings(LOGFERRY_SPOOL_DIR=str(small_disk / "spool"), LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        shipper = extension.shipper
        filler = fill(small_disk)
        await s3_env.proxy.set_fault(Fault.INTERNAL_ERROR)
        statuses = []
        for number in range(MOST_IN_MEMORY):
            body = one_mib_batch(f"in memory {number}")
            statuses.append(await platform.post(body))
            if statuses[-1] == 200:
                platform.accepted.append(body)
        assert statuses[-1] == 503, "memory is bounded"
        assert 0 < resident_bytes(shipper) < 200 * MIB
        assert await platform.invoke([]) < 2
        filler.unlink()
        await s3_env.proxy.set_fault(Fault.NONE)
        await asyncio.sleep(1.5)  # longer than the circuit breaker stays open after one failure
        await platform.deliver(one_mib_batch("taken again"))
        await platform.invoke(["after"])
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        account = assert_balanced(platform, objects := await s3_env.arrived(), small_disk / "spool")
    assert (account.reported_lost, account.waiting.total()) == (0, 0)
    assert {"before", "after"} <= set(lines_of(objects))


async def test_disk_full_at_a_seal_does_not_prevent_the_upload(s3_env: S3Environment, small_disk: Path) -> None:
    """After ENOSPC at a seal the segment is uploaded nevertheless, which frees space."""
    settings = s3_env.settings(LOGFERRY_SPOOL_DIR=str(small_disk / "spool"), LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        shipper = extension.shipper
        held = asyncio.create_task(platform.hand_out(invoke_event("full")))
        await platform.deliver(batch(start("full"), function("kept"), function(LINE)))
        await asyncio.sleep(0)
        filler = fill(small_disk)
        await platform.post(batch(runtime_done("full")))
        await held
        filler.unlink()
        await platform.invoke(["after"])
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        objects = await s3_env.arrived()
    assert [line for line in lines_of(objects) if line != LINE] == ["before", "kept", "after"]
