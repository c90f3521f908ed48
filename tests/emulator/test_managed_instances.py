"""Managed Instances: concurrent invocations, reduced records, no freeze."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logferry.emulator.lambda_service import EnvironmentConfig, Lambda, Limits
from support.emulator_harness import EmulatorHarness, delivered, process_state

if TYPE_CHECKING:
    from pathlib import Path

PYTHON_FUNCTION = [sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"]


def managed(harness: EmulatorHarness, **fields: Any) -> EnvironmentConfig:
    """Return a configuration for three concurrent invocations."""
    fields.setdefault("extensions", {"ext": harness.extension(events=["SHUTDOWN"], api="telemetry")})
    fields.setdefault("runtime_processes", 2)
    config: EnvironmentConfig = harness.config(
        initialization_type="lambda-managed-instances", max_concurrency=3, **fields
    )
    return config


def overlapping(lam: Lambda) -> bool:
    """Return whether the first two invocations were both dispatched before a response."""
    kinds = [e.kind for e in lam.timeline if e.kind in ("invoke", "response")]
    return kinds[:2] == ["invoke", "invoke"]


async def test_several_processes_serve_concurrent_invocations(tmp_path: Path) -> None:
    """A runtime without concurrency runs in two processes."""
    async with Lambda(managed(EmulatorHarness(tmp_path))) as lam:
        results = await asyncio.gather(*(lam.invoke({"sleep": 0.3}) for _ in range(3)))
    assert [result.status for result in results] == ["success"] * 3
    assert overlapping(lam)


async def test_an_invocation_waits_for_a_free_worker(tmp_path: Path) -> None:
    """Two invocations that wait for one worker never share it."""
    config = managed(EmulatorHarness(tmp_path), runtime_processes=1)
    async with Lambda(config) as lam:
        results = await asyncio.gather(*(lam.invoke({"sleep": 0.1}) for _ in range(4)))
    assert [result.status for result in results] == ["success"] * 4


async def test_one_runtime_with_several_workers_serves_concurrent_invocations(tmp_path: Path) -> None:
    """AWS's Python client forks its workers, and each sends its lines over a separate socket."""
    config = managed(EmulatorHarness(tmp_path), function=PYTHON_FUNCTION, runtime_processes=1)
    async with Lambda(config) as lam:
        results = await asyncio.gather(
            *(lam.invoke({"marker": marker, "lines": 200, "sleep_ms": 200}) for marker in "ab")
        )
    assert [result.status for result in results] == ["success"] * 2
    assert overlapping(lam)
    lines = [record["record"] for record in lam.records_sent if record["type"] == "function"]
    assert sorted(lines) == sorted(f"{marker}-{number}" for marker in "ab" for number in range(200))


async def test_records_are_reduced(tmp_path: Path) -> None:
    """There is no runtimeDone, and the report has only the duration."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(managed(harness)) as lam:
        result = await lam.invoke({"print": "a line\n"})
        await delivered(lam, "platform.report")
        await lam.shutdown()
    assert "platform.runtimeDone" not in [record["type"] for record in lam.records_sent]
    (report,) = [r["record"] for r in harness.records() if r["type"] == "platform.report"]
    assert set(report["metrics"]) == {"durationMs"}
    assert [span["name"] for span in report["spans"]] == ["responseLatency", "responseDuration"]
    assert (report["requestId"], report["status"]) == (result.request_id, "success")
    (start,) = [r["record"] for r in harness.records() if r["type"] == "platform.start"]
    assert start["functionArn"].endswith(":function:function")
    (init,) = [r["record"] for r in harness.records() if r["type"] == "platform.initStart"]
    assert (init["initializationType"], init["phase"]) == ("lambda-managed-instances", "init")
    assert [event["eventType"] for event in harness.events()] == ["SHUTDOWN"]


async def test_register_rejects_invoke(tmp_path: Path) -> None:
    """The response is 403 Extension.InvalidEventType, and the environment cannot start."""
    harness = EmulatorHarness(tmp_path)
    config = managed(harness, extensions={"ext": harness.extension()}, limits=Limits(other_init_seconds=0.5))
    async with Lambda(config):
        pass
    (response,) = harness.responses("/register")
    assert (response["status"], json.loads(response["body"])["errorType"]) == (403, "Extension.InvalidEventType")
    assert "INVOKE" in response["body"]


@pytest.mark.parametrize(
    ("behaviour", "path", "status"),
    [
        ({"api": "logs", "subscription": {"schemaVersion": "2020-08-15"}}, "/logs", 404),
        ({"api": "telemetry", "subscription": {"schemaVersion": "2022-12-13"}}, "/telemetry", 400),
        ({"api": "telemetry"}, "/telemetry", 200),
    ],
)
async def test_subscribe_accepts_one_api_and_one_schema(
    tmp_path: Path, behaviour: dict[str, Any], path: str, status: int
) -> None:
    """Only the Telemetry API with 2025-01-29 exists."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(managed(harness, extensions={"ext": harness.extension(events=["SHUTDOWN"], **behaviour)})):
        pass
    assert harness.responses(path)[0]["status"] == status


async def test_an_idle_environment_is_not_frozen(tmp_path: Path) -> None:
    """`freeze=True` has no effect."""
    async with Lambda(managed(EmulatorHarness(tmp_path), freeze=True)) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        assert "T" not in {process_state(pid) for pid in lam.runtime_pids() + lam.extension_pids("ext")}
    assert not lam.timeline.of("freeze")


async def test_a_timeout_ends_one_invocation_only(tmp_path: Path) -> None:
    """Other invocations continue in the same sandbox."""
    config = managed(EmulatorHarness(tmp_path), timeout_seconds=0.4)
    async with Lambda(config) as lam:
        late, good = await asyncio.gather(lam.invoke({"sleep": 1}), lam.invoke({}))
        again = await lam.invoke({})
    assert (late.status, good.status, again.status) == ("timeout", "success", "success")
    assert len(lam.timeline.of("init")) == 2, "begin and end of a single Init phase"


async def test_a_failure_ends_every_invocation_and_resets_once(tmp_path: Path) -> None:
    """The next invocation starts a new sandbox."""
    async with Lambda(managed(EmulatorHarness(tmp_path))) as lam:
        results = await asyncio.gather(lam.invoke({"sleep": 2}), lam.invoke({"exit": 1}))
        await lam.wait_idle()
        assert len([e for e in lam.timeline.of("shutdown") if e.detail["phase"] == "begin"]) == 1
        again = await lam.invoke({})
    assert [result.error_type for result in results] == ["Runtime.ExitError"] * 2
    assert again.status == "success"
