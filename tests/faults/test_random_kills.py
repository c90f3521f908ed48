"""Hundreds of kills at random moments: delivered + waiting + reported lost = accepted, and nothing twice.

Two kinds of death: the shipper alone (its supervisor replaces it), and the whole process group with /tmp kept (on
Lambda an Extension.Crash and a reset: only the records count). Each test prints its seed, and CHAOS_SEED repeats it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import arrived_in
from support.lambda_stub import BareLambda
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.process_kill import SIGNALS, numbers, seed_of_this_run, strike_down
from support.reconciliation import assert_balanced, gaps

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from support.s3_environment import Scene


KILLS = int(os.environ.get("CHAOS_KILLS", "25"))
"""In each of the random tests' environments; several run side by side."""


async def _life_under_fire(platform: BareLambda, rng: random.Random, *, kills: int, group: bool) -> int:
    """Invocations without a pause, and kills at random moments until there were enough; how many invocations."""
    life = await platform.start()
    number = 0
    for _ in range(kills):
        strike = asyncio.get_running_loop().call_later(
            rng.random() ** 3 * 0.5, lambda: _strike(platform, rng.choice(SIGNALS), group=group)
        )
        while not strike.cancelled() and strike.when() > asyncio.get_running_loop().time():
            await _one_invocation(platform, rng, number, tolerant=group)
            number += 1
        if group:
            await life.process.wait()
            await platform.until_gone(life)
            life = await platform.start()
        await _one_invocation(platform, rng, number, tolerant=False)  # so that no six deaths come in a row
        number += 1
    return number


def _strike(platform: BareLambda, number: int, *, group: bool) -> None:
    if group:
        os.killpg(platform.life.pid, number)
    else:
        strike_down(platform.life.shipper, number)


async def _one_invocation(platform: BareLambda, rng: random.Random, number: int, *, tolerant: bool) -> None:
    """An invocation and its deliveries; where the group may die in it, what was not accepted is given up with it."""
    request = f"{os.urandom(4).hex()}-{number}"
    held = asyncio.create_task(platform.hand_out(invoke_event(request)))
    size = rng.choice((10, 200, 20_000))
    bodies = [batch(start(request))]
    bodies += [
        batch(*(function(f"{request} {part}-{n} {'x' * rng.randrange(size)}") for n in range(8))) for part in "ab"
    ]
    bodies += [batch(runtime_done(request)), batch(report_of(request))]
    for body in bodies:
        if tolerant:
            if await platform.post(body) == 200:
                platform.accepted.append(body)
            else:
                platform.repeated.append(body)
        else:
            await platform.deliver(body)
    took = await held
    assert tolerant or took < 9


@pytest.mark.slow
async def test_shippers_killed_at_random_hundreds_of_times_lose_nothing(scene: Scene, tmp_path: Path) -> None:
    """The shipper alone, in four environments at once, two shipping to S3 and two to a directory."""
    seed = seed_of_this_run()

    async def fight(index: int) -> None:
        spool, out = tmp_path / f"spool{index}", tmp_path / f"out{index}"
        settings = scene.settings(
            LOGFERRY_SPOOL_DIR=str(spool), LOGFERRY_FLUSH=("invocation", "adaptive", "size", "invocation")[index]
        )
        settings |= {"LOGFERRY_FLUSH_BYTES": "64KiB"} if index == 2 else {}
        if index > 1:
            settings["LOGFERRY_DESTINATION"] = f"file://{out}"
        else:
            settings["LOGFERRY_DESTINATION"] += f"/env{index}"
        async with BareLambda(settings) as platform:
            count = await _life_under_fire(platform, numbers(seed + index), kills=KILLS, group=False)
            assert platform.life.process.returncode is None
            await platform.shutdown(seconds=8)
            objects = arrived_in(out) if index > 1 else [o for o in await scene.arrived() if f"/env{index}/" in o.key]
            stock = assert_balanced(platform, objects, spool)
        assert len(platform.lives) == 1
        assert (stock.waiting.total(), stock.reported_lost) == (0, 0)
        assert gaps(objects) == {}
        print(f"environment {index}: {count} invocations, {KILLS} kills, {stock}")

    await asyncio.gather(*map(fight, range(4)))


@pytest.mark.slow
async def test_extensions_killed_at_random_with_tmp_kept_lose_nothing(scene: Scene, tmp_path: Path) -> None:
    """The whole group, in four environments at once: the next life in the same /tmp ships what it finds."""
    seed = seed_of_this_run()

    async def fight(index: int) -> None:
        spool, out = tmp_path / f"spool{index}", tmp_path / f"out{index}"
        settings = scene.settings(LOGFERRY_SPOOL_DIR=str(spool), LOGFERRY_FLUSH=("invocation", "time")[index % 2])
        if index > 1:
            settings["LOGFERRY_DESTINATION"] = f"file://{out}"
        else:
            settings["LOGFERRY_DESTINATION"] += f"/env{index}"
        async with BareLambda(settings) as platform:
            count = await _life_under_fire(platform, numbers(seed + index), kills=KILLS, group=True)
            await platform.shutdown(seconds=8)
            objects = arrived_in(out) if index > 1 else [o for o in await scene.arrived() if f"/env{index}/" in o.key]
            stock = assert_balanced(platform, objects, spool)
        assert (stock.waiting.total(), stock.reported_lost) == (0, 0)
        assert gaps(objects) == {}
        print(f"environment {index}: {count} invocations, {KILLS} kills, {stock}")

    await asyncio.gather(*map(fight, range(4)))
