"""The Extensions API: registration, events, and rejected requests."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from logferry.emulator.lambda_service import Lambda, Limits
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REGISTER = "/2020-01-01/extension/register"
NEXT = "/2020-01-01/extension/event/next"


class Client:
    """A client that sends any request, including invalid ones."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, data: object = None, **headers: str) -> tuple[int, Any, Any]:
        """Send one request; return status, headers and decoded body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = data if isinstance(data, (str, bytes)) or data is None else json.dumps(data)
        async with self._session.request(method, path, data=body, headers=named) as response:
            return response.status, response.headers, json.loads(await response.read())

    async def rejection(self, method: str, path: str, data: object = None, **headers: str) -> str:
        """Send a request that has to be rejected with 403; return its error type."""
        status, _, body = await self.call(method, path, data, **headers)
        assert status == 403
        assert set(body) == {"errorMessage", "errorType"}
        return str(body["errorType"])


@asynccontextmanager
async def during_init(tmp_path: Path, **fields: Any) -> AsyncIterator[Client]:
    """Give a client of an environment in its Init phase, in which registration is open."""
    harness = EmulatorHarness(tmp_path)
    fields.setdefault("extensions", {"ext": harness.extension(events=["SHUTDOWN"])})
    config = harness.config("never-ready", limits=Limits(on_demand_init_seconds=5, shutdown_seconds=0.2), **fields)
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
async def test_register_returns_403_with_an_error_type_for_an_invalid_request(
    tmp_path: Path, headers: dict[str, str], data: object, error_type: str
) -> None:
    """Every client error of a registration is a 403 with a specific error type."""
    async with during_init(tmp_path) as client:
        assert await client.rejection("POST", REGISTER, data, **headers) == error_type


async def test_register_creates_an_internal_extension_for_an_unknown_name(tmp_path: Path) -> None:
    """An internal extension may register for INVOKE and receives function name and version.

    The account id is included only on request.
    """
    async with during_init(tmp_path, function_name="orders", handler="a.b") as client:
        registration = {"events": ["INVOKE"]}
        status, headers, body = await client.call("POST", REGISTER, registration, Lambda_Extension_Name="internal")
        assert (status, body) == (200, {"functionName": "orders", "functionVersion": "$LATEST", "handler": "a.b"})
        assert uuid.UUID(headers["Lambda-Extension-Identifier"]).version == 4
        named = {"Lambda_Extension_Name": "other", "Lambda_Extension_Accept_Feature": "accountId"}
        _, _, body = await client.call("POST", REGISTER, registration, **named)
        assert body["accountId"] == "123456789012"


async def test_registration_closes_with_the_first_next_of_the_runtime(tmp_path: Path) -> None:
    """A registration after the first `/next` of the runtime is rejected."""
    config = EmulatorHarness(tmp_path).config()
    async with Lambda(config) as lam, aiohttp.ClientSession(f"http://{lam.runtime_api}") as session:
        await lam.invoke({})
        rejection = await Client(session).rejection("POST", REGISTER, {"events": []}, Lambda_Extension_Name="late")
    assert rejection == "Extension.RegistrationClosed"


@pytest.mark.parametrize(
    ("identifier", "error_type"),
    [
        (None, "Extension.MissingExtensionIdentifier"),
        ("not-a-uuid", "Extension.InvalidExtensionIdentifier"),
        (str(uuid.UUID(int=1)), "Extension.UnknownExtensionIdentifier"),
    ],
)
async def test_every_api_rejects_a_missing_or_unknown_identifier(
    tmp_path: Path, identifier: str | None, error_type: str
) -> None:
    """Each request after registration needs the identifier, in every API."""
    headers = {} if identifier is None else {"Lambda_Extension_Identifier": identifier}
    async with during_init(tmp_path) as client:
        assert await client.rejection("GET", NEXT, **headers) == error_type
        assert await client.rejection("PUT", "/2022-07-01/telemetry", {}, **headers) == error_type
        for path in ("init/error", "exit/error"):
            assert await client.rejection("POST", f"/2020-01-01/extension/{path}", {}, **headers) == error_type


async def test_exit_error_rejects_a_request_without_an_error_type(tmp_path: Path) -> None:
    """Lambda-Extension-Function-Error-Type is required."""
    async with during_init(tmp_path) as client:
        _, headers, _ = await client.call("POST", REGISTER, {}, Lambda_Extension_Name="internal")
        named = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
        rejection = await client.rejection("POST", "/2020-01-01/extension/exit/error", {}, **named)
    assert rejection == "Extension.MissingHeader"


async def test_next_is_rejected_during_an_unanswered_next(tmp_path: Path) -> None:
    """A client that times out on `/next` and retries receives 403."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(on_invoke="two-nexts")}, freeze=False)
    async with Lambda(config) as lam:
        await lam.invoke({})
        rejection = await lam.timeline.wait_for(lambda e: e.kind == "error")
        assert (await lam.invoke({})).status == "success"
    assert rejection.detail["error_type"] == "Extension.InvalidExtensionState"
    assert "from Ready to Ready" in rejection.detail["message"]


async def test_events_have_the_documented_fields(tmp_path: Path) -> None:
    """INVOKE and SHUTDOWN have the documented fields, and the reason is in lower case."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(timeout_seconds=3)) as lam:
        result = await lam.invoke({})
        await lam.shutdown()
    invoke, shutdown = harness.events()
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
    first, last = harness.responses("/event/next")
    assert uuid.UUID(first["headers"]["Lambda-Extension-Event-Identifier"]).version == 4
    assert "Lambda-Extension-Event-Identifier" not in last["headers"]


async def test_an_extension_registered_for_shutdown_only_never_extends_an_invocation(tmp_path: Path) -> None:
    """Such an extension receives no INVOKE, and no invocation waits for it."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(events=["SHUTDOWN"])})
    async with Lambda(config) as lam:
        result = await lam.invoke({})
        await lam.wait_idle()
        await lam.shutdown()
    assert result.post_runtime_ms is not None
    assert [event["eventType"] for event in harness.events()] == ["SHUTDOWN"]


async def test_an_event_of_an_unknown_type_is_sent_outside_invocations(tmp_path: Path) -> None:
    """A new event type reaches a frozen extension, and the environment freezes again after its `/next`."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        await lam.invoke({})
        await lam.wait_idle()
        await lam.send_event({"eventType": "HIBERNATE", "deadlineMs": 0})
        assert lam.timeline.of("freeze")[-1].at_ms > lam.timeline.of("event")[-1].at_ms
        assert (await lam.invoke({})).status == "success"
    assert [event["eventType"] for event in harness.events()] == ["INVOKE", "HIBERNATE", "INVOKE"]
    unknown = harness.responses("/event/next")[1]
    assert uuid.UUID(unknown["headers"]["Lambda-Extension-Event-Identifier"]).version == 4


async def test_an_unknown_event_without_a_following_next_exceeds_the_function_timeout(tmp_path: Path) -> None:
    """An extension that waits instead of calling `/next` holds the environment."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(extensions={"ext": harness.extension(on_unknown="hang")}, timeout_seconds=0.3)
    async with Lambda(config) as lam:
        await lam.start()
        with pytest.raises(TimeoutError):
            await lam.send_event({"eventType": "HIBERNATE"})
