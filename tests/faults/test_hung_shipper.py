"""A shipper that hangs, dies at each start, or cannot be started at all: the function lives, and it is said once."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
from typing import TYPE_CHECKING

import pytest

from logferry.shipper.pause import PAUSE_SECONDS
from logferry.supervisor.shipper_process import HUNG_SECONDS, PING_AFTER_SECONDS
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with, without_libraries
from support.platform_events import batch, function, invoke_event, report_of
from support.reconciliation import assert_balanced, lines_of

if TYPE_CHECKING:
    from support.extension_process import Process
    from support.s3_environment import Scene

HUNG_BOUND_SECONDS = PING_AFTER_SECONDS + HUNG_SECONDS
"""What an invocation may be held for a shipper that hangs, and some for its successor's start."""
SLACK_SECONDS = 3.0
"""For a loaded machine: a start takes half a second of CPU."""


def _hang(life: Process) -> int:
    """Stop the shipper alone, and for good; which process it was."""
    shipper = life.shipper
    assert shipper, life.output
    os.kill(shipper, signal.SIGSTOP)
    return shipper


async def test_a_stopped_shipper_holds_an_invocation_at_most_the_bound_and_is_replaced(scene: Scene) -> None:
    """SIGSTOP of the child alone: replaced after the bound, and what it had accepted is shipped by its successor."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        stopped = _hang(life)
        held = await platform.invoke(["during"], seconds=30)
        assert held < HUNG_BOUND_SECONDS + SLACK_SECONDS
        assert life.shipper not in (None, stopped)
        assert await platform.invoke(["after"]) < HUNG_BOUND_SECONDS
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["before", "during", "after"]
    assert sum("did not answer" in line for line in life.output) == 1


async def test_a_stopped_shipper_never_costs_an_invocation_its_timeout(scene: Scene) -> None:
    """A deadline sooner than the bound: the next event is asked for before it, and the hanging is noticed anyway."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        stopped = _hang(life)
        for number in range(4):
            delivering = asyncio.create_task(platform.deliver(batch(function(f"during {number}"))))
            assert await platform.hand_out(invoke_event(f"r{number}", seconds=1.5)) < 1.5
            if life.shipper != stopped:
                await delivering
        await platform.until(lambda: life.shipper not in (None, stopped))
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects)[0] == "before"


async def test_a_shipper_in_an_endless_loop_is_replaced(scene: Scene) -> None:
    """A loop that never returns, in the middle of an upload: as a stopped process, but one that burns CPU."""
    flag = scene.spool.with_name("loop")
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
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(patch)) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        looping = life.shipper
        flag.touch()
        held = await asyncio.wait_for(platform.invoke(["during"], seconds=30), 30)
        assert held < HUNG_BOUND_SECONDS + SLACK_SECONDS
        assert life.shipper not in (None, looping)
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["before", "during", "after"]


async def test_a_hanging_shipper_is_noticed_where_no_invocation_is_announced(scene: Scene) -> None:
    """Managed Instances: no INVOKE ever comes, and still a stopped shipper is replaced and ships on."""
    platform = BareLambda(scene.settings(LOGFERRY_FLUSH_SECONDS="0.2"), initialization_type="lambda-managed-instances")
    async with platform:
        life = await platform.start()
        await platform.deliver(batch(function("before"), report_of("1")))
        stopped = _hang(life)
        await platform.deliver(batch(function("during"), report_of("2")))
        assert life.shipper != stopped
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert sorted(lines_of(objects)) == ["before", "during"]


async def test_a_shipper_that_dies_now_and_then_is_never_given_up_on_managed_instances(scene: Scene) -> None:
    """Deaths are counted in a row, not over a life: where no event is finished, work that was done ends the row too."""
    platform = BareLambda(scene.settings(LOGFERRY_FLUSH_SECONDS="0.1"), initialization_type="lambda-managed-instances")
    async with platform:
        life = await platform.start()
        for number in range(8):
            await platform.deliver(batch(function(f"line {number}"), report_of(str(number))))
            await scene.proxy.until_objects(2 * number + 1)
            # Answered again after its upload: by then it has said that it works.
            await platform.deliver(batch(function(f"line {number} again")))
            await scene.proxy.until_objects(2 * number + 2)
            shipper = life.shipper
            assert shipper, life.output
            os.kill(shipper, signal.SIGKILL)
        await platform.deliver(batch(function("last")))
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert len(lines_of(objects)) == 17


@pytest.mark.slow
async def test_a_shipper_that_dies_at_each_start_is_given_up_and_the_function_lives(scene: Scene) -> None:
    """A stated number of tries with backoff, then idle: invocations are not held, and one message says what and why."""
    async with BareLambda(scene.settings(), command=without_libraries()) as platform:
        life = await platform.start()
        held = []
        async with asyncio.timeout(60):
            while not any("given up" in line for line in life.output):
                held.append(await platform.hand_out(invoke_event("again", seconds=5)))
                await asyncio.sleep(0.2)
        held += [await platform.hand_out(invoke_event(f"idle {n}", seconds=5)) for n in range(20)]
        assert life.process.returncode is None
        assert await platform.shutdown() < 2
        assert life.process.returncode == 0
    assert max(held) < PAUSE_SECONDS + 2, "its end is never told here, so the first one keeps loading waiting"
    assert statistics.median(held) < 0.05
    said = [line for line in life.output if line.startswith("logferry")]
    assert sum("given up" in line for line in said) == 1, said
    assert sum("Traceback" in line for line in life.output) <= 1, "what and why is said once, not for each try"


@pytest.mark.slow
async def test_what_waits_on_disk_when_the_shipper_is_given_up_is_shipped_by_the_next_life(scene: Scene) -> None:
    """Given up with records in the spool: they are left there, and a life whose shipper starts ships them."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time")) as platform:
        await platform.start()
        await platform.invoke(["waiting"])
        await platform.kill_group()
        async with BareLambda(scene.settings(), command=without_libraries()) as crippled:
            await crippled.start()
            await crippled.hand_out(invoke_event("in vain", seconds=5))
            await crippled.shutdown()
        await platform.start()
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["waiting", "after"]


async def test_a_kernel_that_refuses_to_fork_does_not_end_the_supervisor(scene: Scene) -> None:
    """No process can be made (EAGAIN: the function has used them up): registered, idle, and tried again later."""
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
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(patch)) as platform:
        life = await platform.start()
        for number in range(3):
            assert await platform.invoke([f"line {number}"], seconds=20) < 15
        assert life.process.returncode is None
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["line 0", "line 1", "line 2"]
