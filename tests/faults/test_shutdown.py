"""SHUTDOWN: fast, complete, and within 2,000 ms under every fault of S3."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from support.end_to_end import arrived_in_s3, assert_exactly_once, environment, records_of
from support.fault_proxy import ARRIVED
from support.lambda_stub import BareLambda
from support.platform_events import batch, event, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, finals, gaps, lines_of, records_of_type
from support.s3_faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from support.s3_environment import S3Environment

RUNS = 7
LIMIT_SECONDS = 0.3
REPORT_AFTER_SECONDS = 0.005
"""Time from SHUTDOWN to the last `platform.report`, in seconds; published values: 5 ms on average, 40 ms at most."""


async def test_shutdown_with_fast_s3_takes_less_than_the_limit_and_stores_the_last_report(
    s3_env: S3Environment,
) -> None:
    """With S3 at 20 ms, SHUTDOWN to exit takes less than 300 ms (median), including the last `platform.report`."""
    took = []
    await s3_env.proxy.set_fault(Fault.NEARBY)
    async with BareLambda(s3_env.settings()) as platform:
        for number in range(RUNS):
            await platform.start()
            await platform.invoke([f"line {number}"])  # the default policy stores the first invocation at its end
            held = asyncio.create_task(platform.hand_out(invoke_event(f"last{number}")))
            await platform.deliver(batch(start(f"last{number}"), runtime_done(f"last{number}")))
            await held
            ending = asyncio.create_task(platform.shutdown())
            await asyncio.sleep(REPORT_AFTER_SECONDS)
            await platform.deliver(batch(report_of(f"last{number}")))
            took.append(await ending)
            assert platform.extension.process.returncode == 0
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    print([round(seconds, 3) for seconds in took])
    assert statistics.median(took) < LIMIT_SECONDS
    reports = {r["record"]["requestId"] for r in records_of_type(objects, "platform.report")}
    assert {f"last{n}" for n in range(RUNS)} <= reports
    assert gaps(objects) == {}
    assert all(len(numbers) == 1 for numbers in finals(objects).values())


@pytest.mark.parametrize(
    ("reason", "last"), [("spindown", {}), ("timeout", {"sleep_ms": 20_000}), ("failure", {"exit": 3})]
)
async def test_shutdown_stores_everything_for_every_reason(
    s3_env: S3Environment, tmp_path: Path, reason: str, last: dict[str, Any]
) -> None:
    """After spindown, a function timeout and a crash, all accepted records are in S3, and the process exits with 0."""
    settings = s3_env.settings(LOGFERRY_FLUSH="time")
    await s3_env.proxy.set_fault(Fault.NEARBY)
    async with environment(tmp_path, settings, timeout_seconds=2) as service:
        await service.invoke({"marker": "before"})
        await service.invoke({"marker": "last", **last})
        await service.wait_idle()
        await service.shutdown()
        objects = await arrived_in_s3(s3_env.s3, s3_env.bucket)
    ends = [e for e in service.timeline.of("shutdown") if e.detail["phase"] == "end"]
    assert [e.detail["reason"] for e in ends] == [reason]
    assert ends[0].detail["killed"] == []
    assert [e.detail["exit_code"] for e in service.timeline.of("exit", "logferry")] == [0]
    reports = [r["record"]["status"] for r in records_of(objects) if r["type"] == "platform.report"]
    assert reports == ["success", {"spindown": "success", "timeout": "timeout", "failure": "error"}[reason]]
    assert_exactly_once(service, objects)


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LATENCY, Fault.RESET_AFTER_STORING, Fault.SLOW_DRIP])
async def test_shutdown_during_an_upload_ends_in_time_and_loses_nothing(s3_env: S3Environment, fault: Fault) -> None:
    """An upload that was in flight at the deadline of its event is still in flight at SHUTDOWN."""
    settings = s3_env.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="30")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        await s3_env.proxy.set_fault(fault)
        running = asyncio.create_task(platform.invoke(["during"], seconds=1))
        await s3_env.proxy.wait_until(ARRIVED, 2)
        await running
        assert await platform.shutdown() < 2
        assert extension.process.returncode == 0
        objects = await s3_env.ship_leftovers(platform)
    assert lines_of(objects) == ["before", "during", "next run"]
    assert gaps(objects) == {}


async def test_shutdown_before_startup_is_complete_keeps_the_init_records(s3_env: S3Environment) -> None:
    """At SHUTDOWN before the libraries are loaded, the records of the init are in S3 or on disk in time."""
    async with BareLambda(s3_env.settings()) as platform:
        extension = await platform.start(at_once=True)
        ending = asyncio.create_task(platform.shutdown())
        await platform.deliver(batch(event("platform.initStart", {"phase": "init"}), function("init")))
        assert await ending < 2
        assert extension.process.returncode == 0
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)


async def test_shutdown_without_records_stores_no_object(s3_env: S3Environment) -> None:
    """Without an accepted record no object is written, and the process ends in time."""
    async with BareLambda(s3_env.settings()) as platform:
        extension = await platform.start()
        assert await platform.shutdown() < 2
        assert extension.process.returncode == 0
        assert await s3_env.arrived() == []


async def test_segments_left_at_shutdown_are_counted_in_one_message(s3_env: S3Environment) -> None:
    """If S3 is down at SHUTDOWN, the segments stay, and one message states their number and size."""
    await s3_env.proxy.set_fault(Fault.ACCESS_DENIED)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        extension = await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"])
        assert await platform.shutdown() < 2
        waiting = list(s3_env.spool.glob("*.last")) + list(s3_env.spool.glob("*.sealed"))
        account = assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    assert account.waiting == account.accepted
    last = [line for line in extension.output if "not all records were uploaded" in line]
    assert len(last) == 1
    assert f"segments={len(waiting)}" in last[0]
    assert f"bytes={sum(path.stat().st_size for path in waiting)}" in last[0]
