"""Every fault of S3: its cost for an invocation, a shutdown in time, no loss and no duplicate."""

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
    from support.s3_environment import S3Environment

SLACK_SECONDS = 1.0
"""Allowance for a loaded machine, in seconds, above the documented limits."""
FIRST_PAUSE_SECONDS = 1.5
"""Wait that exceeds the open time of the circuit breaker after one failure, in seconds: 1 s ± 25 %."""
OPEN_SECONDS = 0.005
"""Maximum extension while the circuit breaker is open, in seconds (median).

Healthy invocations calibrate slow machines.
"""


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_fault_costs_one_attempt_and_no_record(
    scenario: Scenario, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """The first failure takes at most the upload timeout and the next ones nothing; everything is delivered once."""
    result = await s3_fault_scenarios.run(scenario, s3=s3, bucket=bucket, directory=tmp_path)
    print(result)
    assert not result.account.twice
    assert not result.account.missing
    assert not result.account.waiting
    assert result.gaps == {}
    assert result.shutdown < 2
    limit = max(scenario.upload_timeout, LATENCY_SECONDS * (not scenario.fails))
    assert result.first < (limit if scenario.first_limit is None else scenario.first_limit) + SLACK_SECONDS
    failures = [line for line in result.messages if "an upload failed" in line]
    if not scenario.fails:
        assert not failures
        assert result.refusals == (scenario.fault in (Fault.OTHER_REGION, Fault.CLOCK_SKEW)), "refused once, then right"
        return
    assert result.attempts_while_open == 0
    assert result.open <= max(OPEN_SECONDS, result.healthy / 3)
    assert len(failures) == (1 if scenario.permanent else 2), "one message for each time S3 failed"
    assert result.left > 0
    last = [line for line in result.messages if "not all records were uploaded" in line]
    assert len(last) == 1
    assert f"segments={result.left}" in last[0]


async def test_transient_failure_is_retried_soon_and_permanent_one_is_not(s3_env: S3Environment) -> None:
    """After the first pause a 500 is retried and a 403 is not."""
    attempts = {}
    for fault in (Fault.INTERNAL_ERROR, Fault.ACCESS_DENIED):
        settings = s3_env.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_SPOOL_DIR=f"{s3_env.spool}-{fault.name}")
        await s3_env.proxy.set_fault(fault)
        async with BareLambda(settings) as platform:
            await platform.start()
            await platform.invoke(["first"])
            before = s3_env.proxy.count(ARRIVED)
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            await platform.invoke(["second"])
            attempts[fault] = s3_env.proxy.count(ARRIVED) - before
    assert attempts == {Fault.INTERNAL_ERROR: 1, Fault.ACCESS_DENIED: 0}


async def test_invocation_is_not_extended_while_the_circuit_breaker_is_open(s3_env: S3Environment) -> None:
    """While the circuit breaker is open, no invocation waits for `platform.runtimeDone`, which arrives 25 ms later."""
    await s3_env.proxy.set_fault(Fault.ACCESS_DENIED)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.invoke(["first"])
        added = [await platform.invoke([f"line {n}"], buffer_seconds=0.2) for n in range(7)]
        await s3_env.proxy.set_fault(Fault.NONE)
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert sorted(added)[3] < 0.1
    assert len(lines_of(objects)) == 8


async def test_long_backlog_extends_an_invocation_by_one_upload_timeout(s3_env: S3Environment) -> None:
    """When S3 is back and slow, an invocation uploads as much as fits into one upload timeout."""
    settings = s3_env.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="2")
    await s3_env.proxy.set_fault(Fault.INTERNAL_ERROR)
    async with BareLambda(settings) as platform:
        await platform.start()
        for number in range(8):
            await platform.invoke([f"line {number}"])
        await s3_env.proxy.set_fault(Fault.LATENCY)
        held = 0.0
        for _ in range(20):
            held = max(held, await platform.invoke(["next"], seconds=60))
            if held > 1:
                break
            await asyncio.sleep(0.2)
        await s3_env.proxy.set_fault(Fault.NONE)
        await platform.shutdown()
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    assert 1 < held < 2 * 2 + SLACK_SECONDS


async def test_object_that_s3_rejects_does_not_block_the_others(s3_env: S3Environment) -> None:
    """A 4xx for one object: later objects are stored, and the rejected one is kept or reported as lost."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.invoke(["before"])
        # A timestamp from the function: as metadata it would exceed the limit of S3 (2 KB).
        strange = b'[{"time":"2026-01-01T00:00' + b"0" * 5000 + b'Z","type":"function","record":"strange"}]'
        await platform.deliver(strange)
        for number in range(3):
            await platform.invoke([f"after {number}"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert [line for line in lines_of(objects) if line.startswith("after")] == [f"after {n}" for n in range(3)]
