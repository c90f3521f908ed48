"""Sustained load: a flood for seconds, and ten thousand invocations. Memory and descriptors do not grow."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from support.lambda_stub import BareLambda
from support.large_batches import MIB, one_mib_batch, open_descriptors, resident_bytes
from support.platform_events import batch, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced

if TYPE_CHECKING:
    from support.s3_environment import S3Environment


@pytest.mark.slow
async def test_flood_of_fifty_megabytes_per_second_is_stored_or_counted(s3_env: S3Environment) -> None:
    """During a flood every batch is accepted, memory is bounded, and records beyond the spool limit are counted."""
    seconds = float(os.environ.get("FAULTS_FLOOD_SECONDS", "3"))
    settings = s3_env.settings(LOGFERRY_SPOOL_BYTES="32MiB")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        held = asyncio.create_task(platform.hand_out(invoke_event("flood", seconds=120)))
        await platform.deliver(batch(start("flood")))
        shipper = extension.shipper
        loop, most = asyncio.get_running_loop(), 0
        until = loop.time() + seconds
        number = 0
        while loop.time() < until:
            await platform.deliver(one_mib_batch(f"f{number}"))
            most = max(most, resident_bytes(extension.shipper))
            number += 1
            await asyncio.sleep(max(0.0, number / 50 - (loop.time() - until + seconds)))
        await platform.deliver(batch(runtime_done("flood")))
        await held
        await platform.deliver(batch(report_of("flood")))
        assert extension.shipper == shipper, extension.output
        await platform.shutdown(seconds=2)
        account = assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    print(f"{number} MiB in {seconds:g} s, at most {most // MIB} MiB resident, {account}")
    assert platform.repeated == []
    assert 0 < most < 200 * MIB


@pytest.mark.slow
async def test_ten_thousand_invocations_do_not_increase_memory_or_descriptors(s3_env: S3Environment) -> None:
    """The second half of ten thousand invocations uses no more memory and descriptors than the first half."""
    samples: list[dict[str, int]] = []
    async with BareLambda(s3_env.settings()) as platform:
        extension = await platform.start()
        for number in range(10_000):
            await platform.invoke([f"line {number}"])
            if number % 1000 == 999:
                pids = [pid for pid in (extension.pid, extension.shipper) if pid]
                samples.append(
                    {
                        "rss": sum(resident_bytes(pid) for pid in pids),
                        "fds": sum(open_descriptors(pid) for pid in pids),
                    }
                )
        await platform.shutdown()
        assert_balanced(platform, await s3_env.arrived(), s3_env.spool)
    print(samples)
    assert 0 < samples[-1]["fds"] <= samples[1]["fds"] + 2
    assert samples[-1]["rss"] <= samples[1]["rss"] * 1.1
