"""Faults of the first destination with a fallback destination: no loss, the time limits, and the proof over both."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from support.both_destinations import together
from support.command_line import run
from support.end_to_end import Arrived, arrived_in, arrived_in_s3, assert_exactly_once, environment
from support.fault_proxy import ARRIVED, STORED, StageReached
from support.lambda_stub import BareLambda
from support.process_kill import kill_and_wait
from support.reconciliation import Ledger, assert_balanced, finals, gaps, lines_of
from support.s3_faults import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.s3_environment import S3Environment

SLACK_SECONDS = 1.0
"""Allowance for a loaded machine, in seconds, above the documented limits."""
HELD_SECONDS = 3.0
"""Limit of a held invocation without a timeout, in seconds: less than the default of LOGFERRY_UPLOAD_TIMEOUT."""
RECOVERY_SECONDS = 20.0


@pytest_asyncio.fixture
async def second(s3: S3Server) -> AsyncIterator[str]:
    """Provide the name of an empty bucket for the fallback destination."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    await s3.create_bucket(name)
    yield name
    await s3.delete_bucket(name)


class Both:
    """Both destinations of an extension in S3, with a fault proxy whose faults concern the first bucket."""

    def __init__(self, s3_env: S3Environment, second: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.env = s3_env
        self.second = second
        self.copies = 0
        s3_env.proxy.faulty_bucket = s3_env.bucket
        for name, value in s3_env.s3.environment(s3_env.s3.admin).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    def settings(self, **more: str) -> dict[str, str]:
        """Return the settings of the extension, with one object for each invocation."""
        fallback = {"LOGFERRY_FALLBACK_DESTINATION": f"s3://{self.second}/logs", "LOGFERRY_FLUSH": "invocation"}
        return self.env.settings(**{**fallback, **more})

    def attempts(self, bucket: str) -> int:
        """Return the number of requests to a bucket."""
        return sum(one.stage == ARRIVED and one.bucket == bucket for one in self.env.proxy.stages)

    async def objects(self) -> list[Arrived]:
        """Return each segment of both destinations once."""
        objects, self.copies = together(await self.env.arrived(), await arrived_in_s3(self.env.s3, self.second))
        return objects

    async def balanced(self, platform: BareLambda) -> Ledger:
        """Assert that each accepted record was stored once, and that `logferry verify` proves it."""
        account = assert_balanced(platform, objects := await self.objects(), self.env.spool)
        assert (account.waiting.total(), account.reported_lost) == (0, 0)
        assert gaps(objects) == {}
        report = await self.verify()
        assert report["status"] == 0, report
        assert report["fallback"]["copies"] == self.copies
        return account

    async def verify(self) -> dict[str, Any]:
        """Return the report of `logferry verify` over both destinations."""
        urls = [f"s3://{self.env.bucket}/logs", "--fallback", f"s3://{self.second}/logs"]
        done = await asyncio.to_thread(run, "verify", *urls, "--json")
        report: dict[str, Any] = json.loads(done.stdout)
        return report


@pytest.fixture
def both(s3_env: S3Environment, second: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Both:
    """Provide two buckets behind a fault proxy."""
    return Both(s3_env, second, monkeypatch, tmp_path / "cache")


async def test_forbidden_bucket_costs_one_attempt_and_the_fallback_stores_everything(both: Both) -> None:
    """No invocation is held for longer than an upload takes, and one message has the remedy."""
    async with BareLambda(both.settings()) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        await both.env.proxy.set_fault(Fault.ACCESS_DENIED)
        held = [await platform.invoke([f"line {n}"]) for n in range(6)]
        assert await platform.shutdown() < 2
        await both.balanced(platform)
    assert both.attempts(both.env.bucket) == 2
    assert max(held) < HELD_SECONDS
    assert lines_of(await both.env.arrived()) == ["before"]
    assert lines_of(await both.objects()) == ["before", *(f"line {n}" for n in range(6))]
    messages = [line for line in extension.output if "logferry warning" in line]
    assert len(messages) == 1, messages
    assert "the fallback destination stores the records" in messages[0]
    assert f"s3://{both.second}/logs" in messages[0]
    assert "AccessDenied" in messages[0]


async def test_first_destination_is_used_again_after_an_outage(both: Both) -> None:
    """Failures, the fallback, and the return: all records are in one of both, once."""
    async with BareLambda(both.settings()) as platform:
        extension = await platform.start()
        await platform.invoke(["before"])
        await both.env.proxy.set_fault(Fault.INTERNAL_ERROR)
        async with asyncio.timeout(RECOVERY_SECONDS):
            while not await arrived_in_s3(both.env.s3, both.second):
                await platform.invoke(["outage"])
                await asyncio.sleep(0.2)
        await both.env.proxy.set_fault(Fault.NONE)
        stored = len(await both.env.arrived())
        async with asyncio.timeout(RECOVERY_SECONDS):
            while len(await both.env.arrived()) == stored:
                await platform.invoke(["recovering"])
                await asyncio.sleep(0.2)
        used = both.attempts(both.second)
        await platform.invoke(["after"])
        await platform.shutdown()
        assert both.attempts(both.second) == used
        await both.balanced(platform)
    messages = [line for line in extension.output if "logferry warning" in line]
    assert ["stay in the spool" in line for line in messages] == [True, False, False]
    assert "the fallback destination stores the records" in messages[1]
    assert "the destination works again" in messages[2]


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.SLOW_DRIP])
async def test_invocations_are_held_for_one_upload_timeout_in_total(both: Both, fault: Fault) -> None:
    """Also those that make a trial of the first destination. Objects without a response become copies."""
    settings = both.settings(LOGFERRY_UPLOAD_TIMEOUT="1")
    async with BareLambda(settings) as platform:
        await platform.start()
        await platform.invoke(["before"])
        await both.env.proxy.set_fault(fault)
        held = []
        for number in range(6):
            held.append(await platform.invoke([f"line {number}"]))
            await asyncio.sleep(0.5)
        assert await arrived_in_s3(both.env.s3, both.second), "the fallback is used during the outage"
        assert await platform.shutdown() < 2
        await both.balanced(platform)
    assert max(held) < 1 + SLACK_SECONDS
    assert (both.copies > 0) == (fault is Fault.SLOW_DRIP)
    assert finals(await both.objects()) != {}


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.HANG])
async def test_shutdown_stores_the_last_records_in_a_directory_if_s3_is_down(
    s3_env: S3Environment, tmp_path: Path, fault: Fault
) -> None:
    """Without it, they would be lost with the execution environment. One failure is sufficient."""
    directory = tmp_path / "efs"
    settings = s3_env.settings(LOGFERRY_FLUSH="time", LOGFERRY_FALLBACK_DESTINATION=f"file://{directory}")
    async with BareLambda(settings) as platform:
        await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"])
        assert not directory.exists()
        await s3_env.proxy.set_fault(fault)
        assert await platform.shutdown() < 2
        objects, _ = together(await s3_env.arrived(), arrived_in(directory))
        account = assert_balanced(platform, objects, s3_env.spool)
        assert platform.extension.process.returncode == 0
    assert (account.waiting.total(), account.reported_lost, gaps(objects)) == (0, 0, {})
    assert [one.metadata.get("final") for one in arrived_in(directory)][-1] == "true"


