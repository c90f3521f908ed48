"""What happens to the processes between invocations and at the end."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.lambda_service import Lambda, Limits
from support.emulator_harness import Scene, is_gone, process_state, stopped

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_idle_environment_is_frozen_to_the_last_process(tmp_path: Path) -> None:
    """SIGSTOP to the runtime, to every extension and to their children; SIGCONT before the next event."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(extensions={"ext": scene.extension(at_start="child")})) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        assert len(pids) == 3
        assert await stopped(pids)
        await lam.invoke({"linger": 0.2})
        assert "T" not in {process_state(pid) for pid in pids}
    kinds = [e.kind for e in lam.timeline if e.kind in ("freeze", "thaw", "invoke")]
    assert kinds[:4] == ["invoke", "freeze", "thaw", "invoke"]
    assert all(is_gone(pid) for pid in pids), "leaving the context leaves nothing, not even what was stopped"


async def test_an_environment_told_not_to_freeze_does_not(tmp_path: Path) -> None:
    """For those who want to look at something else."""
    async with Lambda(Scene(tmp_path).config(freeze=False)) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        assert "T" not in {process_state(pid) for pid in lam.extension_pids("ext")}


async def test_nothing_is_delivered_to_a_frozen_extension(tmp_path: Path) -> None:
    """The report of an invocation is made when the extension is about to be frozen, and comes with the next one."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config()) as lam:
        first = await lam.invoke({})
        await lam.idle_for(0.3)
        assert "platform.report" not in scene.types()
        second = await lam.invoke({"linger": 0.2})
        await lam.shutdown()
    frozen = lam.timeline.of("freeze")[0].at_ms
    thawed = lam.timeline.of("thaw")[0].at_ms
    assert thawed - frozen >= 300
    assert not [e for e in lam.timeline.of("delivery") if frozen < e.at_ms - e.detail["duration_ms"] < thawed]
    types_and_requests = [(r["type"], r["record"].get("requestId")) for r in scene.records() if "Id" in str(r)]
    assert types_and_requests.index(("platform.report", first.request_id)) < types_and_requests.index(
        ("platform.start", second.request_id)
    )


async def test_a_spindown_ends_runtime_and_extension_in_this_order(tmp_path: Path) -> None:
    """SIGTERM to the runtime, SHUTDOWN to the extension with what is left of the time; both end by themselves."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config()) as lam:
        await lam.invoke({})
        before = time.time()
        result = await lam.shutdown()
    assert result.killed == ()
    assert result.exit_codes == {"ext": 0, "runtime": -15}
    kinds = [(e.kind, e.subject) for e in lam.timeline]
    assert kinds.index(("exit", "runtime")) < len(kinds) - 1 - kinds[::-1].index(("event", "ext"))
    assert 1.5 < scene.events()[-1]["deadlineMs"] / 1000 - before < 2.5


async def test_what_happens_during_shutdown_is_still_delivered(tmp_path: Path) -> None:
    """The last report reaches an extension that listens until its end."""
    scene = Scene(tmp_path)
    extension = scene.extension(
        api="telemetry", on_shutdown="sleep:0.3", subscription={"buffering": {"timeoutMs": 30000}}
    )
    async with Lambda(scene.config(extensions={"ext": extension})) as lam:
        await lam.invoke({"print": "a line\n"})
        await lam.shutdown()
    assert scene.types()[-3:] == ["function", "platform.runtimeDone", "platform.report"]
    assert lam.records_delivered == lam.records_sent == scene.records()


async def test_whoever_is_late_is_killed_and_named(tmp_path: Path) -> None:
    """Two seconds in all (less, here), three hundred milliseconds of it the runtime's."""
    scene = Scene(tmp_path)
    limits = Limits(shutdown_seconds=0.5, runtime_share_seconds=0.2)
    config = scene.config("deaf", extensions={"ext": scene.extension(on_shutdown="hang")}, limits=limits)
    async with Lambda(config) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.killed == ("runtime", "ext")
    assert result.exit_codes == {"ext": -9, "runtime": -9}
    assert 500 <= result.duration_ms < 1000
    begin, runtime = lam.timeline.of("shutdown")[0], lam.timeline.of("kill", "runtime")[0]
    assert 200 <= runtime.at_ms - begin.at_ms < 400


