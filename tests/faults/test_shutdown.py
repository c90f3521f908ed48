"""The end: quick, complete, and inside the 2,000 ms whatever S3 does."""

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

    from support.s3_environment import Scene

LIVES = 7
PROMISED_SECONDS = 0.3
REPORT_AFTER_SECONDS = 0.005
"""Others have measured this between SHUTDOWN and the last `platform.report`, and 40 ms at most."""


async def test_with_s3_near_by_the_end_takes_less_than_the_promise_and_holds_the_last_report(scene: Scene) -> None:
    """S3 answers in 20 ms: SHUTDOWN to exit within 300 ms (median), the last `platform.report` included."""
    took = []
    await scene.proxy.set_fault(Fault.NEARBY)
    async with BareLambda(scene.settings()) as platform:
        for number in range(LIVES):
            await platform.start()
            await platform.invoke([f"line {number}"])  # under the default policy the first one is stored at its end
            held = asyncio.create_task(platform.hand_out(invoke_event(f"last{number}")))
            await platform.deliver(batch(start(f"last{number}"), runtime_done(f"last{number}")))
            await held
            ending = asyncio.create_task(platform.shutdown())
            await asyncio.sleep(REPORT_AFTER_SECONDS)
            await platform.deliver(batch(report_of(f"last{number}")))
            took.append(await ending)
            assert platform.life.process.returncode == 0
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    print([round(seconds, 3) for seconds in took])
    assert statistics.median(took) < PROMISED_SECONDS
    reports = {r["record"]["requestId"] for r in records_of_type(objects, "platform.report")}
    assert {f"last{n}" for n in range(LIVES)} <= reports
    assert gaps(objects) == {}
    assert all(len(numbers) == 1 for numbers in finals(objects).values())


@pytest.mark.parametrize(
    ("reason", "last"), [("spindown", {}), ("timeout", {"sleep_ms": 20_000}), ("failure", {"exit": 3})]
)
async def test_every_reason_to_end_ships_everything(
    scene: Scene, tmp_path: Path, reason: str, last: dict[str, Any]
) -> None:
    """Spindown, the function's timeout, its crash: all that was accepted is in S3, and the process ends by itself."""
    settings = scene.settings(LOGFERRY_FLUSH="time")
    await scene.proxy.set_fault(Fault.NEARBY)
    async with environment(tmp_path, settings, timeout_seconds=2) as service:
        await service.invoke({"marker": "before"})
        await service.invoke({"marker": "last", **last})
        await service.wait_idle()
        await service.shutdown()
        objects = await arrived_in_s3(scene.s3, scene.bucket)
    ends = [e for e in service.timeline.of("shutdown") if e.detail["phase"] == "end"]
    assert [e.detail["reason"] for e in ends] == [reason]
    assert ends[0].detail["killed"] == []
    assert [e.detail["exit_code"] for e in service.timeline.of("exit", "logferry")] == [0]
    reports = [r["record"]["status"] for r in records_of(objects) if r["type"] == "platform.report"]
    assert reports == ["success", {"spindown": "success", "timeout": "timeout", "failure": "error"}[reason]]
    assert_exactly_once(service, objects)


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LATENCY, Fault.RESET_AFTER_STORING, Fault.SLOW_DRIP])
async def test_a_shutdown_with_an_upload_in_flight_ends_in_time_and_loses_nothing(scene: Scene, fault: Fault) -> None:
    """An event was given up at its deadline, its upload is still under way, and SHUTDOWN comes."""
    settings = scene.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="30")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        await scene.proxy.set_fault(fault)
        running = asyncio.create_task(platform.invoke(["during"], seconds=1))
        await scene.proxy.until(ARRIVED, 2)
        await running
        assert await platform.shutdown() < 2
        assert life.process.returncode == 0
        objects = await scene.next_life(platform)
    assert lines_of(objects) == ["before", "during", "next life"]
    assert gaps(objects) == {}


async def test_a_shutdown_before_the_shipper_ever_came_up_ships_what_came(scene: Scene) -> None:
    """SHUTDOWN at the first moment, its libraries not loaded: the records of init are in S3 or on disk, in time."""
    async with BareLambda(scene.settings()) as platform:
        life = await platform.start(at_once=True)
        ending = asyncio.create_task(platform.shutdown())
        await platform.deliver(batch(event("platform.initStart", {"phase": "init"}), function("init")))
        assert await ending < 2
        assert life.process.returncode == 0
        assert_balanced(platform, await scene.arrived(), scene.spool)


async def test_a_shutdown_of_an_environment_that_was_never_invoked_leaves_no_object(scene: Scene) -> None:
    """Nothing was accepted: nothing is written, and the end is as quick as any."""
    async with BareLambda(scene.settings()) as platform:
        life = await platform.start()
        assert await platform.shutdown() < 2
        assert life.process.returncode == 0
        assert await scene.arrived() == []


async def test_what_shutdown_cannot_ship_is_counted_in_one_last_message(scene: Scene) -> None:
    """S3 is down at the end: the segments stay, and one message says how many and how large."""
    await scene.proxy.set_fault(Fault.ACCESS_DENIED)
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time")) as platform:
        life = await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"])
        assert await platform.shutdown() < 2
        waiting = list(scene.spool.glob("*.last")) + list(scene.spool.glob("*.sealed"))
        stock = assert_balanced(platform, await scene.arrived(), scene.spool)
    assert stock.waiting == stock.accepted
    last = [line for line in life.output if "not everything could be shipped" in line]
    assert len(last) == 1
    assert f"segments={len(waiting)}" in last[0]
    assert f"bytes={sum(path.stat().st_size for path in waiting)}" in last[0]
