"""Hundreds of kills at random moments: delivered + waiting + reported lost = accepted, and no duplicates.

Two kinds of kill: the shipper alone, which its supervisor replaces, and the whole process group
with /tmp kept. The latter is an Extension.Crash and a reset on Lambda, where only the records
count. Each test prints its seed, and FAULTS_SEED repeats it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import arrived_in
from support.lambda_stub import BareLambda
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.process_kill import SIGNALS, kill_and_wait, seed_from_environment, seeded_random
from support.reconciliation import assert_balanced, gaps

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from support.end_to_end import Arrived
    from support.s3_environment import S3Environment


KILLS = int(os.environ.get("FAULTS_KILLS", "25"))
"""Number of kills in each of a test's environments, which run concurrently."""


async def _invoke_and_kill(platform: BareLambda, rng: random.Random, *, kills: int, group: bool) -> int:
    """Run invocations without a pause and kill at random moments; return the number of invocations."""
    extension = await platform.start()
    number = 0
    for _ in range(kills):
        kill = asyncio.get_running_loop().call_later(
            rng.random() ** 3 * 0.5, lambda: _kill(platform, rng.choice(SIGNALS), group=group)
        )
        while not kill.cancelled() and kill.when() > asyncio.get_running_loop().time():
            await _one_invocation(platform, rng, number, tolerant=group)
            number += 1
        if group:
            await extension.process.wait()
            await platform.wait_until_gone(extension)
            extension = await platform.start()
        await _one_invocation(platform, rng, number, tolerant=False)  # prevents six consecutive crashes
        number += 1
    return number


def _kill(platform: BareLambda, number: int, *, group: bool) -> None:
    if group:
        os.killpg(platform.extension.pid, number)
    else:
        kill_and_wait(platform.extension.shipper, number)


async def _one_invocation(platform: BareLambda, rng: random.Random, number: int, *, tolerant: bool) -> None:
    """Run one invocation; if the whole group may be killed in it, batches that were not accepted are given up."""
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


@dataclass(frozen=True)
class _Environment:
    """One of the concurrent environments: 0 and 1 store to S3, 2 and 3 to a directory."""

    index: int
    s3_env: S3Environment
    tmp_path: Path

    @property
    def spool(self) -> Path:
        """Return the spool directory."""
        return self.tmp_path / f"spool{self.index}"

    def settings(self, **more: str) -> dict[str, str]:
        """Return the settings, with a separate spool and destination."""
        settings = self.s3_env.settings(LOGFERRY_SPOOL_DIR=str(self.spool), **more)
        if self.index > 1:
            settings["LOGFERRY_DESTINATION"] = f"file://{self.tmp_path}/out{self.index}"
        else:
            settings["LOGFERRY_DESTINATION"] += f"/env{self.index}"
        return settings

    async def arrived(self) -> list[Arrived]:
        """Return the objects of this environment."""
        if self.index > 1:
            return arrived_in(self.tmp_path / f"out{self.index}")
        return [one for one in await self.s3_env.arrived() if f"/env{self.index}/" in one.key]


async def _run_environment(environment: _Environment, seed: int, *, group: bool, **settings: str) -> int:
    """Invoke and kill, shut down and reconcile; return the number of runs of the extension."""
    async with BareLambda(environment.settings(**settings)) as platform:
        rng = seeded_random(seed + environment.index)
        count = await _invoke_and_kill(platform, rng, kills=KILLS, group=group)
        assert platform.extension.process.returncode is None
        await platform.shutdown(seconds=8)
        objects = await environment.arrived()
        account = assert_balanced(platform, objects, environment.spool)
    assert (account.waiting.total(), account.reported_lost) == (0, 0)
    assert gaps(objects) == {}
    print(f"environment {environment.index}: {count} invocations, {KILLS} kills, {account}")
    return len(platform.processes)


@pytest.mark.slow
async def test_shipper_killed_at_random_loses_nothing(s3_env: S3Environment, tmp_path: Path) -> None:
    """Only the shipper is killed, in four concurrent environments: two store to S3, two to a directory."""
    seed = seed_from_environment()
    flushes = ("invocation", "adaptive", "size", "invocation")
    runs = await asyncio.gather(
        *(
            _run_environment(
                _Environment(index, s3_env, tmp_path),
                seed,
                group=False,
                LOGFERRY_FLUSH=flush,
                **({"LOGFERRY_FLUSH_BYTES": "64KiB"} if flush == "size" else {}),
            )
            for index, flush in enumerate(flushes)
        )
    )
    assert runs == [1, 1, 1, 1]


@pytest.mark.slow
async def test_extension_killed_at_random_loses_nothing(s3_env: S3Environment, tmp_path: Path) -> None:
    """The whole group is killed, in four concurrent environments; the next run in the same /tmp stores the rest."""
    seed = seed_from_environment()
    runs = await asyncio.gather(
        *(
            _run_environment(_Environment(index, s3_env, tmp_path), seed, group=True, LOGFERRY_FLUSH=flush)
            for index, flush in enumerate(("invocation", "time", "invocation", "time"))
        )
    )
    assert runs == [KILLS + 1] * 4
