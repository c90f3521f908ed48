"""Every way S3 can fail: what it costs an invocation, that the end comes in time, that nothing is lost or twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support import s3_fault_scenarios
from support.fault_proxy import ARRIVED
from support.lambda_stub import BareLambda
from support.reconciliation import assert_balanced, lines_of
from support.s3_fault_scenarios import SCENARIOS, Scenario
from support.s3_faults import LATENCY_SECONDS, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.s3_environment import Scene

SLACK_SECONDS = 1.0
"""For a loaded machine, on top of what is promised."""
FIRST_PAUSE_SECONDS = 1.5
"""Longer than the breaker stays open after one failure: 1 s, give or take a quarter."""
OPEN_SECONDS = 0.005
"""What an invocation may cost while the breaker is open, as a median; a slow machine is known by its healthy ones."""


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_fault_costs_one_attempt_then_nothing_and_no_record(
    scenario: Scenario, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """First failure at most the upload timeout, then next to nothing; all delivered in the end, none twice."""
    result = await s3_fault_scenarios.run(scenario, s3=s3, bucket=bucket, directory=tmp_path)
    print(result)
    assert not result.stock.twice
    assert not result.stock.missing
    assert not result.stock.waiting
    assert result.gaps == {}
    assert result.shutdown < 2
    assert result.first < max(scenario.upload_timeout, LATENCY_SECONDS * (not scenario.fails)) + SLACK_SECONDS
    failures = [line for line in result.said if "an upload failed" in line]
    if not scenario.fails:
        assert not failures
        return
    assert result.attempts_while_open == 0
    assert result.open <= max(OPEN_SECONDS, result.healthy / 3)
    assert len(failures) == (1 if scenario.permanent else 2), "once for each time S3 failed"
    assert result.left > 0
    last = [line for line in result.said if "not everything could be shipped" in line]
    assert len(last) == 1
    assert f"segments={result.left}" in last[0]


async def test_what_passes_by_waiting_is_tried_again_soon_and_what_does_not_is_not(scene: Scene) -> None:
    """500 and 403 told apart: after the first pause there is another attempt for the one and none for the other."""
    attempts = {}
    for fault in (Fault.INTERNAL_ERROR, Fault.ACCESS_DENIED):
        settings = scene.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_SPOOL_DIR=f"{scene.spool}-{fault.name}")
        await scene.proxy.set_fault(fault)
        async with BareLambda(settings) as platform:
            await platform.start()
            await platform.invoke(["first"])
            before = scene.proxy.count(ARRIVED)
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            await platform.invoke(["second"])
            attempts[fault] = scene.proxy.count(ARRIVED) - before
    assert attempts == {Fault.INTERNAL_ERROR: 1, Fault.ACCESS_DENIED: 0}


async def test_an_invocation_is_not_held_to_learn_its_end_while_nothing_can_be_uploaded(scene: Scene) -> None:
    """The breaker is open: nobody waits for `platform.runtimeDone`, which comes 25 ms late."""
    await scene.proxy.set_fault(Fault.ACCESS_DENIED)
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.invoke(["first"])
        added = [await platform.invoke([f"line {n}"], buffer_seconds=0.2) for n in range(7)]
        await scene.proxy.set_fault(Fault.NONE)
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert sorted(added)[3] < 0.1
    assert len(lines_of(objects)) == 8


async def test_a_long_backlog_does_not_hold_one_invocation_for_all_of_it(scene: Scene) -> None:
    """S3 is back, and slow: an invocation works off what fits into one upload timeout, and the rest is shared out."""
    settings = scene.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="2")
    await scene.proxy.set_fault(Fault.INTERNAL_ERROR)
    async with BareLambda(settings) as platform:
        await platform.start()
        for number in range(8):
            await platform.invoke([f"line {number}"])
        await scene.proxy.set_fault(Fault.LATENCY)
        held = 0.0
        for _ in range(20):
            held = max(held, await platform.invoke(["next"], seconds=60))
            if held > 1:
                break
            await asyncio.sleep(0.2)
        await scene.proxy.set_fault(Fault.NONE)
        await platform.shutdown()
        assert_balanced(platform, await scene.arrived(), scene.spool)
    assert 1 < held < 2 * 2 + SLACK_SECONDS


async def test_one_object_that_s3_will_never_take_does_not_stop_the_others(scene: Scene) -> None:
    """A 4xx for one object only: what comes after it is shipped, and the refused one is kept or its loss counted."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.invoke(["before"])
        # A time of a function's making: the metadata that would hold it is more than S3 takes (2 KB).
        strange = b'[{"time":"2026-01-01T00:00' + b"0" * 5000 + b'Z","type":"function","record":"strange"}]'
        await platform.deliver(strange)
        for number in range(3):
            await platform.invoke([f"after {number}"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert [line for line in lines_of(objects) if line.startswith("after")] == [f"after {n}" for n in range(3)]
