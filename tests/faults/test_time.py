"""Time: freezes, jumps of the wall clock, long waits and deadlines that have passed already."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.fault_proxy import ARRIVED, STORED, Seen
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, lines_of
from support.s3_faults import Fault

if TYPE_CHECKING:
    from support.s3_environment import Scene

FROZEN_SECONDS = 4.0
"""Long enough for every timer here to be late, and for the proxy to have cut what a real S3 would have cut."""


@pytest.mark.parametrize("stage", [ARRIVED, STORED])
async def test_a_freeze_in_the_middle_of_an_upload_costs_no_record_and_opens_no_breaker(
    scene: Scene, stage: str
) -> None:
    """Frozen with a request under way, its connection cut meanwhile: repeated after the thaw, stored once, not said."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="1")) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        frozen: list[Seen] = []

        def strike(seen: Seen) -> None:
            if seen.stage == stage and not frozen:
                frozen.append(seen)
                os.killpg(life.pid, signal.SIGSTOP)
                scene.proxy.cut_connections()

        scene.proxy.at_stage = strike
        running = asyncio.create_task(platform.invoke(["during"], seconds=60))
        await scene.proxy.until(stage, 2)
        await asyncio.sleep(FROZEN_SECONDS)
        os.killpg(life.pid, signal.SIGCONT)
        await running
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["before", "during", "after"]
    assert gaps(objects) == {}
    assert life.output == []


async def test_connections_that_died_in_a_freeze_are_replaced_without_a_word(scene: Scene) -> None:
    """Idle for long and frozen: the pooled connection is gone, and the next upload is over a new one at once."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        life = await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"])
            os.killpg(life.pid, signal.SIGSTOP)
            scene.proxy.cut_connections()
            await asyncio.sleep(0.2)
            os.killpg(life.pid, signal.SIGCONT)
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["line 0", "line 1", "line 2"]
    assert life.output == []


CLOCK = """
import time
from posix import stat
real, real_ns, place = time.time, time.time_ns, {place!r}
def offset():
    try:
        return float(open(place).read() or 0)
    except OSError:
        return 0.0
time.time = lambda: real() + offset()
time.time_ns = lambda: real_ns() + int(offset() * 1e9)
"""


@pytest.mark.parametrize("flush", ["invocation", "time", "adaptive"])
async def test_a_wall_clock_that_jumps_neither_holds_an_invocation_nor_loses_a_record(scene: Scene, flush: str) -> None:
    """An hour on, a day back, ten years on, amid invocations: dates are compared once, waits are monotonic."""
    clock = scene.spool.with_name("clock")
    command = boot_with(CLOCK.format(place=str(clock)))
    async with BareLambda(scene.settings(LOGFERRY_FLUSH=flush), command=command) as platform:
        life = await platform.start()
        await platform.invoke(["first"])
        for number, offset in enumerate((3600, -86_400, 315_360_000, -1)):
            request = f"jump{number}"
            held = asyncio.create_task(platform.hand_out(invoke_event(request, seconds=5)))
            await platform.deliver(batch(start(request), function(f"before jump {number}")))
            clock.write_text(str(offset))
            platform.clock_offset = offset
            await platform.deliver(batch(runtime_done(request)))
            assert await held < 4.9
            await platform.deliver(batch(report_of(request)))
            assert await platform.invoke([f"after jump {number}"], seconds=5) < 4
        assert await platform.shutdown() < 2
        stock = assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert life.process.returncode == 0
    assert stock.waiting.total() == 0
    assert gaps(objects) == {}
    assert len(lines_of(objects)) == 9


async def test_a_deadline_already_past_is_answered_at_once(scene: Scene) -> None:
    """INVOKE that comes too late: the next event is asked for, nobody dies, and its records are shipped later."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        life = await platform.start()
        await platform.invoke(["before"])
        for number in range(3):
            held = await platform.hand_out(invoke_event(f"late{number}", seconds=-5))
            assert held < 2
            await platform.deliver(
                batch(start(f"late{number}"), function(f"late {number}"), runtime_done(f"late{number}"))
            )
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert life.output == [line for line in life.output if "died" not in line]
    assert sorted(lines_of(objects)) == ["after", "before", "late 0", "late 1", "late 2"]


async def test_a_shutdown_whose_deadline_is_past_ends_at_once_and_leaves_all_to_the_next_life(scene: Scene) -> None:
    """Nothing to wait with: the process ends, what was accepted is on disk."""
    await scene.proxy.set_fault(Fault.HANG)
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time")) as platform:
        await platform.start()
        await platform.invoke(["kept"])
        assert await platform.shutdown(seconds=-1) < 2
        objects = await scene.next_life(platform)
    assert lines_of(objects) == ["kept", "next life"]


async def test_the_next_event_is_waited_for_without_a_limit(scene: Scene) -> None:
    """An invocation of 15 minutes, a freeze of a day: the wait for `/event/next` has no timeout in the kernel."""
    async with BareLambda(scene.settings()) as platform:
        life = await platform.start()
        await platform.invoke(["warm"])
        for _ in range(200):
            call = _system_call(life.pid)
            if call[0] != "running":
                break
            await asyncio.sleep(0.01)
        number, timeout = int(call[0]), int(call[3], 16)
        if number in (7, 271, 73):  # poll on x86-64; ppoll there and on arm64 (asm/unistd.h)
            assert timeout in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) if number == 7 else timeout == 0
        else:
            pytest.skip(f"the wait is system call {number}, which this test does not know")
        held = asyncio.create_task(platform.hand_out(invoke_event("long", seconds=900)))
        await platform.deliver(batch(start("long"), function("long"), runtime_done("long")))
        await held
        await platform.shutdown()


async def test_an_invocation_whose_runtime_done_is_lost_ends_before_its_deadline(scene: Scene) -> None:
    """The delivery that tells of the end never comes: held at most until the deadline, and never past it."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.invoke(["before"])
        held = asyncio.create_task(platform.hand_out(invoke_event("lost", seconds=2)))
        await platform.deliver(batch(start("lost"), function("end unknown")))
        assert await held < 2
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["before", "end unknown", "after"]


def _system_call(pid: int) -> list[str]:
    """What a process waits in: the call's number and its arguments (proc_pid_syscall(5))."""
    return Path(f"/proc/{pid}/syscall").read_text().split()
