"""The first invocation comes while the libraries are loading: it has the CPU for itself, and nothing is lost or stuck.

Whether they are loaded is seen from outside: aiohttp's parser is a shared library, and mapped when it is imported.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logferry.shipper.pause import PAUSE_SECONDS
from logferry.supervisor.shipper_process import HUNG_SECONDS, PING_AFTER_SECONDS
from support.lambda_stub import LOOK_SECONDS, PATIENCE_SECONDS, BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, function, invoke_event, runtime_done, start
from support.reconciliation import assert_balanced, lines_of

if TYPE_CHECKING:
    from support.extension_process import Process
    from support.s3_environment import Scene

RUNS_SECONDS = 1.5
"""A function that runs for less than the longest pause, and longer than loading takes on a busy machine."""
LONG_PAUSE = """
import logferry.shipper.pause
logferry.shipper.pause.PAUSE_SECONDS = 60.0
"""
HEARS_SECONDS, LOADS_SECONDS = 2.5, 1.0
"""A doorman that is slow to hear an event, and libraries that would be there long before it does."""
HARD_OF_HEARING = f"""
import time
import logferry.shipper.main, logferry.shipper.bootstrap_server, logferry.shipper.pause
hear, load = logferry.shipper.bootstrap_server.Doorman._hear, logferry.shipper.main._load
def slow(settings):
    print("loading", flush=True)
    time.sleep({LOADS_SECONDS})
    return load(settings)
def late(self):
    logferry.shipper.bootstrap_server.Doorman._hear = hear
    time.sleep({HEARS_SECONDS})
    return hear(self)
logferry.shipper.main._load = slow
logferry.shipper.bootstrap_server.Doorman._hear = late
logferry.shipper.pause.WORD_SECONDS = 60.0
"""


def loaded(life: Process) -> bool:
    """Whether the shipper there is has its libraries."""
    try:
        return "aiohttp/_http_parser" in Path(f"/proc/{life.shipper}/maps").read_text()
    except OSError:
        return False


async def until_loaded(life: Process) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not loaded(life):  # noqa: ASYNC110 - loading tells nobody
            await asyncio.sleep(LOOK_SECONDS)


async def begin(platform: BareLambda, *, seconds: float = 60.0) -> asyncio.Task[float]:
    """Start the extension, and hand out the first INVOKE at once: nothing is loaded, and its first line is accepted."""
    life = await platform.start(at_once=True)
    held = asyncio.create_task(platform.hand_out(invoke_event("first", seconds=seconds)))
    await platform.deliver(batch(start("first"), function("line")))
    assert not loaded(life)
    return held


@pytest.mark.parametrize("flush", ["invocation", "time"])
async def test_nothing_is_loaded_while_the_first_invocation_runs_and_all_of_it_before_it_is_let_go(
    scene: Scene, flush: str
) -> None:
    """Not beside the function; and not by a later invocation, whatever is due with this one."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH=flush)) as platform:
        held = await begin(platform)
        await asyncio.sleep(RUNS_SECONDS)
        assert not loaded(platform.life)
        await platform.deliver(batch(runtime_done("first")))
        await held
        assert loaded(platform.life)
        assert len(await scene.arrived()) == (1 if flush == "invocation" else 0)
        await platform.invoke(["second"])
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["line", "second"]


async def test_a_function_whose_end_is_never_told_does_not_leave_it_paused(scene: Scene) -> None:
    """It may run for minutes, and its records are to leave before its timeout: loading goes on after a while."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        began = time.monotonic()
        held = await begin(platform, seconds=8)
        await until_loaded(platform.life)
        assert time.monotonic() - began >= PAUSE_SECONDS
        await held
        assert lines_of(await scene.arrived()) == ["line"]
        await platform.shutdown()
        assert_balanced(platform, await scene.arrived(), scene.spool)


async def test_a_shutdown_while_paused_ships_everything_in_time(scene: Scene) -> None:
    """A timeout of one second: given up, and SHUTDOWN comes before anything is loaded."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time"), command=boot_with(LONG_PAUSE)) as platform:
        await (await begin(platform, seconds=1))
        assert not loaded(platform.life)
        assert await platform.shutdown(reason="timeout") < 2
        assert platform.life.process.returncode == 0
        stock = assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert stock.waiting.total() == 0
    assert lines_of(objects) == ["line"]


async def test_a_shipper_that_is_killed_while_paused_is_replaced(scene: Scene) -> None:
    """Its successor pauses too, for it knows the invocation to run, and ships what both have accepted."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_PAUSE)) as platform:
        held = await begin(platform)
        killed = platform.life.shipper
        assert killed
        os.kill(killed, signal.SIGKILL)
        await platform.deliver(batch(function("more")))
        await asyncio.sleep(RUNS_SECONDS)
        assert platform.life.shipper not in (None, killed)
        assert not loaded(platform.life)
        await platform.deliver(batch(runtime_done("first")))
        await held
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["line", "more"]


async def test_a_shipper_that_is_paused_does_not_count_as_hung(scene: Scene) -> None:
    """It answers the supervisor's pings, and deliveries, for as long as the pause lasts."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_PAUSE)) as platform:
        held = await begin(platform)
        paused = platform.life.shipper
        await asyncio.sleep(PING_AFTER_SECONDS + HUNG_SECONDS + 0.5)
        assert platform.life.shipper == paused
        assert not loaded(platform.life)
        await platform.deliver(batch(function("late"), runtime_done("first")))
        await held
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == ["line", "late"]
    assert not any("did not answer" in line for line in platform.life.output)


async def test_nothing_is_loaded_either_before_the_invocation_is_heard_of(scene: Scene) -> None:
    """Who hears of it has to wait for its turn, on a small function for several periods of its quota."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time"), command=boot_with(HARD_OF_HEARING)) as platform:
        life = await platform.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "loading" not in life.output:  # noqa: ASYNC110 - the line is read by another task
                await asyncio.sleep(LOOK_SECONDS)
        held = asyncio.create_task(platform.hand_out(invoke_event("first")))
        await asyncio.sleep(LOADS_SECONDS / 10)
        await platform.deliver(batch(start("first"), function("line")))  # answered when the event is heard
        assert not loaded(life)
        await platform.deliver(batch(runtime_done("first")))
        await held
        assert loaded(life)
        await platform.shutdown()


async def test_a_disk_that_fills_up_while_paused_is_complained_of_at_once(scene: Scene) -> None:
    """The complaint needs modules that may be half loaded, so loading goes on; nobody waits for the runtime's end."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_PAUSE)) as platform:
        held = await begin(platform)
        assert platform.life.shipper
        resource.prlimit(platform.life.shipper, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await platform.deliver(batch(function("no room")))
        await until_loaded(platform.life)
        assert any("takes nothing" in line for line in platform.life.output)
        await platform.deliver(batch(runtime_done("first")))
        await held
        await platform.shutdown()
    assert lines_of(await scene.arrived()) == ["line", "no room"]
