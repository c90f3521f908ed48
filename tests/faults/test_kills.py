"""A shipper that is killed at chosen points: each accepted record is delivered once, and no invocation fails.

The points are: before and after storing, between upload and removal, between append and response,
at a seal, during recovery, and during the last upload. `test_random_kills` kills at random moments
and kills whole extensions.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.fault_proxy import ARRIVED, RESPONDED, STORED, StageReached
from support.lambda_stub import BareLambda
from support.platform_events import batch, function
from support.process_kill import SIGNALS, kill_and_wait, seed_from_environment, seeded_random
from support.reconciliation import Ledger, assert_balanced, finals, gaps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from support.s3_environment import S3Environment


POLL_SECONDS = 5.0
"""Maximum time of a poll for a point that passes within milliseconds, in seconds."""


async def _when(condition: Callable[[], object]) -> None:
    """Poll in each iteration of the event loop, because the condition holds for less time than a notification takes."""
    until = time.monotonic() + POLL_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the point for the kill was not reached")
        await asyncio.sleep(0)


async def _shut_down_and_check(platform: BareLambda, s3_env: S3Environment) -> Ledger:
    """Shut down: no record is pending or lost, and no segment number is missing."""
    await platform.shutdown()
    account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert (account.waiting.total(), account.reported_lost) == (0, 0)
    assert gaps(objects) == {}
    return account


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stage", [ARRIVED, STORED, RESPONDED])
async def test_shipper_killed_at_a_stage_of_its_upload_stores_each_record_once(
    s3_env: S3Environment, stage: str, number: int
) -> None:
    """Every fifth upload is killed: in flight, after storing, or between the response and the removal."""
    settings = s3_env.settings(LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        extension = await platform.start()

        def kill(seen: StageReached) -> None:
            if seen.stage == stage and s3_env.proxy.count(stage) % 5 == 2:
                kill_and_wait(extension.shipper, number)

        s3_env.proxy.at_stage = kill
        held = [await platform.invoke([f"{n}-{line}" for line in range(3)]) for n in range(20)]
        s3_env.proxy.at_stage = lambda _: None
        await _shut_down_and_check(platform, s3_env)
    assert max(held) < 9
    assert sum("the shipper ended" in line for line in extension.output) >= 4


async def test_shipper_killed_during_its_last_upload_leaves_one_final_object(s3_env: S3Environment) -> None:
    """Killed at SHUTDOWN: the next shipper stores the rest within 2,000 ms, and exactly one object is final."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        extension = await platform.start()
        for n in range(3):
            await platform.invoke([f"line {n}"])
        killed: list[StageReached] = []

        def kill(seen: StageReached) -> None:
            if not killed and seen.stage == ARRIVED:
                killed.append(seen)
                kill_and_wait(extension.shipper, signal.SIGKILL)

        s3_env.proxy.at_stage = kill
        took = await platform.shutdown()
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
    assert killed
    assert took < 2
    for name, ends in finals(objects).items():
        highest = max(int(o.metadata["segment"]) for o in objects if o.metadata["environment"] == name)
        assert ends == [highest]


@contextlib.asynccontextmanager
async def _warm_platform(s3_env: S3Environment, *, flush: str) -> AsyncIterator[BareLambda]:
    """Start an extension and run one invocation, which loads its libraries."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH=flush)) as platform:
        await platform.start()
        await platform.invoke(["warm"])
        yield platform


@pytest.mark.parametrize("number", SIGNALS)
async def test_shipper_killed_between_append_and_response_stores_each_record_once(
    s3_env: S3Environment, number: int
) -> None:
    """The segment has grown and the platform has no response: it delivers the batch again, which is stored once."""
    async with _warm_platform(s3_env, flush="time") as platform:
        for n in range(12):
            has_grown = _growth_of_open(s3_env.spool)
            body = batch(*(function(f"{n}-{line} {'x' * 900}") for line in range(500)))
            delivered = asyncio.create_task(platform.deliver(body))
            await _when(has_grown)
            kill_and_wait(platform.extension.shipper, number)
            await delivered
            # The successor suspends its imports during an invocation, and only a completed invocation resets the
            # count of crashes.
            await platform.invoke([], seconds=60)
        account = await _shut_down_and_check(platform, s3_env)
    print(f"{len(platform.repeated)} batches were delivered again")
    assert account.delivered == account.accepted, "a batch that is delivered again is stored once"


def _growth_of_open(spool: Path) -> Callable[[], bool]:
    """Return a condition: the open segments are larger than they are now."""

    def size() -> int:
        try:
            return sum(path.stat().st_size for path in spool.glob("*.open"))
        except FileNotFoundError:
            return 0

    before = size()
    return lambda: size() > before


@pytest.mark.parametrize("number", SIGNALS)
async def test_shipper_killed_at_a_seal_continues_the_numbering(s3_env: S3Environment, number: int) -> None:
    """Killed as soon as a sealed segment is visible: between its renaming, the next open file and its upload."""
    async with _warm_platform(s3_env, flush="invocation") as platform:
        for n in range(10):
            is_sealed = _seal_or_upload(s3_env)
            running = asyncio.create_task(platform.invoke([f"sealed {n}"]))
            await _when(is_sealed)
            kill_and_wait(platform.extension.shipper, number)
            assert await running < 9
        await _shut_down_and_check(platform, s3_env)


def _seal_or_upload(s3_env: S3Environment) -> Callable[[], bool]:
    """Return a condition: a sealed segment is visible, or another upload has arrived since now."""
    before = s3_env.proxy.count(ARRIVED)
    return lambda: bool(list(s3_env.spool.glob("*.sealed"))) or s3_env.proxy.count(ARRIVED) > before


async def test_shipper_killed_during_recovery_loses_nothing(s3_env: S3Environment) -> None:
    """Killed again while it reads the journal of its predecessor, at most twice in a row so that restarts continue."""
    rng = seeded_random(seed_from_environment())
    settings = s3_env.settings(LOGFERRY_FLUSH="time")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        for n in range(12):
            held: asyncio.Task[float] | None = None
            for _ in range(2):
                shipper = extension.shipper
                kill_and_wait(shipper, rng.choice(SIGNALS))
                await _when(lambda shipper=shipper: extension.shipper not in (None, shipper))  # type: ignore[misc]
                # Not before the kill: a loaded shipper completes an event at once, possibly before it exits.
                held = held or asyncio.create_task(platform.invoke([f"{n}-{line}" for line in range(50)]))
                await asyncio.sleep(rng.random() * 0.03)
            assert held
            assert await held < 9
        await _shut_down_and_check(platform, s3_env)
