"""Subscriptions through the Telemetry API and the Logs API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from logferry.emulator.lambda_service import Lambda, TelemetryBehaviour
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path

SUBSCRIPTIONS = (
    ("/2022-07-01/telemetry", "Telemetry.SubscriptionClosed"),
    ("/2020-08-15/logs", "Logs.SubscriptionClosed"),
)


async def test_subscribe_is_rejected_after_init(tmp_path: Path) -> None:
    """A subscription after the Init phase is a 403 with `SubscriptionClosed`."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam, aiohttp.ClientSession(f"http://{lam.runtime_api}") as session:
        await lam.invoke({})
        identifier = harness.responses("/register")[0]["headers"]["Lambda-Extension-Identifier"]
        for path, error_type in SUBSCRIPTIONS:
            async with session.put(path, data=b"{}", headers={"Lambda-Extension-Identifier": identifier}) as response:
                assert (response.status, (await response.json())["errorType"]) == (403, error_type)


@pytest.mark.parametrize(
    ("behaviour", "api", "status", "error_type"),
    [
        (TelemetryBehaviour(telemetry_status=202), "telemetry", 202, "Telemetry.NotSupported"),
        (TelemetryBehaviour(telemetry_status=500), "telemetry", 500, "InternalServerError"),
        (TelemetryBehaviour(rejected_schemas=frozenset({"2025-01-29"})), "telemetry", 400, "ValidationError"),
        (TelemetryBehaviour(logs_status=202), "logs", 202, "Logs.NotSupported"),
        (TelemetryBehaviour(), "logs", 400, "Logs.ValidationError"),
    ],
)
async def test_a_configured_subscription_failure_leaves_the_function_working(
    tmp_path: Path, behaviour: TelemetryBehaviour, api: str, status: int, error_type: str
) -> None:
    """Tests use it for a client's fallback."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(api=api)}, telemetry=behaviour)
    async with Lambda(config) as lam:
        result = await lam.invoke({})
    (response,) = harness.responses("/telemetry") + harness.responses("/logs")
    assert (response["status"], json.loads(response["body"])["errorType"]) == (status, error_type)
    assert result.status == "success"
    assert not lam.records_sent


async def test_a_missing_telemetry_api_returns_404(tmp_path: Path) -> None:
    """A server that does not have the path returns 404."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(telemetry=TelemetryBehaviour(telemetry_status=404))) as lam:
        await lam.invoke({})
    assert harness.responses("/telemetry")[0]["status"] == 404
