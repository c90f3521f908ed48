"""Freezes, jumps of the wall clock, long waits, and deadlines in the past."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.fault_proxy import ARRIVED, STORED, StageReached
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with, clock_from
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, lines_of
from support.s3_faults import Fault

if TYPE_CHECKING:
    from support.s3_environment import S3Environment

FROZEN_SECONDS = 4.0
"""Duration of a freeze, in seconds: longer than every timer, and than S3 keeps an idle connection."""


@pytest.mark.parametrize("stage", [ARRIVED, STORED])
async def test_freeze_during_an_upload_loses_nothing_and_keeps_the_circuit_breaker_closed(
    s3_env: S3Environment, stage: str
) -> None:
    """A request is in flight at the freeze and its connection is reset: it is repeated after the thaw."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_UPLOAD_TIMEOUT="1")) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        frozen: list[StageReached] = []

        def freeze(seen: StageReached) -> None:
            if seen.stage == stage and not frozen:
                frozen.append(seen)
                os.killpg(extension.pid, signal.SIGSTOP)
                s3_env.proxy.reset_connections()

        s3_env.proxy.at_stage = freeze
        running = asyncio.create_task(platform.invoke(["during"], seconds=60))
        await s3_env.proxy.wait_until(stage, 2)
        await asyncio.sleep(FROZEN_SECONDS)
        os.killpg(extension.pid, signal.SIGCONT)
        await running
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["before", "during", "after"]
    assert gaps(objects) == {}
    assert extension.output == []


async def test_connection_reset_during_a_freeze_is_replaced_without_a_message(s3_env: S3Environment) -> None:
    """A pooled connection that was reset during a freeze is replaced by a new one for the next upload."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"])
            os.killpg(extension.pid, signal.SIGSTOP)
            s3_env.proxy.reset_connections()
            await asyncio.sleep(0.2)
            os.killpg(extension.pid, signal.SIGCONT)
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["line 0", "line 1", "line 2"]
    assert extension.output == []


@pytest.mark.parametrize("flush", ["invocation", "time", "adaptive"])
async def test_jump_of_the_wall_clock_extends_no_invocation_and_loses_nothing(
    s3_env: S3Environment, flush: str
) -> None:
    """The clock jumps by an hour, a day back and ten years: dates are compared once, waits use the monotonic clock."""
    clock = s3_env.spool.with_name("clock")
    command = boot_with(clock_from(clock))
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH=flush), command=command) as platform:
        extension = await platform.start()
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
        account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert extension.process.returncode == 0
    assert account.waiting.total() == 0
    assert gaps(objects) == {}
    assert len(lines_of(objects)) == 9


async def test_invoke_with_a_deadline_in_the_past_completes_at_once(s3_env: S3Environment) -> None:
    """After a late INVOKE the next event is requested, no process exits, and the records are stored later."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        for number in range(3):
            held = await platform.hand_out(invoke_event(f"late{number}", seconds=-5))
            assert held < 2
            await platform.deliver(
                batch(start(f"late{number}"), function(f"late {number}"), runtime_done(f"late{number}"))
            )
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert extension.output == [line for line in extension.output if "the shipper ended" not in line]
    assert sorted(lines_of(objects)) == ["after", "before", "late 0", "late 1", "late 2"]


async def test_shutdown_with_a_deadline_in_the_past_leaves_records_to_the_next_run(
    s3_env: S3Environment,
) -> None:
    """Without time for an upload the process exits, and the accepted records are on disk."""
    await s3_env.proxy.set_fault(Fault.HANG)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        await platform.start()
        await platform.invoke(["kept"])
        assert await platform.shutdown(seconds=-1) < 2
        objects = await s3_env.ship_leftovers(platform)
    assert lines_of(objects) == ["kept", "next run"]


async def test_wait_for_the_next_event_has_no_timeout(s3_env: S3Environment) -> None:
    """An invocation of 15 minutes or a freeze of a day: the wait for `/event/next` has no timeout in the kernel."""
    async with BareLambda(s3_env.settings()) as platform:
        extension = await platform.start()
        await platform.invoke(["warm"])
        for _ in range(200):
            call = _system_call(extension.pid)
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


async def test_lost_runtime_done_extends_an_invocation_at_most_to_its_deadline(s3_env: S3Environment) -> None:
    """If `platform.runtimeDone` is never delivered, the invocation is extended at most until its deadline."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.invoke(["before"])
        held = asyncio.create_task(platform.hand_out(invoke_event("lost", seconds=2)))
        await platform.deliver(batch(start("lost"), function("end unknown")))
        assert await held < 2
        await platform.invoke(["after"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["before", "end unknown", "after"]


def _system_call(pid: int) -> list[str]:
    """Return the system call that a process waits in, and its arguments (proc_pid_syscall(5))."""
    return Path(f"/proc/{pid}/syscall").read_text().split()
