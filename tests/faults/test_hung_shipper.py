"""A shipper that hangs, exits at each start, or cannot be forked: invocations continue, and one message reports it."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
from typing import TYPE_CHECKING

import pytest

from logferry.shipper.event_queue import SUSPEND_SECONDS
from logferry.supervisor.shipper_process import HUNG_SECONDS, PING_AFTER_SECONDS
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with, without_libraries
from support.platform_events import batch, function, invoke_event, report_of
from support.reconciliation import assert_balanced, lines_of

if TYPE_CHECKING:
    from support.extension_process import Process
    from support.s3_environment import S3Environment

HUNG_BOUND_SECONDS = PING_AFTER_SECONDS + HUNG_SECONDS
"""Maximum extension of an invocation by a hung shipper, in seconds, without the start of its successor."""
SLACK_SECONDS = 3.0
"""Allowance for a loaded machine, in seconds: a start takes half a second of CPU time."""


def _hang(extension: Process) -> int:
    """Stop the shipper permanently, but not the supervisor; return its process ID."""
    shipper = extension.shipper
    assert shipper, extension.output
    os.kill(shipper, signal.SIGSTOP)
    return shipper


async def test_stopped_shipper_is_replaced_within_the_bound(s3_env: S3Environment) -> None:
    """SIGSTOP of the shipper: it is replaced within the bound, and its successor stores the accepted records."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        stopped = _hang(extension)
        held = await platform.invoke(["during"], seconds=30)
        assert held < HUNG_BOUND_SECONDS + SLACK_SECONDS
        assert extension.shipper not in (None, stopped)
        assert await platform.invoke(["after"]) < HUNG_BOUND_SECONDS
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["before", "during", "after"]
    assert sum("did not answer" in line for line in extension.output) == 1


async def test_stopped_shipper_never_exceeds_the_deadline(s3_env: S3Environment) -> None:
    """If the deadline is before the bound, the next event is requested before it, and the hang is still detected."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        stopped = _hang(extension)
        for number in range(4):
            delivering = asyncio.create_task(platform.deliver(batch(function(f"during {number}"))))
            assert await platform.hand_out(invoke_event(f"r{number}", seconds=1.5)) < 1.5
            if extension.shipper != stopped:
                await delivering
        await platform.wait_until(lambda: extension.shipper not in (None, stopped))
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects)[0] == "before"


async def test_shipper_in_an_endless_loop_is_replaced(s3_env: S3Environment) -> None:
    """An endless loop during an upload has the same consequence as a stopped process, although it uses CPU time."""
    flag = s3_env.spool.with_name("loop")
    patch = f"""
import os, zlib
original = zlib.crc32
def crc32(*given):
    if os.path.exists({str(flag)!r}):
        os.unlink({str(flag)!r})
        while True:
            pass
    return original(*given)
zlib.crc32 = crc32
"""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(patch)) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        looping = extension.shipper
        flag.touch()
        held = await asyncio.wait_for(platform.invoke(["during"], seconds=30), 30)
        assert held < HUNG_BOUND_SECONDS + SLACK_SECONDS
        assert extension.shipper not in (None, looping)
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["before", "during", "after"]


async def test_stopped_shipper_is_replaced_on_managed_instances(s3_env: S3Environment) -> None:
    """On Managed Instances no INVOKE is sent; a stopped shipper is still replaced, and records are stored."""
    platform = BareLambda(s3_env.settings(LOGFERRY_FLUSH_SECONDS="0.2"), initialization_type="lambda-managed-instances")
    async with platform:
        extension = await platform.start()
        await platform.deliver(batch(function("before"), report_of("1")))
        stopped = _hang(extension)
        await platform.deliver(batch(function("during"), report_of("2")))
        assert extension.shipper != stopped
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert sorted(lines_of(objects)) == ["before", "during"]


async def test_occasional_crashes_on_managed_instances_never_stop_restarts(s3_env: S3Environment) -> None:
    """Only consecutive crashes count. Where no event is completed, a successful upload ends the sequence too."""
    platform = BareLambda(s3_env.settings(LOGFERRY_FLUSH_SECONDS="0.1"), initialization_type="lambda-managed-instances")
    async with platform:
        extension = await platform.start()
        for number in range(8):
            await platform.deliver(batch(function(f"line {number}"), report_of(str(number))))
            await s3_env.proxy.wait_until_objects(2 * number + 1)
            # The response after the upload proves that the shipper has reported success.
            await platform.deliver(batch(function(f"line {number} again")))
            await s3_env.proxy.wait_until_objects(2 * number + 2)
            shipper = extension.shipper
            assert shipper, extension.output
            os.kill(shipper, signal.SIGKILL)
        await platform.deliver(batch(function("last")))
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert len(lines_of(objects)) == 17


@pytest.mark.slow
async def test_shipper_that_exits_at_each_start_is_given_up(s3_env: S3Environment) -> None:
    """After a fixed number of attempts with backoff, logferry idles: no extension of invocations, one message."""
    async with BareLambda(s3_env.settings(), command=without_libraries()) as platform:
        extension = await platform.start()
        held = []
        async with asyncio.timeout(60):
            while not any("not restarted" in line for line in extension.output):
                held.append(await platform.hand_out(invoke_event("again", seconds=5)))
                await asyncio.sleep(0.2)
        held += [await platform.hand_out(invoke_event(f"idle {n}", seconds=5)) for n in range(20)]
        assert extension.process.returncode is None
        assert await platform.shutdown() < 2
        assert extension.process.returncode == 0
    assert max(held) < SUSPEND_SECONDS + 2, "without runtimeDone the first invocation suspends loading"
    assert statistics.median(held) < 0.05
    messages = [line for line in extension.output if line.startswith("logferry")]
    assert sum("not restarted" in line for line in messages) == 1, messages
    assert sum("Traceback" in line for line in extension.output) <= 1, (
        "the reason is reported once and not for each attempt"
    )


@pytest.mark.slow
async def test_records_on_disk_after_giving_up_are_stored_by_the_next_run(
    s3_env: S3Environment,
) -> None:
    """If the shipper is not restarted, its records stay in the spool, and the next run that starts stores them."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        await platform.start()
        await platform.invoke(["waiting"])
        await platform.kill_group()
        async with BareLambda(s3_env.settings(), command=without_libraries()) as without_shipper:
            await without_shipper.start()
            await without_shipper.hand_out(invoke_event("in vain", seconds=5))
            await without_shipper.shutdown()
        await platform.start()
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["waiting", "after"]


async def test_failed_fork_does_not_end_the_supervisor(s3_env: S3Environment) -> None:
    """If fork fails (EAGAIN, because the function uses all processes), the supervisor idles and retries later."""
    patch = """
import posix
original, tries = posix.fork, [0]
def fork():
    tries[0] += 1
    if tries[0] <= 2:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return original()
posix.fork = fork
"""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(patch)) as platform:
        extension = await platform.start()
        for number in range(3):
            assert await platform.invoke([f"line {number}"], seconds=20) < 15
        assert extension.process.returncode is None
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["line 0", "line 1", "line 2"]