@pytest.mark.parametrize("stage", [ARRIVED, STORED])
async def test_shipper_killed_between_both_destinations_loses_nothing(both: Both, stage: str) -> None:
    """The first bucket has stored the object without a response, and the shipper is killed at the second one."""
    async with BareLambda(both.settings()) as platform:
        extension = await platform.start()
        await both.env.proxy.set_fault(Fault.RESET_AFTER_STORING)
        kills = 0

        def kill(seen: StageReached) -> None:
            nonlocal kills
            if seen.bucket == both.second and seen.stage == stage and kills < 2:
                kills += 1
                kill_and_wait(extension.shipper, signal.SIGKILL)

        both.env.proxy.at_stage = kill
        async with asyncio.timeout(2 * RECOVERY_SECONDS):
            while kills < 2:
                await platform.invoke(["line"])
                await asyncio.sleep(0.3)
        both.env.proxy.at_stage = lambda _: None
        await platform.shutdown()
        await both.balanced(platform)
    assert both.copies >= 1
    assert sum("the shipper ended" in line for line in extension.output) == kills


async def test_both_destinations_that_fail_keep_the_records_in_the_spool(both: Both) -> None:
    """One message names both, and the next start in the same /tmp stores everything in the first destination."""
    both.env.proxy.faulty_bucket = ""
    await both.env.proxy.set_fault(Fault.ACCESS_DENIED)
    async with BareLambda(both.settings()) as platform:
        extension = await platform.start()
        held = [await platform.invoke([f"line {n}"]) for n in range(4)]
        assert await platform.shutdown() < 2
        await both.env.ship_leftovers(platform)
        await both.balanced(platform)
    assert max(held) < HELD_SECONDS
    assert await arrived_in_s3(both.env.s3, both.second) == []
    messages = [line for line in extension.output if "fail" in line]
    assert len(messages) == 1, messages
    assert "uploads to the destination and to the fallback destination fail" in messages[0]
    assert all(f"s3://{bucket}/logs" in messages[0] for bucket in (both.env.bucket, both.second))


async def test_function_with_a_missing_bucket_has_all_records_in_the_fallback(
    s3_env: S3Environment, tmp_path: Path
) -> None:
    """The complete way under the emulator, with the response of the real server: 404."""
    settings = s3_env.settings(
        LOGFERRY_DESTINATION="s3://test-does-not-exist/logs",
        LOGFERRY_FALLBACK_DESTINATION=f"s3://{s3_env.bucket}/fallback",
    )
    async with environment(tmp_path, settings) as service:
        for number in range(3):
            await service.invoke({"marker": f"m{number}"})
        await service.wait_idle()
        await service.shutdown()
        objects = await s3_env.arrived()
    assert_exactly_once(service, objects)
    assert all(one.key.startswith("fallback/function=orders/") for one in objects)
    assert all(one.metadata["fallback"] == "true" for one in objects)
