"""Records that arrive during the Shutdown phase: they are stored as long as there is time.

The platform delivers records of a SIGTERM handler, of a crashing init and of the last invocation after it has sent
SHUTDOWN. Published measurements of the delay are 5 ms on average and 40 ms at most.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

import pytest

from benchmark import process_group
from support.fault_proxy import ARRIVED
from support.lambda_stub import BareLambda
from support.platform_events import batch, event, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, finals, gaps, lines_of, records_of_type
from support.s3_faults import DISTANT_SECONDS, Fault

if TYPE_CHECKING:
    from support.s3_environment import S3Environment

LAG_SECONDS = (0.005, 0.04)
"""Delay of a late batch after SHUTDOWN, in seconds: the average and the maximum."""
LATE_LINES = 50
RUNS = 7
QUIET_LIMIT_SECONDS = 0.15
"""Maximum duration of SHUTDOWN without late records, in seconds, with S3 at 20 ms."""
QUIET_LIMIT_UPLOADS = 6
"""The same in multiples of an invocation with one upload, which takes 24 ms, for a machine under load."""


async def _last_invocation(platform: BareLambda) -> None:
    """Run an invocation whose lines are pending at SHUTDOWN; its report has not been delivered."""
    await platform.invoke(["first"])
    pending = asyncio.create_task(platform.hand_out(invoke_event("last")))
    await platform.deliver(batch(start("last"), function("last"), runtime_done("last")))
    await pending


async def _post(platform: BareLambda, body: bytes) -> int | None:
    """Deliver a batch once, and count it as accepted if the response is 200; return the status."""
    status = await platform.post(body)
    if status == 200:
        platform.accepted.append(body)
    return status


async def _assert_all_stored(platform: BareLambda, s3_env: S3Environment, lines: list[str]) -> None:
    """Every line and every accepted record is stored, and the last object is final.

    An object before it may be final too, because the late records arrived during its upload.
    """
    account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert account.waiting.total() == 0
    assert lines_of(objects) == lines
    assert gaps(objects) == {}
    last = {one.metadata["environment"]: int(one.metadata["segment"]) for one in objects}
    assert {name: numbers[-1] for name, numbers in finals(objects).items()} == last


@pytest.mark.parametrize("lag", LAG_SECONDS)
async def test_lines_of_a_sigterm_handler_are_stored(s3_env: S3Environment, lag: float) -> None:
    """The runtime gets SIGTERM at SHUTDOWN: the report of the last invocation arrives first, then new lines."""
    await s3_env.proxy.set_fault(Fault.NEARBY)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        await platform.start()
        await _last_invocation(platform)
        ending = asyncio.create_task(platform.shutdown())
        statuses = []
        for records in ((report_of("last"),), (function("handler 0"),), (function("handler 1"),)):
            await asyncio.sleep(lag)
            statuses.append(await _post(platform, batch(*records)))
        assert await ending < 2
        assert statuses == [200, 200, 200]
        await _assert_all_stored(platform, s3_env, ["first", "last", "handler 0", "handler 1"])


async def test_lines_that_arrive_during_the_last_upload_are_stored(s3_env: S3Environment) -> None:
    """Fifty lines arrive while S3 takes 150 ms for the pending records: they are stored in one more object."""
    await s3_env.proxy.set_fault(Fault.NEARBY)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        await platform.start()
        await _last_invocation(platform)
        await platform.deliver(batch(report_of("last")))
        await s3_env.proxy.set_fault(Fault.DISTANT)
        before = s3_env.proxy.count(ARRIVED)
        ending = asyncio.create_task(platform.shutdown())
        await s3_env.proxy.wait_until(ARRIVED, before + 1)
        statuses = []
        for number in range(LATE_LINES):
            statuses.append(await _post(platform, batch(function(f"late {number}"))))
            await asyncio.sleep(DISTANT_SECONDS / LATE_LINES)
        assert await ending < 2
        assert statuses == [200] * LATE_LINES
        await _assert_all_stored(platform, s3_env, ["first", "last", *(f"late {n}" for n in range(LATE_LINES))])


@pytest.mark.parametrize("lag", LAG_SECONDS)
async def test_lines_of_a_crashing_init_are_stored(s3_env: S3Environment, lag: float) -> None:
    """The init fails without an invocation: its last lines arrive after SHUTDOWN, in several batches."""
    await s3_env.proxy.set_fault(Fault.NEARBY)
    async with BareLambda(s3_env.settings()) as platform:
        await platform.start()
        await platform.deliver(batch(event("platform.initStart", {"phase": "init"}), function("init 0")))
        # The bootstrap server would accept the lines while the libraries are loading.
        await asyncio.to_thread(process_group.settle, platform.extension.pid)
        ending = asyncio.create_task(platform.shutdown(reason="failure"))
        statuses = []
        for number in (1, 2, 3):
            await asyncio.sleep(lag)
            statuses.append(await _post(platform, batch(function(f"init {number}"))))
        statuses.append(await _post(platform, batch(event("platform.initReport", {"status": "error"}))))
        assert await ending < 2
        assert statuses == [200] * 4
        await _assert_all_stored(platform, s3_env, ["init 0", "init 1", "init 2", "init 3"])
        assert len(records_of_type(await s3_env.arrived(), "platform.initReport")) == 1


async def test_shutdown_without_late_records_is_short(s3_env: S3Environment) -> None:
    """The wait for late records is bounded: with S3 at 20 ms SHUTDOWN takes at most 150 ms (median)."""
    took, uploads = [], []
    await s3_env.proxy.set_fault(Fault.NEARBY)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        for _ in range(RUNS):
            await platform.start()
            await platform.invoke(["loads the libraries"])
            uploads.append(await platform.invoke(["line"]))
            took.append(await platform.shutdown())
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    print([round(seconds, 3) for seconds in (*took, *uploads)])
    assert statistics.median(took) < max(QUIET_LIMIT_SECONDS, QUIET_LIMIT_UPLOADS * statistics.median(uploads))
