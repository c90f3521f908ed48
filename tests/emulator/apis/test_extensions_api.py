"""The Extensions API: who may register for what and when, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.lambda_service import Lambda, Limits
from logferry.emulator.processes.extensions import MOST_EXTENSIONS, ExtensionRegistry, State
from support.emulator_harness import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REGISTER = "/2020-01-01/extension/register"
NEXT = "/2020-01-01/extension/event/next"


class Client:
    """A stranger who speaks to the API: what an extension with mistakes in it would send."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, data: object = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and decoded body of one request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = data if isinstance(data, (str, bytes)) or data is None else json.dumps(data)
        async with self._session.request(method, path, data=body, headers=named) as response:
            return response.status, response.headers, json.loads(await response.read())

    async def refusal(self, method: str, path: str, data: object = None, **headers: str) -> str:
        """The error type of a request that has to be refused with 403."""
        status, _, body = await self.call(method, path, data, **headers)
        assert status == 403
        assert set(body) == {"errorMessage", "errorType"}
        return str(body["errorType"])


@asynccontextmanager
async def during_init(tmp_path: Path, **fields: Any) -> AsyncIterator[Client]:
    """An environment whose runtime takes its time: init is under way and registration open."""
    scene = Scene(tmp_path)
    fields.setdefault("extensions", {"ext": scene.extension(events=["SHUTDOWN"])})
    config = scene.config("never", limits=Limits(on_demand_init_seconds=5, shutdown_seconds=0.2), **fields)
    async with Lambda(config) as lam, aiohttp.ClientSession(f"http://{lam.runtime_api}") as session:
        starting = asyncio.create_task(lam.start())
        await lam.timeline.wait_for(lambda e: e.kind == "process" and e.subject == "runtime")
        yield Client(session)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


@pytest.mark.parametrize(
    ("headers", "data", "error_type"),
    [
        ({}, {"events": []}, "Extension.InvalidExtensionName"),
        ({"Lambda_Extension_Name": "x"}, "{'events': []}", "InvalidRequestFormat"),
        ({"Lambda_Extension_Name": "x"}, "", "InvalidRequestFormat"),
        ({"Lambda_Extension_Name": "x"}, {"configurationKeys": ["a"]}, "InvalidRequestFormat"),
        ({"Lambda_Extension_Name": "x"}, {"events": ["PAUSE"]}, "Extension.InvalidEventType"),
        ({"Lambda_Extension_Name": "x"}, {"events": ["INVOKE", "SHUTDOWN"]}, "Extension.InvalidEventType"),
        ({"Lambda_Extension_Name": "ext"}, {"events": []}, "Extension.InvalidExtensionState"),
    ],
    ids=["no name", "single quotes", "no body", "old keys", "no such event", "internal", "twice"],
)
async def test_a_wrong_registration_is_refused(
    tmp_path: Path, headers: dict[str, str], data: object, error_type: str
) -> None:
    """Every mistake is a 403 with its own error type."""
    async with during_init(tmp_path) as client:
        assert await client.refusal("POST", REGISTER, data, **headers) == error_type


async def test_an_unknown_name_is_taken_for_an_internal_extension(tmp_path: Path) -> None:
    """It may have INVOKE, and gets the function's name and version; the account only if it asks."""
    async with during_init(tmp_path, function_name="orders", handler="a.b") as client:
        wish = {"events": ["INVOKE"]}
        status, headers, body = await client.call("POST", REGISTER, wish, Lambda_Extension_Name="internal")
        assert (status, body) == (200, {"functionName": "orders", "functionVersion": "$LATEST", "handler": "a.b"})
        assert uuid.UUID(headers["Lambda-Extension-Identifier"]).version == 4
        named = {"Lambda_Extension_Name": "other", "Lambda_Extension_Accept_Feature": "accountId"}
        _, _, body = await client.call("POST", REGISTER, wish, **named)
        assert body["accountId"] == "123456789012"


async def test_registration_closes_with_the_first_next_of_the_runtime(tmp_path: Path) -> None:
    """Afterwards nobody joins."""
    async with Lambda(Scene(tmp_path).config()) as lam, aiohttp.ClientSession(f"http://{lam.runtime_api}") as session:
        await lam.invoke({})
        refusal = await Client(session).refusal("POST", REGISTER, {"events": []}, Lambda_Extension_Name="late")
    assert refusal == "Extension.RegistrationClosed"


@pytest.mark.parametrize(
    ("identifier", "error_type"),
    [
        (None, "Extension.MissingExtensionIdentifier"),
        ("not-a-uuid", "Extension.InvalidExtensionIdentifier"),
        (str(uuid.UUID(int=1)), "Extension.UnknownExtensionIdentifier"),
    ],
)
async def test_a_caller_has_to_say_who_it_is(tmp_path: Path, identifier: str | None, error_type: str) -> None:
    """The identifier of the registration, on every later call and every API."""
    headers = {} if identifier is None else {"Lambda_Extension_Identifier": identifier}
    async with during_init(tmp_path) as client:
        assert await client.refusal("GET", NEXT, **headers) == error_type
        assert await client.refusal("PUT", "/2022-07-01/telemetry", {}, **headers) == error_type
        for path in ("init/error", "exit/error"):
            assert await client.refusal("POST", f"/2020-01-01/extension/{path}", {}, **headers) == error_type


