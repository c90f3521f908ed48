"""The first invocation arrives while the libraries are loading: loading is suspended, and no record is lost.

The state of loading is visible from outside: `_asyncio` is a shared library, and it is mapped when
asyncio is imported.
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
from support.lambda_stub import POLL_SECONDS, WAIT_SECONDS, BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, function, invoke_event, runtime_done, start
from support.reconciliation import assert_balanced, lines_of

if TYPE_CHECKING:
    from support.extension_process import Process
    from support.s3_environment import S3Environment

RUNS_SECONDS = 1.5
"""Duration of a function, in seconds: shorter than the longest pause, longer than loading on a busy machine."""
LONG_PAUSE = """
import logferry.shipper.pause
logferry.shipper.pause.PAUSE_SECONDS = 60.0
"""
READ_SECONDS, LOADS_SECONDS = 2.5, 1.0
"""Delay of the bootstrap server before it reads an event, and duration of loading, in seconds."""
SLOW_READER = f"""
import time
import logferry.shipper.main, logferry.shipper.bootstrap_server, logferry.shipper.pause
hear, load = logferry.shipper.bootstrap_server.BootstrapServer._hear, logferry.shipper.main._load
def slow(settings):
    print("loading", flush=True)
    time.sleep({LOADS_SECONDS})
    return load(settings)
def late(self):
    logferry.shipper.bootstrap_server.BootstrapServer._hear = hear
    time.sleep({READ_SECONDS})
    return hear(self)
logferry.shipper.main._load = slow
logferry.shipper.bootstrap_server.BootstrapServer._hear = late
logferry.shipper.pause.WORD_SECONDS = 60.0
"""


def loaded(extension: Process) -> bool:
    """Return whether the current shipper has loaded its libraries."""
    try:
        return "/_asyncio." in Path(f"/proc/{extension.shipper}/maps").read_text()
    except OSError:
        return False


async def wait_until_loaded(extension: Process) -> None:
    """Wait until the libraries are loaded. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not loaded(extension):  # noqa: ASYNC110 - no event announces it
            await asyncio.sleep(POLL_SECONDS)


async def begin(platform: BareLambda, *, seconds: float = 60.0) -> asyncio.Task[float]:
    """Start the extension and send INVOKE at once: the first line is accepted before anything is loaded."""
    extension = await platform.start(at_once=True)
    held = asyncio.create_task(platform.hand_out(invoke_event("first", seconds=seconds)))
    await platform.deliver(batch(start("first"), function("line")))
    assert not loaded(extension)
    return held


@pytest.mark.parametrize("flush", ["invocation", "time"])
async def test_loading_is_suspended_during_the_first_invocation_and_completed_after_it(
    s3_env: S3Environment, flush: str
) -> None:
    """Libraries are loaded neither while the function runs nor during a later invocation, under every policy."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH=flush)) as platform:
        held = await begin(platform)
        await asyncio.sleep(RUNS_SECONDS)
        assert not loaded(platform.extension)
        await platform.deliver(batch(runtime_done("first")))
        await held
        assert loaded(platform.extension)
        assert len(await s3_env.arrived()) == (1 if flush == "invocation" else 0)
        await platform.invoke(["second"])
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["line", "second"]


async def test_pause_ends_without_runtime_done(s3_env: S3Environment) -> None:
    """A function may run for minutes, and its records must be stored before its timeout: loading continues."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        began = time.monotonic()
        held = await begin(platform, seconds=8)
        await wait_until_loaded(platform.extension)
        assert time.monotonic() - began >= PAUSE_SECONDS
        await held
        assert lines_of(await s3_env.arrived()) == ["line"]
        await platform.shutdown()
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)


async def test_shutdown_during_the_pause_stores_everything_in_time(s3_env: S3Environment) -> None:
    """With a timeout of one second SHUTDOWN arrives before anything is loaded."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time"), command=boot_with(LONG_PAUSE)) as platform:
        await (await begin(platform, seconds=1))
        assert not loaded(platform.extension)
        assert await platform.shutdown(reason="timeout") < 2
        assert platform.extension.process.returncode == 0
        account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert account.waiting.total() == 0
    assert lines_of(objects) == ["line"]


async def test_shipper_killed_during_the_pause_is_replaced(s3_env: S3Environment) -> None:
    """The successor pauses too, because the invocation still runs, and stores the records that both have accepted."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_PAUSE)) as platform:
        held = await begin(platform)
        killed = platform.extension.shipper
        assert killed
        os.kill(killed, signal.SIGKILL)
        await platform.deliver(batch(function("more")))
        await asyncio.sleep(RUNS_SECONDS)
        assert platform.extension.shipper not in (None, killed)
        assert not loaded(platform.extension)
        await platform.deliver(batch(runtime_done("first")))
        await held
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["line", "more"]


async def test_paused_shipper_does_not_count_as_hung(s3_env: S3Environment) -> None:
    """A paused shipper responds to pings and batches for the whole duration of the pause."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_PAUSE)) as platform:
        held = await begin(platform)
        paused = platform.extension.shipper
        await asyncio.sleep(PING_AFTER_SECONDS + HUNG_SECONDS + 0.5)
        assert platform.extension.shipper == paused
        assert not loaded(platform.extension)
        await platform.deliver(batch(function("late"), runtime_done("first")))
        await held
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["line", "late"]
    assert not any("did not answer" in line for line in platform.extension.output)


async def test_nothing_is_loaded_before_the_event_is_read(s3_env: S3Environment) -> None:
    """The reader of the event waits for its time slice, on a small function for several periods of its quota."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time"), command=boot_with(SLOW_READER)) as platform:
        extension = await platform.start()
        async with asyncio.timeout(WAIT_SECONDS):
            while "loading" not in extension.output:  # noqa: ASYNC110 - the line is read by another task
                await asyncio.sleep(POLL_SECONDS)
        held = asyncio.create_task(platform.hand_out(invoke_event("first")))
        await asyncio.sleep(LOADS_SECONDS / 10)
        await platform.deliver(batch(start("first"), function("line")))  # accepted once the event is read
        assert not loaded(extension)
        await platform.deliver(batch(runtime_done("first")))
        await held
        assert loaded(extension)
        await platform.shutdown()


async def test_disk_full_during_the_pause_is_reported_at_once(s3_env: S3Environment) -> None:
    """The message needs modules that may be half loaded, so loading continues before the end of the runtime."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_PAUSE)) as platform:
        held = await begin(platform)
        assert platform.extension.shipper
        resource.prlimit(platform.extension.shipper, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await platform.deliver(batch(function("no room")))
        await platform.wait_until(lambda: any(str(s3_env.spool) in line for line in platform.extension.output))
        await platform.deliver(batch(runtime_done("first")))
        await held
        await platform.shutdown()
    assert lines_of(await s3_env.arrived()) == ["line", "no room"]
