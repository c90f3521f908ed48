"""Much and long: a flood for seconds, ten thousand invocations. Memory and descriptors stay where they are."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from support.lambda_stub import BareLambda
from support.large_batches import MIB, descriptors, mebibyte, resident
from support.platform_events import batch, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced

if TYPE_CHECKING:
    from support.s3_environment import Scene


@pytest.mark.slow
async def test_fifty_megabytes_a_second_are_shipped_or_counted(scene: Scene) -> None:
    """A flood for some seconds: every delivery is answered, memory is bounded, what the spool cannot hold counted."""
    seconds = float(os.environ.get("CHAOS_FLOOD_SECONDS", "3"))
    settings = scene.settings(LOGFERRY_SPOOL_BYTES="32MiB")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        held = asyncio.create_task(platform.hand_out(invoke_event("flood", seconds=120)))
        await platform.deliver(batch(start("flood")))
        shipper = life.shipper
        loop, most = asyncio.get_running_loop(), 0
        until = loop.time() + seconds
        number = 0
        while loop.time() < until:
            await platform.deliver(mebibyte(f"f{number}"))
            most = max(most, resident(life.shipper))
            number += 1
            await asyncio.sleep(max(0.0, number / 50 - (loop.time() - until + seconds)))
        await platform.deliver(batch(runtime_done("flood")))
        await held
        await platform.deliver(batch(report_of("flood")))
        assert life.shipper == shipper, life.output
        await platform.shutdown(seconds=2)
        stock = assert_balanced(platform, await scene.arrived(), scene.spool)
    print(f"{number} MiB in {seconds:g} s, at most {most // MIB} MiB resident, {stock}")
    assert platform.repeated == []
    assert most < 200 * MIB


@pytest.mark.slow
async def test_ten_thousand_invocations_leave_memory_and_descriptors_flat(scene: Scene) -> None:
    """Soak: the second half of ten thousand invocations holds no more memory and no more descriptors than the first."""
    samples: list[dict[str, int]] = []
    async with BareLambda(scene.settings()) as platform:
        life = await platform.start()
        for number in range(10_000):
            await platform.invoke([f"line {number}"])
            if number % 1000 == 999:
                pids = [pid for pid in (life.pid, life.shipper) if pid]
                samples.append(
                    {
                        "rss": sum(resident(pid) for pid in pids),
                        "fds": sum(descriptors(pid) for pid in pids),
                    }
                )
        await platform.shutdown()
        assert_balanced(platform, await scene.arrived(), scene.spool)
    print(samples)
    assert samples[-1]["fds"] <= samples[1]["fds"] + 2
    assert samples[-1]["rss"] <= samples[1]["rss"] * 1.1
