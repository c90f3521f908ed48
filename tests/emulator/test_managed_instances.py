"""Managed Instances: many invocations at once, fewer events, no freeze."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logferry.emulator.lambda_service import EnvironmentConfig, Lambda, Limits
from support.emulator_harness import Scene, delivered, process_state

if TYPE_CHECKING:
    from pathlib import Path

PYTHON_FUNCTION = [sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"]


def managed(scene: Scene, **fields: Any) -> EnvironmentConfig:
    """A configuration for three invocations at once."""
    fields.setdefault("extensions", {"ext": scene.extension(events=["SHUTDOWN"], api="telemetry")})
    fields.setdefault("runtime_processes", 2)
    config: EnvironmentConfig = scene.config(
        initialization_type="lambda-managed-instances", max_concurrency=3, **fields
    )
    return config


def overlapping(lam: Lambda) -> bool:
    """Whether the first two invocations were both handed out before either was answered."""
    kinds = [e.kind for e in lam.timeline if e.kind in ("invoke", "response")]
    return kinds[:2] == ["invoke", "invoke"]


async def test_several_processes_serve_several_invocations_at_once(tmp_path: Path) -> None:
    """A runtime that knows nothing of concurrency, started twice."""
    async with Lambda(managed(Scene(tmp_path))) as lam:
        results = await asyncio.gather(*(lam.invoke({"sleep": 0.3}) for _ in range(3)))
    assert [result.status for result in results] == ["success"] * 3
    assert overlapping(lam)


async def test_invocations_beyond_the_workers_wait_for_one(tmp_path: Path) -> None:
    """Two that wait for the same worker do not both get it."""
    config = managed(Scene(tmp_path), runtime_processes=1)
    async with Lambda(config) as lam:
        results = await asyncio.gather(*(lam.invoke({"sleep": 0.1}) for _ in range(4)))
    assert [result.status for result in results] == ["success"] * 4


async def test_one_runtime_with_workers_of_its_own_serves_several_at_once(tmp_path: Path) -> None:
    """AWS's Python client forks its workers, and each sends its lines over a socket of its own."""
    config = managed(Scene(tmp_path), function=PYTHON_FUNCTION, runtime_processes=1)
    async with Lambda(config) as lam:
        results = await asyncio.gather(
            *(lam.invoke({"marker": marker, "lines": 200, "sleep_ms": 200}) for marker in "ab")
        )
    assert [result.status for result in results] == ["success"] * 2
    assert overlapping(lam)
    lines = [record["record"] for record in lam.records_sent if record["type"] == "function"]
    assert sorted(lines) == sorted(f"{marker}-{number}" for marker in "ab" for number in range(200))


async def test_events_are_reduced(tmp_path: Path) -> None:
    """No runtimeDone; a report of the duration alone, and without waiting for anybody."""
    scene = Scene(tmp_path)
    async with Lambda(managed(scene)) as lam:
        result = await lam.invoke({"print": "a line\n"})
        await delivered(lam, "platform.report")
        await lam.shutdown()
    assert "platform.runtimeDone" not in [record["type"] for record in lam.records_sent]
    (report,) = [r["record"] for r in scene.records() if r["type"] == "platform.report"]
    assert set(report["metrics"]) == {"durationMs"}
    assert [span["name"] for span in report["spans"]] == ["responseLatency", "responseDuration"]
    assert (report["requestId"], report["status"]) == (result.request_id, "success")
    (start,) = [r["record"] for r in scene.records() if r["type"] == "platform.start"]
    assert start["functionArn"].endswith(":function:function")
    (init,) = [r["record"] for r in scene.records() if r["type"] == "platform.initStart"]
    assert (init["initializationType"], init["phase"]) == ("lambda-managed-instances", "init")
    assert [event["eventType"] for event in scene.events()] == ["SHUTDOWN"]


async def test_invoke_may_not_be_registered_for(tmp_path: Path) -> None:
    """403 Extension.InvalidEventType; the extension is unregistered and the environment cannot start."""
    scene = Scene(tmp_path)
    config = managed(scene, extensions={"ext": scene.extension()}, limits=Limits(other_init_seconds=0.5))
    async with Lambda(config):
        pass
    (answer,) = scene.answers("/register")
    assert (answer["status"], json.loads(answer["body"])["errorType"]) == (403, "Extension.InvalidEventType")
    assert "INVOKE" in answer["body"]


@pytest.mark.parametrize(
    ("wish", "path", "status"),
    [
        ({"api": "logs", "subscription": {"schemaVersion": "2020-08-15"}}, "/logs", 404),
        ({"api": "telemetry", "subscription": {"schemaVersion": "2022-12-13"}}, "/telemetry", 400),
        ({"api": "telemetry"}, "/telemetry", 200),
    ],
)
async def test_there_is_one_api_and_one_schema(tmp_path: Path, wish: dict[str, Any], path: str, status: int) -> None:
    """The Telemetry API with 2025-01-29, and no Logs API."""
    scene = Scene(tmp_path)
    async with Lambda(managed(scene, extensions={"ext": scene.extension(events=["SHUTDOWN"], **wish)})):
        pass
    assert scene.answers(path)[0]["status"] == status


async def test_nothing_is_ever_frozen(tmp_path: Path) -> None:
    """Whatever the configuration says."""
    async with Lambda(managed(Scene(tmp_path), freeze=True)) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        assert "T" not in {process_state(pid) for pid in lam.runtime_pids() + lam.extension_pids("ext")}
    assert not lam.timeline.of("freeze")


async def test_an_invocation_that_overruns_ends_alone(tmp_path: Path) -> None:
    """Others go on beside it, in the same life."""
    config = managed(Scene(tmp_path), timeout_seconds=0.4)
    async with Lambda(config) as lam:
        late, good = await asyncio.gather(lam.invoke({"sleep": 1}), lam.invoke({}))
        again = await lam.invoke({})
    assert (late.status, good.status, again.status) == ("timeout", "success", "success")
    assert len(lam.timeline.of("init")) == 2, "begin and end of the one and only init"


async def test_a_failure_breaks_every_invocation_and_resets_once(tmp_path: Path) -> None:
    """And the next invocation starts a new life."""
    async with Lambda(managed(Scene(tmp_path))) as lam:
        results = await asyncio.gather(lam.invoke({"sleep": 2}), lam.invoke({"exit": 1}))
        await lam.wait_idle()
        assert len([e for e in lam.timeline.of("shutdown") if e.detail["phase"] == "begin"]) == 1
        again = await lam.invoke({})
    assert [result.error_type for result in results] == ["Runtime.ExitError"] * 2
    assert again.status == "success"