async def test_an_extension_that_did_not_ask_for_shutdown_is_killed_at_once(tmp_path: Path) -> None:
    """It is not late: nobody told it."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(events=["INVOKE"])})
    async with Lambda(config) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.killed == ()
    assert result.exit_codes["ext"] == -9
    assert lam.timeline.of("kill", "ext")[0].detail == {"why": "not registered for SHUTDOWN"}


async def test_without_extensions_the_runtime_is_killed_without_a_word(tmp_path: Path) -> None:
    """SIGTERM is for functions with an extension."""
    async with Lambda(Scene(tmp_path).config(extensions={})) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.exit_codes == {"runtime": -9}


@pytest.mark.parametrize("shut_down", [True, False])
async def test_nothing_survives(tmp_path: Path, shut_down: bool) -> None:
    """Not even a child that its parent left behind."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(extensions={"ext": scene.extension(at_start="child")})) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        if shut_down:
            await lam.shutdown()
            assert all(is_gone(pid) for pid in pids)
    assert len(pids) == 3
    assert all(is_gone(pid) for pid in pids)


async def test_a_timeout_gives_a_busy_extension_its_shutdown_when_it_asks(tmp_path: Path) -> None:
    """The clock runs meanwhile: one that does not ask within it is killed."""
    scene = Scene(tmp_path)
    limits = Limits(shutdown_seconds=0.3)
    config = scene.config(extensions={"ext": scene.extension(on_invoke="hang")}, timeout_seconds=0.3, limits=limits)
    async with Lambda(config) as lam:
        await lam.invoke({})
        await lam.wait_idle()
    end = lam.timeline.of("shutdown")[-1].detail
    assert (end["reason"], end["killed"]) == ("timeout", ["ext"])
    assert [event["eventType"] for event in scene.events()] == ["INVOKE"]


async def test_a_temporary_directory_of_ones_own_is_removed(tmp_path: Path) -> None:
    """Unless the user brought it."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(extensions={"ext": scene.extension(at_start="variables")})) as lam:
        await lam.invoke({})
        tmp = scene.notes("variables")[0]["variables"]["TMPDIR"]
        assert os.path.isdir(tmp)  # noqa: PTH112, ASYNC240 - a local stat
    assert not os.path.exists(tmp)  # noqa: PTH110, ASYNC240 - a local stat


async def test_variables_are_those_of_lambda(tmp_path: Path) -> None:
    """An extension has neither handler nor log group, and nothing that begins with an underscore."""
    scene = Scene(tmp_path)
    mine = {"LOGFERRY_DESTINATION": "file:///x", "AWS_ACCESS_KEY_ID": "id", "_X": "hidden"}
    config = scene.config(
        extensions={"ext": scene.extension(at_start="variables")}, environment=mine, handler="a.b", log_format="JSON"
    )
    async with Lambda(config) as lam:
        result = await lam.invoke({"variables": True})
    runtime = json.loads(result.payload)["variables"]
    extension = scene.notes("variables")[0]["variables"]
    shared = {
        "AWS_LAMBDA_RUNTIME_API": lam.runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_REGION": "us-east-1",
        "TZ": ":UTC",
        "LOGFERRY_DESTINATION": "file:///x",
        "AWS_ACCESS_KEY_ID": "id",
    }
    assert shared.items() <= runtime.items()
    assert shared.items() <= extension.items()
    assert runtime["_HANDLER"] == "a.b"
    assert runtime["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/function"
    for hidden in ("_HANDLER", "_X", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "LAMBDA_TASK_ROOT"):
        assert hidden not in extension
    assert "PYTEST_CURRENT_TEST" not in extension, "the emulator's own environment is not the function's"
