"""Invocations: real runtimes, what their callers get, and what happens when something breaks."""

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
from logferry.emulator.lambda_service import EnvironmentConfig, Lambda, Limits
from support.emulator_harness import Scene, is_gone

SAMPLES = Path(logferry.emulator.samples.__file__).parent


async def test_a_python_function_runs_through_the_official_runtime_client(tmp_path: Path) -> None:
    """The runtime API is the real one: AWS's own client must work with it."""
    function = [sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"]
    config = Scene(tmp_path).config(function=function)
    async with Lambda(config) as lam:
        result = await lam.invoke({"lines": 2, "marker": "m"})
        failed = await lam.invoke({"raise": "as asked"})
    assert (result.status, json.loads(result.payload)) == ("success", {"lines": 2, "marker": "m"})
    assert (failed.status, failed.error_type) == ("error", "RuntimeError")
    assert [line for _, line in lam.console][:2] == ["m-0\n", "m-1\n"]


async def test_a_bash_function_runs() -> None:
    """Any process that speaks the runtime API is a runtime."""
    config = EnvironmentConfig(function=["bash", str(SAMPLES / "bootstrap.sh")])
    async with Lambda(config) as lam:
        result = await lam.invoke({"marker": "from-bash"})
        again = await lam.invoke({"marker": "again"})
    assert (result.status, json.loads(result.payload)) == ("success", {"marker": "from-bash"})
    assert (again.status, again.init_ms) == ("success", None)
    assert list(lam.console) == [("runtime", "from-bash-0\n"), ("runtime", "again-0\n")]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_a_node_function_runs() -> None:
    """Any process that speaks the runtime API is a runtime."""
    config = EnvironmentConfig(function=["node", str(SAMPLES / "runtime.mjs")])
    async with Lambda(config) as lam:
        result = await lam.invoke({"marker": "from-node", "lines": 2})
        failed = await lam.invoke({"raise": "as asked"})
    assert (result.status, json.loads(result.payload)) == ("success", {"marker": "from-node", "lines": 2})
    assert (failed.status, failed.error_type) == ("error", "Runtime.Error")
    assert [line for _, line in lam.console][:2] == ["from-node-0\n", "from-node-1\n"]


async def test_the_runtime_is_told_what_it_needs_to_know(tmp_path: Path) -> None:
    """Request id, deadline, ARN and trace id come with every invocation."""
    async with Lambda(Scene(tmp_path).config(function_name="orders", extensions={})) as lam:
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
async def test_a_runtime_that_breaks_the_protocol_is_refused(
    tmp_path: Path, event: str, status: int, error_type: str
) -> None:
    """One invocation at a time, and only the one in hand may be answered."""
    async with Lambda(Scene(tmp_path).config(extensions={})) as lam:
        result = await lam.invoke({event: True})
    code, refusal = json.loads(result.payload)["refusal"]
    assert (code, refusal["errorType"]) == (status, error_type)


async def test_the_caller_has_its_answer_before_the_extension_is_done(tmp_path: Path) -> None:
    """The response is returned when the runtime posts it; the invocation ends when everybody asks for the next."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(on_invoke="sleep:0.4")})
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        assert result.post_runtime_ms is None
        assert not lam.timeline.of("invoke-end")
        await lam.wait_idle()
        assert result.post_runtime_ms is not None
        assert result.post_runtime_ms > 300


async def test_the_next_invocation_waits_for_the_end_of_the_last(tmp_path: Path) -> None:
    """One environment, one invocation at a time, the extensions' work included."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(on_invoke="sleep:0.2")})
    async with Lambda(config) as lam:
        first, second = await asyncio.gather(lam.invoke({}), lam.invoke({}))
        await lam.wait_idle()
    ends = lam.timeline.of("invoke-end")
    begins = lam.timeline.of("invoke")
    assert [e.subject for e in begins] == [first.request_id, second.request_id]
    assert ends[0].at_ms <= begins[1].at_ms
    assert len(lam.timeline.of("freeze")) == 1, "there is nothing to freeze for while another one waits"


async def test_a_function_that_overruns_is_reset_and_its_tmp_is_kept(tmp_path: Path) -> None:
    """The caller is told, everything is killed, /tmp stays, and the next invocation starts everything again."""
    scene = Scene(tmp_path)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    async with Lambda(scene.config(timeout_seconds=1.5, tmp_directory=tmp)) as lam:
        await lam.invoke({})
        (tmp / "kept").touch()
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        late = await lam.invoke({"sleep": 5})
        await lam.wait_idle()
        assert all(is_gone(pid) for pid in pids)
        again = await lam.invoke({})
        await lam.shutdown()
    assert (late.status, late.error_type) == ("timeout", "Sandbox.Timedout")
    assert b"Task timed out after 1.50 seconds" in late.payload
    assert [e["shutdownReason"] for e in scene.events() if e["eventType"] == "SHUTDOWN"] == ["timeout", "spindown"]
    assert again.status == "success"
    assert again.init_ms is not None
    assert (tmp / "kept").exists()
    phases = [r["record"]["phase"] for r in scene.records() if r["type"] == "platform.initStart"]
    assert phases == ["init", "invoke"]
    done = [r["record"]["status"] for r in lam.records_sent if r["type"] == "platform.runtimeDone"]
    assert done == ["success", "timeout", "success"]


async def test_an_extension_that_overruns_costs_the_environment_but_not_the_caller(tmp_path: Path) -> None:
    """The timeout covers extensions too; the answer given before it stands."""
    scene = Scene(tmp_path)
    config = scene.config(timeout_seconds=0.4, extensions={"ext": scene.extension(on_invoke="sleep:0.7")})
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        await lam.wait_idle()
        assert lam.timeline.of("shutdown")[0].detail["reason"] == "timeout"
    assert result.status == "success"
    assert [e["eventType"] for e in scene.events()] == ["INVOKE", "SHUTDOWN"], "remembered until its next /next"


async def test_a_runtime_that_exits_fails_the_invocation(tmp_path: Path) -> None:
    """Runtime.ExitError for the caller, reason `failure` for the extension, a fresh start for the next."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config()) as lam:
        crashed = await lam.invoke({"exit": 3, "print": "last words"})
        again = await lam.invoke({})
    assert (crashed.status, crashed.error_type) == ("crash", "Runtime.ExitError")
    assert b"exit status 3" in crashed.payload
    assert ("runtime", "last words") in lam.console
    assert scene.events()[1]["shutdownReason"] == "failure"
    assert again.status == "success"


@pytest.mark.parametrize(
    ("on_invoke", "error_type", "message"),
    [
        ("exit:0", "Extension.Crash", "exit code 0"),
        ("exit:7", "Extension.Crash", "exit status 7"),
        ("exit-error", "Extension.ExitError", "Extension.Fake"),
    ],
)
async def test_an_extension_that_ends_fails_the_invocation(
    tmp_path: Path, on_invoke: str, error_type: str, message: str
) -> None:
    """Whatever its exit code; and an exit/error keeps its name over the exit that follows it."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(on_invoke=on_invoke)})
    async with Lambda(config) as lam:
        result = await lam.invoke({"sleep": 1})
    assert (result.status, result.error_type) == ("crash", error_type)
    assert message in result.payload.decode()


async def test_an_extension_killed_while_frozen_fails_the_next_invocation(tmp_path: Path) -> None:
    """It fails at once, and the one after that starts everything again."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config()) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        os.kill(lam.extension_pids("ext")[0], signal.SIGKILL)
        await lam.timeline.wait_for(lambda e: e.kind == "crash")
        failed = await lam.invoke({})
        again = await lam.invoke({})
    assert (failed.status, failed.error_type) == ("crash", "Extension.Crash")
    assert b"signal: SIGKILL" in failed.payload
    assert again.status == "success"


@pytest.mark.parametrize(
    ("wish", "error_type"),
    [
        ({"before_next": "exit:1"}, "Extension.Crash"),
        ({"before_next": "init-error"}, "Extension.InitError"),
        ({"at_start": "exit:1"}, "Extension.Crash"),
    ],
)
async def test_an_extension_that_fails_in_init_fails_twice(
    tmp_path: Path, wish: dict[str, str], error_type: str
) -> None:
    """Init fails, is run again inside the invocation as a suppressed init, and fails the invocation."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(extensions={"ext": scene.extension(**wish)})) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", error_type)
    inits = [(e.detail["phase"], e.detail["status"]) for e in lam.timeline.of("init")]
    assert inits == [("init", "begin"), ("init", error_type), ("invoke", "begin"), ("invoke", error_type)]


