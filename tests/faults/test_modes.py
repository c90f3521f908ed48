"""Modes: Managed Instances, SnapStart, provisioned concurrency, suppressed init, and platforms without telemetry."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from support.end_to_end import arrived_in, assert_exactly_once, environment, own_messages
from support.end_to_end import lines_of as lines_delivered_to
from support.fault_proxy import ANSWERED
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, event, function, identity, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, kind_of, lines_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.s3_environment import Scene


MANAGED = "lambda-managed-instances"


AT_ONCE = 16
"""Invocations at a time: what Managed Instances gives one vCPU of Python."""


EMPTY_SECONDS = 1.0


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


async def test_sixteen_invocations_at_once_are_shipped_by_the_timer_and_no_line_is_attributed(scene: Scene) -> None:
    """Managed Instances: SHUTDOWN only, no runtimeDone, no freeze; what belongs to whom is never guessed."""
    settings = scene.settings(LOGFERRY_FLUSH="time", LOGFERRY_FLUSH_SECONDS="0.3")
    async with BareLambda(settings, initialization_type=MANAGED) as platform:
        await platform.start()

        async def one(number: int) -> None:
            await platform.deliver(batch(start(f"r{number}")))
            for line in range(5):
                await platform.deliver(batch(function(f"{number}-{line}")))
                await asyncio.sleep(0)
            await platform.deliver(batch(report_of(f"r{number}")))

        await asyncio.gather(*map(one, range(AT_ONCE)))
        await scene.proxy.until(ANSWERED, 1)
        assert platform.asked == 1
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert platform.registered == [["SHUTDOWN"]]
    assert [wish["schemaVersion"] for wish in platform.subscriptions] == ["2025-01-29"]
    assert len(lines_of(objects)) == AT_ONCE * 5
    assert not [r for one in objects for r in one.records if kind_of(r) == "function" and "requestIdSource" in r]


UNTIL_RESTORED = """
import posix
original, place = posix.urandom, {place!r}
def urandom(size):
    try:
        posix.stat(place)
    except OSError:
        return bytes(range(size))
    return original(size)