async def test_an_error_report_needs_a_type(tmp_path: Path) -> None:
    """Lambda-Extension-Function-Error-Type is not optional."""
    async with during_init(tmp_path) as client:
        _, headers, _ = await client.call("POST", REGISTER, {}, Lambda_Extension_Name="internal")
        named = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
        refusal = await client.refusal("POST", "/2020-01-01/extension/exit/error", {}, **named)
    assert refusal == "Extension.MissingHeader"


async def test_a_second_next_while_one_is_unanswered_is_refused(tmp_path: Path) -> None:
    """A client that times out on /next and tries again finds this out."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(on_invoke="two-nexts")}, freeze=False)
    async with Lambda(config) as lam:
        await lam.invoke({})
        refusal = await lam.timeline.wait_for(lambda e: e.kind == "refuse")
        assert (await lam.invoke({})).status == "success"
    assert refusal.detail["error_type"] == "Extension.InvalidExtensionState"
    assert "from Ready to Ready" in refusal.detail["message"]


async def test_events_have_the_fields_of_the_platform(tmp_path: Path) -> None:
    """INVOKE and SHUTDOWN as they come over the wire, the reason in lower case."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(timeout_seconds=3)) as lam:
        result = await lam.invoke({})
        await lam.shutdown()
    invoke, shutdown = scene.events()
    trace_id = json.loads(result.payload)["headers"]["Lambda-Runtime-Trace-Id"]
    deadline_ms = int(json.loads(result.payload)["headers"]["Lambda-Runtime-Deadline-Ms"])
    assert invoke == {
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": result.request_id,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:function",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": trace_id},
    }
    assert (shutdown["eventType"], shutdown["shutdownReason"]) == ("SHUTDOWN", "spindown")
    assert set(shutdown) == {"eventType", "shutdownReason", "deadlineMs"}
    first, last = scene.answers("/event/next")
    assert uuid.UUID(first["headers"]["Lambda-Extension-Event-Identifier"]).version == 4
    assert "Lambda-Extension-Event-Identifier" not in last["headers"]


async def test_an_extension_for_shutdown_only_never_holds_an_invocation(tmp_path: Path) -> None:
    """It is told nothing of invocations, and waited for by none."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(events=["SHUTDOWN"])})
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        await lam.wait_idle()
        await lam.shutdown()
    assert result.post_runtime_ms is not None
    assert [event["eventType"] for event in scene.events()] == ["SHUTDOWN"]


async def test_the_runtime_starts_only_when_every_extension_has_registered(tmp_path: Path) -> None:
    """Registering is the one strictly serial part of a cold start."""
    scene = Scene(tmp_path)
    extensions = {"a": scene.extension("a"), "b": scene.extension("b", at_start="sleep:0.3")}
    async with Lambda(scene.config(extensions=extensions)) as lam:
        await lam.invoke({})
    registered = [e.at_ms for e in lam.timeline.of("register")]
    (started,) = [e.at_ms for e in lam.timeline.of("process", "runtime")]
    assert len(registered) == 2
    assert max(registered) <= started


async def test_init_ends_only_when_every_extension_has_asked_for_an_event(tmp_path: Path) -> None:
    """And the telemetry subscription closes then, not before."""
    scene = Scene(tmp_path)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    writer = os.open(gate, os.O_RDWR)  # for reading too, or opening would wait for the extension
    async with Lambda(scene.config(extensions={"ext": scene.extension(before_next=f"hold:{gate}")})) as lam:
        starting = asyncio.create_task(lam.start())
        await lam.timeline.wait_for(lambda e: e.kind == "next" and e.subject == "runtime")
        os.write(writer, b"!")
        await starting
    os.close(writer)
    (asked,) = lam.timeline.of("next", "ext")
    init = lam.timeline.of("init")[-1]
    assert init.detail["status"] == "success"
    assert asked.at_ms <= init.at_ms


async def test_a_late_subscription_is_refused(tmp_path: Path) -> None:
    """403 Telemetry.SubscriptionClosed after init."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config()) as lam, aiohttp.ClientSession(f"http://{lam.runtime_api}") as session:
        await lam.invoke({})
        identifier = scene.answers("/register")[0]["headers"]["Lambda-Extension-Identifier"]
        named = {"Lambda_Extension_Identifier": identifier}
        client = Client(session)
        assert await client.refusal("PUT", "/2022-07-01/telemetry", {}, **named) == "Telemetry.SubscriptionClosed"
        assert await client.refusal("PUT", "/2020-08-15/logs", {}, **named) == "Logs.SubscriptionClosed"


def test_there_may_be_ten_extensions() -> None:
    """External and internal together."""
    registry = ExtensionRegistry([f"external-{n}" for n in range(4)], managed_instances=False)
    for number in range(MOST_EXTENSIONS - 4):
        registry.register(f"internal-{number}", [])
    with pytest.raises(RefusalError) as refused:
        registry.register("one-too-many", [])
    assert refused.value.error_type == "Extension.TooManyExtensions"


async def test_an_event_that_comes_while_busy_waits_for_the_next_next() -> None:
    """A SHUTDOWN is remembered."""
    registry = ExtensionRegistry(["ext"], managed_instances=False)
    extension = registry.register("ext", ["INVOKE", "SHUTDOWN"])
    first = extension.next()
    extension.deliver({"eventType": "INVOKE"})
    assert first.result() == {"eventType": "INVOKE"}
    extension.deliver({"eventType": "SHUTDOWN"})
    assert extension.state is State.RUNNING
    assert extension.next().result() == {"eventType": "SHUTDOWN"}
