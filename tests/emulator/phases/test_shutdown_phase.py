"""Freeze and thaw between invocations, the Shutdown phase, and resets."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.lambda_service import Lambda, Limits
from support.emulator_harness import EmulatorHarness, all_stopped, has_ended, process_state

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_idle_environment_freezes_all_processes(tmp_path: Path) -> None:
    """SIGSTOP reaches the runtime, every extension and their children; SIGCONT precedes the next event."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(extensions={"ext": harness.extension(at_start="child")})) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        assert len(pids) == 3
        assert await all_stopped(pids)
        await lam.invoke({"linger": 0.2})
        assert "T" not in {process_state(pid) for pid in pids}
    kinds = [e.kind for e in lam.timeline if e.kind in ("freeze", "thaw", "invoke")]
    assert kinds[:4] == ["invoke", "freeze", "thaw", "invoke"]
    assert all(has_ended(pid) for pid in pids), "a stopped process must not remain"


async def test_an_idle_environment_does_not_freeze_with_freeze_false(tmp_path: Path) -> None:
    """`freeze=False` leaves all processes running."""
    async with Lambda(EmulatorHarness(tmp_path).config(freeze=False)) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        assert "T" not in {process_state(pid) for pid in lam.extension_pids("ext")}


async def test_a_frozen_extension_receives_no_batch(tmp_path: Path) -> None:
    """The report of an invocation is produced before the freeze and delivered with the next invocation."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        first = await lam.invoke({})
        await lam.idle_for(0.3)
        assert "platform.report" not in harness.types()
        second = await lam.invoke({"linger": 0.2})
        await lam.shutdown()
    frozen = lam.timeline.of("freeze")[0].at_ms
    thawed = lam.timeline.of("thaw")[0].at_ms
    assert thawed - frozen >= 300
    assert not [e for e in lam.timeline.of("delivery") if frozen < e.at_ms - e.detail["duration_ms"] < thawed]
    types_and_requests = [(r["type"], r["record"].get("requestId")) for r in harness.records() if "Id" in str(r)]
    assert types_and_requests.index(("platform.report", first.request_id)) < types_and_requests.index(
        ("platform.start", second.request_id)
    )


async def test_a_spindown_ends_the_runtime_before_the_extension(tmp_path: Path) -> None:
    """The runtime receives SIGTERM, then the extension SHUTDOWN; both end without SIGKILL."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        await lam.invoke({})
        before = time.time()
        result = await lam.shutdown()
    assert result.killed == ()
    assert result.exit_codes == {"ext": 0, "runtime": -15}
    kinds = [(e.kind, e.subject) for e in lam.timeline]
    assert kinds.index(("exit", "runtime")) < len(kinds) - 1 - kinds[::-1].index(("event", "ext"))
    assert 1.5 < harness.events()[-1]["deadlineMs"] / 1000 - before < 2.5


async def test_records_are_delivered_during_shutdown(tmp_path: Path) -> None:
    """The last report reaches an extension that listens until its end."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(
        api="telemetry", on_shutdown="sleep:0.3", subscription={"buffering": {"timeoutMs": 30000}}
    )
    async with Lambda(harness.config(extensions={"ext": extension})) as lam:
        await lam.invoke({"print": "a line\n"})
        await lam.shutdown()
    assert harness.types()[-3:] == ["function", "platform.runtimeDone", "platform.report"]
    assert lam.records_delivered == lam.records_sent == harness.records()


async def test_a_process_that_exceeds_its_shutdown_limit_is_killed_and_named(tmp_path: Path) -> None:
    """The limit is 2 s in total, of which 0.3 s are for the runtime (shortened here)."""
    harness = EmulatorHarness(tmp_path)
    limits = Limits(shutdown_seconds=0.5, runtime_share_seconds=0.2)
    config = harness.config("ignore-sigterm", extensions={"ext": harness.extension(on_shutdown="hang")}, limits=limits)
    async with Lambda(config) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.killed == ("runtime", "ext")
    assert result.exit_codes == {"ext": -9, "runtime": -9}
    assert 500 <= result.duration_ms < 1000
    begin, runtime = lam.timeline.of("shutdown")[0], lam.timeline.of("kill", "runtime")[0]
    assert 200 <= runtime.at_ms - begin.at_ms < 400


async def test_an_extension_not_registered_for_shutdown_is_killed_at_once(tmp_path: Path) -> None:
    """It receives no event and does not count as late."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(events=["INVOKE"])})
    async with Lambda(config) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.killed == ()
    assert result.exit_codes["ext"] == -9
    assert lam.timeline.of("kill", "ext")[0].detail == {"why": "not registered for SHUTDOWN"}


async def test_the_runtime_receives_sigkill_without_extensions(tmp_path: Path) -> None:
    """SIGTERM is sent only in environments with an extension."""
    async with Lambda(EmulatorHarness(tmp_path).config(extensions={})) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.exit_codes == {"runtime": -9}


@pytest.mark.parametrize("with_shutdown", [True, False])
async def test_no_process_remains_after_the_end(tmp_path: Path, with_shutdown: bool) -> None:
    """Even an orphaned child of an extension has ended."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(extensions={"ext": harness.extension(at_start="child")})) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        if with_shutdown:
            await lam.shutdown()
            assert all(has_ended(pid) for pid in pids)
    assert len(pids) == 3
    assert all(has_ended(pid) for pid in pids)


async def test_a_busy_extension_is_killed_when_it_does_not_request_its_shutdown_event(tmp_path: Path) -> None:
    """The limit starts with the reset, even if the extension does not call `/next`."""
    harness = EmulatorHarness(tmp_path)
    limits = Limits(shutdown_seconds=0.3)
    config = harness.config(extensions={"ext": harness.extension(on_invoke="hang")}, timeout_seconds=0.3, limits=limits)
    async with Lambda(config) as lam:
        await lam.invoke({})
        await lam.wait_idle()
    end = lam.timeline.of("shutdown")[-1].detail
    assert (end["reason"], end["killed"]) == ("timeout", ["ext"])
    assert [event["eventType"] for event in harness.events()] == ["INVOKE"]


async def test_a_created_tmp_directory_is_removed(tmp_path: Path) -> None:
    """The emulator removes the directory that it created."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(extensions={"ext": harness.extension(at_start="variables")})) as lam:
        await lam.invoke({})
        tmp = harness.notes("variables")[0]["variables"]["TMPDIR"]
        assert os.path.isdir(tmp)  # noqa: PTH112, ASYNC240 - a local stat
    assert not os.path.exists(tmp)  # noqa: PTH110, ASYNC240 - a local stat