posix.urandom = urandom
"""
"""Before the restore every clone draws the same numbers, for they were drawn before the snapshot."""


async def test_clones_of_one_snapshot_write_different_objects(scene: Scene, tmp_path: Path) -> None:
    """SnapStart: two environments with the same state up to their restore; none overwrites what the other stored."""
    restored = tmp_path / "restored"
    command = boot_with(UNTIL_RESTORED.format(place=str(restored)))
    clones = [
        BareLambda(
            scene.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_SPOOL_DIR=str(tmp_path / f"clone{n}")),
            command=command,
            initialization_type="snap-start",
        )
        for n in range(2)
    ]
    async with clones[0], clones[1]:
        for clone in clones:
            await clone.start()
            await clone.deliver(
                batch(event("platform.initStart", {"initializationType": "snap-start", "phase": "init"}))
            )
        restored.touch()
        for number in range(3):
            for name, clone in zip("ab", clones, strict=True):
                await clone.invoke([f"{name}{number}"])
        for clone in clones:
            await clone.shutdown()
        objects = await scene.arrived()
        accepted = clones[0].accepted_records() + clones[1].accepted_records()
    arrived = [identity(r) for one in objects for r in one.records]
    assert sorted(lines_of(objects)) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert sorted(arrived) == sorted(accepted.elements())
    assert gaps(objects) == {}
    assert len({one.metadata["environment"] for one in objects}) == 2


async def test_snapstart_credentials_come_from_the_endpoint_and_only_after_the_restore(scene: Scene) -> None:
    """SnapStart: no keys in the environment; those fetched before the snapshot would be the snapshot's."""
    settings = scene.settings(LOGFERRY_FLUSH="invocation")
    asked: list[str] = []

    async def credentials(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Authorization", ""))
        return web.json_response(
            {
                "AccessKeyId": settings["AWS_ACCESS_KEY_ID"],
                "SecretAccessKey": settings["AWS_SECRET_ACCESS_KEY"],
                "Token": "",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        )

    app = web.Application()
    app.router.add_get("/2021-04-23/credentials", credentials)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    given = {name: value for name, value in settings.items() if name not in KEYS} | {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{runner.addresses[0][1]}/2021-04-23/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "as told",
    }
    try:
        async with BareLambda(given, initialization_type="snap-start") as platform:
            life = await platform.start()
            await platform.deliver(batch(event("platform.initStart", {"phase": "init"})))
            await asyncio.sleep(EMPTY_SECONDS)  # it has loaded its libraries long before, and could have asked
            before_restore = list(asked)
            await platform.invoke(["line"])
            await platform.shutdown()
            assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    finally:
        await runner.cleanup()
    assert before_restore == []
    assert set(asked) == {"as told"}
    assert lines_of(objects) == ["line"]
    assert life.output == []


async def test_a_suppressed_init_inside_an_invocation_is_shipped_too(tmp_path: Path) -> None:
    """The first init fails; the second runs inside the invocation, and both lives are accounted for."""
    flag = tmp_path / "failed-once"
    runtime = f"{sys.executable} -m awslambdaric app.handler"
    function_ = ["bash", "-c", f"if [ ! -e {flag} ]; then touch {flag}; echo first; exit 1; fi; exec {runtime}"]
    async with environment(
        tmp_path, {"LOGFERRY_FLUSH": "invocation"}, function=function_, timeout_seconds=10
    ) as service:
        result = await service.invoke({"marker": "second"})
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert result.status == "success"
    assert_exactly_once(service, objects)
    assert lines_delivered_to(objects) == ["first", "second-0"]
    phases = [r["record"]["phase"] for one in objects for r in one.records if r["type"] == "platform.initStart"]
    assert phases == ["init", "invoke"]


async def test_provisioned_concurrency_waits_frozen_for_its_first_invocation(tmp_path: Path) -> None:
    """Initialized long before anybody calls: the first invocation finds a shipper that works and init records kept."""
    async with environment(tmp_path, {}, initialization_type="provisioned-concurrency") as service:
        await service.idle_for(2 * EMPTY_SECONDS)
        result = await service.invoke({"marker": "at last"})
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert result.status == "success"
    assert result.init_ms is None
    assert_exactly_once(service, objects)
    assert own_messages(service) == []


@pytest.mark.parametrize("status", [202, 400, 403, 404, 500])
async def test_a_refused_subscription_is_said_once_and_nothing_is_held(scene: Scene, status: int) -> None:
    """Whatever both APIs answer but 200: one message, idle, no process kept, a clean end."""
    async with BareLambda(scene.settings(), answers={"telemetry": status, "logs": status}) as platform:
        life = await platform.start()
        held = [await platform.hand_out(invoke_event(f"r{n}")) for n in range(5)]
        assert await platform.shutdown() < 2
    assert life.process.returncode == 0
    assert sum("no telemetry here" in line for line in life.output) == 1
    assert len(life.output) == 1, life.output
    assert max(held) < 1


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_where_only_the_logs_api_answers_its_records_are_shipped(scene: Scene, status: int) -> None:
    """An older platform: `platform.end` and `platform.fault` are its words, and they arrive like all others."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation"), answers={"telemetry": status}) as platform:
        await platform.start()
        held = asyncio.create_task(platform.hand_out(invoke_event("r0")))
        await platform.deliver(batch(start("r0"), function("line")))
        await platform.deliver(batch(runtime_done("r0"), event("platform.end", {"requestId": "r0"})))
        assert await held < 5
        await platform.deliver(
            batch(event("platform.fault", "RequestId: r0 Status: error\tErrorType: Runtime.ExitError"))
        )
        await platform.deliver(batch(report_of("r0")))
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert [wish["schemaVersion"] for wish in platform.subscriptions] == ["2021-03-18"]
    assert lines_of(objects) == ["line"]
