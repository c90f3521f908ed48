"""The first invocation arrives while the libraries are loading: loading is suspended, and no record is lost.

The state of loading is visible from outside: `_hashlib` is a shared library, and it is mapped with
the S3 client, which is loaded last.
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

from benchmark import process_group
from logferry.shipper.event_queue import SUSPEND_SECONDS
from logferry.supervisor.shipper_process import HUNG_SECONDS, PING_AFTER_SECONDS
from support.lambda_stub import POLL_SECONDS, WAIT_SECONDS, BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, function, invoke_event, runtime_done, start
from support.reconciliation import assert_balanced, lines_of

if TYPE_CHECKING:
    from support.extension_process import Process
    from support.s3_environment import S3Environment

RUNS_SECONDS = 1.5
"""Duration of a function, in seconds: shorter than the longest suspension, longer than loading on a busy machine."""
LONG_SUSPENSION = """
import logferry.shipper.event_queue
logferry.shipper.event_queue.SUSPEND_SECONDS = 60.0
"""


def loaded(extension: Process) -> bool:
    """Return whether the current shipper has loaded its libraries."""
    try:
        return "/_hashlib." in Path(f"/proc/{extension.shipper}/maps").read_text()
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


async def test_suspension_ends_without_runtime_done(s3_env: S3Environment) -> None:
    """A function may run for minutes, and its records must be stored before its timeout: loading continues."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        began = time.monotonic()
        held = await begin(platform, seconds=8)
        await wait_until_loaded(platform.extension)
        assert time.monotonic() - began >= SUSPEND_SECONDS
        await held
        assert lines_of(await s3_env.arrived()) == ["line"]
        await platform.shutdown()
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)


async def test_shutdown_during_the_suspension_stores_everything_in_time(s3_env: S3Environment) -> None:
    """With a timeout of one second SHUTDOWN arrives before anything is loaded."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time"), command=boot_with(LONG_SUSPENSION)) as platform:
        await (await begin(platform, seconds=1))
        assert not loaded(platform.extension)
        assert await platform.shutdown(reason="timeout") < 2
        assert platform.extension.process.returncode == 0
        account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert account.waiting.total() == 0
    assert lines_of(objects) == ["line"]


async def test_shipper_killed_during_the_suspension_is_replaced(s3_env: S3Environment) -> None:
    """The successor suspends loading too, because the invocation runs, and stores the records of both."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_SUSPENSION)) as platform:
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


async def test_suspended_shipper_does_not_count_as_hung(s3_env: S3Environment) -> None:
    """A suspended shipper responds to pings and batches for the whole time."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_SUSPENSION)) as platform:
        held = await begin(platform)
        suspended = platform.extension.shipper
        await asyncio.sleep(PING_AFTER_SECONDS + HUNG_SECONDS + 0.5)
        assert platform.extension.shipper == suspended
        assert not loaded(platform.extension)
        await platform.deliver(batch(function("late"), runtime_done("first")))
        await held
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == ["line", "late"]
    assert not any("did not answer" in line for line in platform.extension.output)


async def test_disk_full_during_the_suspension_is_reported_at_once(s3_env: S3Environment) -> None:
    """The message appears while loading is suspended, and the records stay in memory until they are uploaded."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), command=boot_with(LONG_SUSPENSION)) as platform:
        held = await begin(platform)
        assert platform.extension.shipper
        resource.prlimit(platform.extension.shipper, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await platform.deliver(batch(function("no room")))
        await platform.wait_until(lambda: any(str(s3_env.spool) in line for line in platform.extension.output))
        assert not loaded(platform.extension)
        await platform.deliver(batch(runtime_done("first")))
        await held
        await platform.shutdown()
    assert lines_of(await s3_env.arrived()) == ["line", "no room"]


@pytest.mark.parametrize(("flush", "connects"), [("invocation", True), ("adaptive", True), ("size", False)])
async def test_first_connection_is_opened_during_init_if_the_first_invocation_flushes(
    s3_env: S3Environment, flush: str, *, connects: bool
) -> None:
    """The first handshake at INVOKE would delay the response of a small function; without a flush there is none."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH=flush)) as platform:
        await platform.start()
        await wait_until_loaded(platform.extension)
        await asyncio.to_thread(process_group.settle, platform.extension.pid)
        assert bool(s3_env.proxy._writers) is connects
        await platform.shutdown()
