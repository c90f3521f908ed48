"""The Init and Invoke phases: real runtimes, responses to the caller, and failures."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import logferry.emulator.samples
from logferry.emulator.lambda_service import EnvironmentConfig, Lambda
from support.emulator_harness import EmulatorHarness, has_ended

SAMPLES = Path(logferry.emulator.samples.__file__).parent


async def test_invoke_works_with_the_official_python_runtime_client(tmp_path: Path) -> None:
    """AWS's own client works with the emulated Runtime API."""
    function = [sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"]
    config = EmulatorHarness(tmp_path).config(function=function)
    async with Lambda(config) as lam:
        result = await lam.invoke({"lines": 2, "marker": "m"})
        failed = await lam.invoke({"raise": "on request"})
    assert (result.status, json.loads(result.payload)) == ("success", {"lines": 2, "marker": "m"})
    assert (failed.status, failed.error_type) == ("error", "RuntimeError")
    assert [line for _, line in lam.console][:2] == ["m-0\n", "m-1\n"]


async def test_invoke_works_with_a_bash_runtime() -> None:
    """Any process that uses the Runtime API is a runtime."""
    config = EnvironmentConfig(function=["bash", str(SAMPLES / "bootstrap.sh")])
    async with Lambda(config) as lam:
        result = await lam.invoke({"marker": "from-bash"})
        again = await lam.invoke({"marker": "again"})
    assert (result.status, json.loads(result.payload)) == ("success", {"marker": "from-bash"})
    assert (again.status, again.init_ms) == ("success", None)
    assert list(lam.console) == [("runtime", "from-bash-0\n"), ("runtime", "again-0\n")]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_invoke_works_with_a_node_runtime() -> None:
    """Any process that uses the Runtime API is a runtime."""
    config = EnvironmentConfig(function=["node", str(SAMPLES / "runtime.mjs")])
    async with Lambda(config) as lam:
        result = await lam.invoke({"marker": "from-node", "lines": 2})
        failed = await lam.invoke({"raise": "on request"})
    assert (result.status, json.loads(result.payload)) == ("success", {"marker": "from-node", "lines": 2})
    assert (failed.status, failed.error_type) == ("error", "Runtime.Error")
    assert [line for _, line in lam.console][:2] == ["from-node-0\n", "from-node-1\n"]


async def test_the_runtime_receives_the_headers_of_an_invocation(tmp_path: Path) -> None:
    """Request id, deadline, ARN and trace id are sent with every invocation."""
    async with Lambda(EmulatorHarness(tmp_path).config(function_name="orders", extensions={})) as lam:
        result = await lam.invoke(b"{}")
    headers = json.loads(result.payload)["headers"]
    assert headers["Lambda-Runtime-Aws-Request-Id"] == result.request_id
    assert headers["Lambda-Runtime-Invoked-Function-Arn"].endswith(":function:orders")
    assert headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert int(headers["Lambda-Runtime-Deadline-Ms"]) > 1_700_000_000_000


@pytest.mark.parametrize(
    ("event", "status", "error_type"),
    [("next_first", 403, "InvalidStateTransition"), ("wrong_id", 400, "InvalidRequestID")],
)
async def test_the_runtime_api_rejects_a_protocol_violation(
    tmp_path: Path, event: str, status: int, error_type: str
) -> None:
    """A runtime processes one invocation at a time and may respond only to that one."""
    async with Lambda(EmulatorHarness(tmp_path).config(extensions={})) as lam:
        result = await lam.invoke({event: True})
    code, rejection = json.loads(result.payload)["rejection"]
    assert (code, rejection["errorType"]) == (status, error_type)


async def test_the_caller_receives_the_response_before_the_extension_is_done(tmp_path: Path) -> None:
    """The response is returned when the runtime posts it; the invocation ends after the last `/next`."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(on_invoke="sleep:0.4")})
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        assert result.post_runtime_ms is None
        assert not lam.timeline.of("invoke-end")
        await lam.wait_idle()
        assert result.post_runtime_ms is not None
        assert result.post_runtime_ms > 300


async def test_an_invocation_waits_for_the_end_of_the_previous_one(tmp_path: Path) -> None:
    """An environment processes one invocation at a time, including the work of the extensions."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(on_invoke="sleep:0.2")})
    async with Lambda(config) as lam:
        first, second = await asyncio.gather(lam.invoke({}), lam.invoke({}))
        await lam.wait_idle()
    ends = lam.timeline.of("invoke-end")
    begins = lam.timeline.of("invoke")
    assert [e.subject for e in begins] == [first.request_id, second.request_id]
    assert ends[0].at_ms <= begins[1].at_ms
    assert len(lam.timeline.of("freeze")) == 1, "an environment with a pending invocation is not idle"


async def test_a_function_timeout_resets_the_environment_and_keeps_tmp(tmp_path: Path) -> None:
    """All processes are killed, /tmp is kept, and the next invocation starts all processes again."""
    harness = EmulatorHarness(tmp_path)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    async with Lambda(harness.config(timeout_seconds=1.5, tmp_directory=tmp)) as lam:
        await lam.invoke({})
        (tmp / "kept").touch()
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        late = await lam.invoke({"sleep": 5})
        await lam.wait_idle()
        assert all(has_ended(pid) for pid in pids)
        again = await lam.invoke({})
        await lam.shutdown()
    assert (late.status, late.error_type) == ("timeout", "Sandbox.Timedout")
    assert b"Task timed out after 1.50 seconds" in late.payload
    assert [e["shutdownReason"] for e in harness.events() if e["eventType"] == "SHUTDOWN"] == ["timeout", "spindown"]
    assert again.status == "success"
    assert again.init_ms is not None
    assert (tmp / "kept").exists()
    phases = [r["record"]["phase"] for r in harness.records() if r["type"] == "platform.initStart"]
    assert phases == ["init", "invoke"]
    done = [r["record"]["status"] for r in lam.records_sent if r["type"] == "platform.runtimeDone"]
    assert done == ["success", "timeout", "success"]


async def test_a_timeout_of_an_extension_resets_the_environment_and_keeps_the_response(tmp_path: Path) -> None:
    """The function timeout includes extensions, and an earlier response is kept."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(timeout_seconds=0.4, extensions={"ext": harness.extension(on_invoke="sleep:0.7")})
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        await lam.wait_idle()
        assert lam.timeline.of("shutdown")[0].detail["reason"] == "timeout"
    assert result.status == "success"
    assert [e["eventType"] for e in harness.events()] == ["INVOKE", "SHUTDOWN"], "the event waits for the next /next"


async def test_an_exit_of_the_runtime_fails_the_invocation(tmp_path: Path) -> None:
    """The caller receives Runtime.ExitError and the extension a SHUTDOWN with reason `failure`."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        crashed = await lam.invoke({"exit": 3, "print": "last line"})
        again = await lam.invoke({})
    assert (crashed.status, crashed.error_type) == ("crash", "Runtime.ExitError")
    assert b"exit status 3" in crashed.payload
    assert ("runtime", "last line") in lam.console
    assert harness.events()[1]["shutdownReason"] == "failure"
    assert again.status == "success"


@pytest.mark.parametrize(
    ("on_invoke", "error_type", "message"),
    [
        ("exit:0", "Extension.Crash", "exit code 0"),
        ("exit:7", "Extension.Crash", "exit status 7"),
        ("exit-error", "Extension.ExitError", "Extension.Fake"),
    ],
)
async def test_an_exit_of_an_extension_fails_the_invocation(
    tmp_path: Path, on_invoke: str, error_type: str, message: str
) -> None:
    """Any exit code fails it, and `exit/error` takes precedence over the exit that follows."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(on_invoke=on_invoke)})
    async with Lambda(config) as lam:
        result = await lam.invoke({"sleep": 1})
    assert (result.status, result.error_type) == ("crash", error_type)
    assert message in result.payload.decode()


async def test_an_extension_killed_while_frozen_fails_the_next_invocation(tmp_path: Path) -> None:
    """The next invocation fails at once, and the one after it starts all processes again."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        os.kill(lam.extension_pids("ext")[0], signal.SIGKILL)
        await lam.timeline.wait_for(lambda e: e.kind == "crash")
        failed = await lam.invoke({})
        again = await lam.invoke({})
    assert (failed.status, failed.error_type) == ("crash", "Extension.Crash")
    assert b"signal: SIGKILL" in failed.payload
    assert again.status == "success"


async def test_invoke_raises_after_shutdown(tmp_path: Path) -> None:
    """An environment that has ended accepts no invocation."""
    async with Lambda(EmulatorHarness(tmp_path).config(extensions={})) as lam:
        await lam.invoke({})
        await lam.shutdown()
        with pytest.raises(RuntimeError, match="has been shut down"):
            await lam.invoke({})
