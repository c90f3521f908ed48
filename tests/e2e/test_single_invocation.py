"""An environment that lives for one short invocation at a small CPU share stores its lines.

The rules are Lambda's: an invocation is extended at most to its deadline, SHUTDOWN follows, and SIGKILL after
2,000 ms. Afterwards /tmp is lost too, so only objects in S3 count.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from benchmark.quota import SHARE_AT_128_MB, Quota, why_impossible
from logferry.cli.run import argv
from support.end_to_end import arrived_in_s3, lines_of, to_s3
from support.lambda_stub import BareLambda
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

TIMEOUT_SECONDS = 3.0
"""Default timeout of a function, in seconds."""
SHUTDOWN_SECONDS = 2.0
"""Duration of the Shutdown phase with an external extension, in seconds."""
LINES = ["line 0", "line 1", "line 2"]
IN_QUOTA = ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"')
"""Command that moves itself into the control group of its first argument and executes the other ones."""

pytestmark = pytest.mark.skipif(bool(why_impossible()), reason=str(why_impossible()))


async def _deliver(platform: BareLambda) -> None:
    """Deliver the lines, the end of the invocation, and its report."""
    await platform.deliver(batch(start("only"), *map(function, LINES)))
    await platform.deliver(batch(runtime_done("only")))
    await platform.deliver(batch(report_of("only")))


async def _live_once(platform: BareLambda) -> None:
    """Run the extension for one invocation, from its start to SIGKILL."""
    await platform.start(at_once=True)
    delivering = asyncio.create_task(_deliver(platform))
    invoked = asyncio.create_task(platform.hand_out(invoke_event("only", seconds=TIMEOUT_SECONDS)))
    # Without a request for the next event by the deadline, Lambda resets the environment; SHUTDOWN follows either way.
    await asyncio.wait({invoked}, timeout=TIMEOUT_SECONDS)
    ending = asyncio.create_task(platform.shutdown(seconds=SHUTDOWN_SECONDS))
    await asyncio.wait({ending}, timeout=SHUTDOWN_SECONDS)
    await platform.kill_group()
    delivering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await delivering
    await asyncio.gather(invoked, ending)


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(SHARE_AT_128_MB, id="128 MB"),
        pytest.param(2 * SHARE_AT_128_MB, id="256 MB"),
        pytest.param(1.0, id="1769 MB"),
    ],
)
async def test_single_invocation_stores_its_lines_at_any_share(
    s3: S3Server, bucket: str, tmp_path: Path, share: float
) -> None:
    """Three lines of one invocation, with a timeout of 3 s, are in S3 when the environment has ended."""
    settings = to_s3(s3, bucket, LOGFERRY_SPOOL_DIR=str(tmp_path / "spool"))
    with Quota(share) as quota:
        quota.impose()
        command = [*IN_QUOTA, str(quota.procs_file), *argv()]
        async with BareLambda(settings, command=command) as platform:
            await _live_once(platform)
    assert lines_of(await arrived_in_s3(s3, bucket)) == LINES
