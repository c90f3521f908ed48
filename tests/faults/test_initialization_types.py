"""Initialization types (Managed Instances, SnapStart, provisioned concurrency), and platforms without telemetry."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from support.end_to_end import arrived_in, assert_exactly_once, environment, own_messages
from support.end_to_end import lines_of as lines_delivered_to
from support.fault_proxy import RESPONDED
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, event, function, identity, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, kind_of, lines_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.s3_environment import S3Environment


MANAGED = "lambda-managed-instances"
CONCURRENCY = 16
"""Number of concurrent invocations: the value of Managed Instances for one vCPU of Python."""
IDLE_SECONDS = 1.0
"""Time without an event, in seconds: longer than loading takes."""
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


async def test_managed_instances_store_by_timer_without_attribution(
    s3_env: S3Environment,
) -> None:
    """Managed Instances have no INVOKE, no runtimeDone and no freeze; concurrent lines have no request."""
    settings = s3_env.settings(LOGFERRY_FLUSH="time", LOGFERRY_FLUSH_SECONDS="0.3")
    async with BareLambda(settings, initialization_type=MANAGED) as platform:
        await platform.start()

        async def one(number: int) -> None:
            await platform.deliver(batch(start(f"r{number}")))
            for line in range(5):
                await platform.deliver(batch(function(f"{number}-{line}")))
                await asyncio.sleep(0)
            await platform.deliver(batch(report_of(f"r{number}")))

        await asyncio.gather(*map(one, range(CONCURRENCY)))
        await s3_env.proxy.wait_until(RESPONDED, 1)
        assert platform.next_requests == 1
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert platform.registered == [["SHUTDOWN"]]
    assert [one["schemaVersion"] for one in platform.subscriptions] == ["2025-01-29"]
    assert len(lines_of(objects)) == CONCURRENCY * 5
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
"""Patch: before the restore every clone draws the same random numbers, because they were drawn before the snapshot."""


async def test_snapstart_clones_write_different_objects(s3_env: S3Environment, tmp_path: Path) -> None:
    """Two environments with the same state up to their restore do not overwrite each other's objects."""
    restored = tmp_path / "restored"
    command = boot_with(UNTIL_RESTORED.format(place=str(restored)))
    clones = [
        BareLambda(
            s3_env.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_SPOOL_DIR=str(tmp_path / f"clone{n}")),
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
        objects = await s3_env.arrived()
        accepted = clones[0].accepted_records() + clones[1].accepted_records()
    arrived = [identity(r) for one in objects for r in one.records]
    assert sorted(lines_of(objects)) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert sorted(arrived) == sorted(accepted.elements())
    assert gaps(objects) == {}
    assert len({one.metadata["environment"] for one in objects}) == 2


async def test_snapstart_credentials_are_fetched_after_the_restore(s3_env: S3Environment) -> None:
    """SnapStart has no keys in the environment; keys that were fetched before the snapshot would expire."""
    settings = s3_env.settings(LOGFERRY_FLUSH="invocation")
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
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a-token",
    }
    try:
        async with BareLambda(given, initialization_type="snap-start") as platform:
            extension = await platform.start()
            await platform.deliver(batch(event("platform.initStart", {"phase": "init"})))
            await asyncio.sleep(IDLE_SECONDS)  # the libraries are loaded by then, so a request would have been possible
            before_restore = list(asked)
            await platform.invoke(["line"])
            await platform.shutdown()
            assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    finally:
        await runner.cleanup()
    assert before_restore == []
    assert set(asked) == {"a-token"}
    assert lines_of(objects) == ["line"]
    assert extension.output == []


async def test_records_of_a_suppressed_init_are_stored(tmp_path: Path) -> None:
    """The first init fails and the second one runs inside the invocation; the records of both runs are stored."""
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


async def test_provisioned_concurrency_stores_init_records_and_first_invocation(tmp_path: Path) -> None:
    """An environment that was initialized long before its first invocation still stores the records of its init."""
    async with environment(tmp_path, {}, initialization_type="provisioned-concurrency") as service:
        await service.idle_for(2 * IDLE_SECONDS)
        result = await service.invoke({"marker": "at last"})
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert result.status == "success"
    assert result.init_ms is None
    assert_exactly_once(service, objects)
    assert own_messages(service) == []


@pytest.mark.parametrize("status", [202, 400, 403, 404, 500])
async def test_refused_subscription_is_reported_once_and_extends_no_invocation(
    s3_env: S3Environment, status: int
) -> None:
    """For any status other than 200 from both APIs: one message, no child process, exit status 0."""
    async with BareLambda(s3_env.settings(), answers={"telemetry": status, "logs": status}) as platform:
        extension = await platform.start()
        held = [await platform.hand_out(invoke_event(f"r{n}")) for n in range(5)]
        assert await platform.shutdown() < 2
    assert extension.process.returncode == 0
    assert sum("the Telemetry API is not available" in line for line in extension.output) == 1
    assert len(extension.output) == 1, extension.output
    assert max(held) < 1


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_logs_api_records_are_stored_without_telemetry_api(s3_env: S3Environment, status: int) -> None:
    """Older platforms send `platform.end` and `platform.fault`, which are stored like all other records."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation"), answers={"telemetry": status}) as platform:
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
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert [one["schemaVersion"] for one in platform.subscriptions] == ["2021-03-18"]
    assert lines_of(objects) == ["line"]