async def test_an_extension_that_cannot_be_executed_is_a_launch_error(tmp_path: Path) -> None:
    """A file without the x bit, or not a program at all, in /opt/extensions."""
    script = tmp_path / "not-executable"
    script.write_text("#!/bin/sh\n")
    async with Lambda(Scene(tmp_path).config(extensions={"ext": [str(script)]})) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Extension.LaunchError")
    assert not [e for e in lam.timeline.of("process") if e.subject == "runtime"], "the runtime is never started"


async def test_a_function_that_cannot_be_executed_is_an_invalid_entrypoint(tmp_path: Path) -> None:
    """A command that is not there fails the invocation, and not the emulator."""
    async with Lambda(Scene(tmp_path).config(function=["/nowhere/bootstrap"])) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Runtime.InvalidEntrypoint")


def test_a_configuration_that_cannot_work_is_refused() -> None:
    """No command, or an extension that could not be told from the runtime."""
    with pytest.raises(ValueError, match="argument vector is needed"):
        EnvironmentConfig(function=[])
    with pytest.raises(ValueError, match="cannot begin with 'runtime'"):
        EnvironmentConfig(function=["f"], extensions={"runtime": ["x"]})


async def test_an_init_error_of_the_runtime_reaches_the_caller(tmp_path: Path) -> None:
    """The caller gets what the runtime said, not a paraphrase."""
    async with Lambda(Scene(tmp_path).config("init-error")) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Runtime.ImportModuleError")
    assert json.loads(result.payload)["errorMessage"] == "no module named app"


async def test_an_init_that_takes_too_long_is_retried_inside_the_invocation(tmp_path: Path) -> None:
    """Ten seconds on Lambda; then the function's own timeout."""
    scene = Scene(tmp_path)
    limits = Limits(on_demand_init_seconds=0.3, shutdown_seconds=0.2)
    config = scene.config("never", timeout_seconds=0.3, limits=limits)
    async with Lambda(config) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("timeout", "Sandbox.Timedout")
    assert [e.detail["phase"] for e in lam.timeline.of("init")] == ["init", "init", "invoke", "invoke"]


async def test_provisioned_concurrency_inits_before_anybody_invokes(tmp_path: Path) -> None:
    """On-demand waits for the first invocation; the other kinds do not."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(initialization_type="provisioned-concurrency")) as lam:
        assert lam.timeline.of("init")[-1].detail["status"] == "success"
        result = await lam.invoke({})
    assert result.init_ms is None


async def test_an_ended_environment_takes_no_invocation(tmp_path: Path) -> None:
    """A new environment is a new Lambda."""
    async with Lambda(Scene(tmp_path).config(extensions={})) as lam:
        await lam.invoke({})
        await lam.shutdown()
        with pytest.raises(RuntimeError, match="has been shut down"):
            await lam.invoke({})
