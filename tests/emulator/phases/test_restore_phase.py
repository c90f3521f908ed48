"""SnapStart: an Init phase at publish time, a snapshot, and its restore before the first invocation."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from logferry.emulator.clock import PlatformClock
from logferry.emulator.lambda_service import EnvironmentConfig, Lambda, Limits
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = datetime(2031, 3, 3, 8, 0, tzinfo=UTC).timestamp()
FOUR_WEEKS = 28 * 24 * 3600.0
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "session"}


def snap_start(harness: EmulatorHarness, *runtime_arguments: str, **fields: Any) -> EnvironmentConfig:
    """Return a configuration with SnapStart."""
    config: EnvironmentConfig = harness.config(*runtime_arguments, initialization_type="snap-start", **fields)
    return config


@pytest.mark.parametrize("arguments", [["restore"], []], ids=["with a hook", "without a hook"])
async def test_the_first_invocation_restores_the_snapshot_of_an_old_init(tmp_path: Path, arguments: list[str]) -> None:
    """Init records have the time of publication, restore records that of the invocation.

    Extensions receive no restore event.
    """
    harness = EmulatorHarness(tmp_path)
    async with Lambda(snap_start(harness, *arguments, clock=PlatformClock(PUBLISHED))) as lam:
        assert lam.timeline.of("freeze")
        await lam.skip_time(FOUR_WEEKS)
        result = await lam.invoke({})
        await lam.invoke({"linger": 0.2})
        await lam.shutdown()
    assert (result.status, result.init_ms) == ("success", None)
    times = {record["type"]: record["time"][:10] for record in reversed(harness.records())}
    assert times["platform.initReport"] == "2031-03-03"
    for kind in ("platform.restoreStart", "platform.restoreRuntimeDone", "platform.restoreReport", "platform.start"):
        assert times[kind] == "2031-03-31"
    types = harness.types()
    assert types.index("platform.restoreReport") < types.index("platform.start")
    assert types.count("platform.restoreStart") == 1, "only the first invocation restores"
    assert ("function" in types) == bool(arguments)
    by_type = {record["type"]: record["record"] for record in reversed(harness.records())}
    assert (by_type["platform.initStart"]["initializationType"], by_type["platform.initStart"]["phase"]) == (
        "snap-start",
        "snap-start",
    )
    assert by_type["platform.restoreReport"]["status"] == "success"
    assert by_type["platform.restoreReport"]["metrics"]["durationMs"] >= 0
    assert "restoreDurationMs" in by_type["platform.report"]["metrics"]
    assert [event["eventType"] for event in harness.events()] == ["INVOKE", "INVOKE", "SHUTDOWN"]


async def test_a_python_function_is_restored_through_the_official_runtime_client(tmp_path: Path) -> None:
    """AWS's client calls `/restore/next` at the end of its Init phase."""
    function = [sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"]
    async with Lambda(snap_start(EmulatorHarness(tmp_path), function=function)) as lam:
        assert not lam.timeline.of("next", "runtime")
        result = await lam.invoke({"marker": "restored"})
    assert result.status == "success"
    assert [e.detail["status"] for e in lam.timeline.of("restore")] == ["begin", "success"]


@pytest.mark.parametrize(
    ("argument", "error_type"),
    [("restore-error", "Runtime.AfterRestoreError"), ("restore-hang", "SnapStartTimeoutException")],
)
async def test_a_failed_restore_fails_the_invocation(tmp_path: Path, argument: str, error_type: str) -> None:
    """A reported error and an exceeded limit reset the environment."""
    harness = EmulatorHarness(tmp_path)
    config = snap_start(harness, argument, limits=Limits(restore_seconds=0.3))
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        await lam.wait_idle()
    assert (result.status, result.error_type) == ("crash", error_type)
    assert lam.timeline.of("restore")[-1].detail["status"] == error_type
    assert lam.timeline.of("shutdown")[0].detail["reason"] == "failure"


async def test_processes_fetch_their_keys_from_the_credentials_endpoint(tmp_path: Path) -> None:
    """The keys are not in the environment of any process, and the endpoint needs the token."""
    harness = EmulatorHarness(tmp_path)
    config = snap_start(harness, extensions={"ext": harness.extension(at_start="variables")}, environment=KEYS)
    async with Lambda(config) as lam, aiohttp.ClientSession() as session:
        result = await lam.invoke({"variables": True})
        extension = harness.notes("variables")[0]["variables"]
        for variables in (extension, json.loads(result.payload)["variables"]):
            assert not KEYS.keys() & variables.keys()
            assert "AWS_LAMBDA_LOG_STREAM_NAME" not in variables
            headers = {"Authorization": variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
            async with session.get(variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=headers) as response:
                keys = await response.json()
            assert (keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"]) == ("id", "secret", "session")
            assert keys["Expiration"].endswith("Z")
        url = extension["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        async with session.get(url, headers={"Authorization": "wrong"}) as response:
            assert response.status == 404
