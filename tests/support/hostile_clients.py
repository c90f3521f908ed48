"""An environment at work while other processes of the environment send requests to its listener."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from support.lambda_stub import BareLambda
from support.large_batches import MIB
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import ledger, lines_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.s3_environment import S3Environment


RESPONSE_SECONDS = 5.0
"""Maximum time to the response to a batch, in seconds.

The platform's own limit is not documented; the emulator uses 5 s.
"""


MEMORY_BYTES = 160 * MIB
"""Maximum memory of the shipper under attack, in bytes: 45 MB at rest, and two bodies of 8 MiB at a time."""


@contextlib.asynccontextmanager
async def running_platform(s3_env: S3Environment, **settings: str) -> AsyncIterator[BareLambda]:
    """Start an environment whose shipper has loaded its libraries; the bootstrap server has separate tests."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time", **settings)) as platform:
        await platform.start()
        held = asyncio.create_task(platform.hand_out(invoke_event("warm")))
        await platform.deliver(batch(start("warm"), function("warm"), runtime_done("warm")))
        await held
        yield platform


async def assert_intact(platform: BareLambda, s3_env: S3Environment, *, shipper: int | None) -> list[str]:
    """Shut down and return all lines; the shipper must be the same process, and all accepted records must be stored."""
    assert platform.extension.shipper == shipper, platform.extension.output
    await platform.deliver(batch(function("end"), report_of("warm")))
    await platform.shutdown()
    account = ledger(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert not account.missing, account
    return lines_of(objects)


async def timed(platform: BareLambda, line: str) -> float:
    """Return the time until the response to a batch of one line, in seconds."""
    began = time.monotonic()
    await platform.deliver(batch(function(line)))
    return time.monotonic() - began
