"""Node.js functions in the emulator with the exec wrapper, the hook and the real extension, down to the objects."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from logferry.emulator.processes.exec_wrapper import VARIABLE
from support.calls_server import BODY, CallsServer
from support.end_to_end import arrived_in, assert_exactly_once, environment, records_of
from support.exec_wrapper import add_hooks, compile_wrapper
from support.node_hook import FUNCTIONS, function_folder
from support.npm_packages import CLIENTS, FETCH_SECONDS, OPENTELEMETRY, modules, node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from logferry.emulator.lambda_service import Lambda

pytestmark = pytest.mark.timeout(FETCH_SECONDS)

PACKAGES = ("undici", "axios", "got", "node-fetch", "aws")
CORE = ("https", "fetch", "pooled")
TIMEOUT_SECONDS = 30.0


@pytest.fixture(scope="module")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the exec wrapper, with the hooks next to it."""
    opt = tmp_path_factory.mktemp("opt")
    add_hooks(opt)
    return compile_wrapper(opt)


class NodeFunction:
    """A Node.js function with the real extension, and the calls that are stored at the end."""

    def __init__(self, folder: Path, wrapper: Path, https: CallsServer) -> None:
        self.folder = folder
        self.https = https
        self._wrapper = wrapper
        self._started = 0

    @asynccontextmanager
    async def running(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        hooked: bool = True,
        packages: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        runtime: str = "runtime.mjs",
        **config: Any,
    ) -> AsyncIterator[Lambda]:
        """Run the environment; `packages` are those of the function."""
        self._started += 1
        code = function_folder(self.folder / f"code-{self._started}", modules=modules(*packages) if packages else None)
        if runtime != "runtime.mjs":
            shutil.copy(FUNCTIONS / runtime, code / runtime)
        given = {
            "NODE_EXTRA_CA_CERTS": self.https.certificate,
            "LOGFERRY_FLUSH": "invocation",
            "LOGFERRY_CALLS": "each" if hooked else "off",
            **({VARIABLE: str(self._wrapper)} if hooked else {}),
            **(settings or {}),
        }
        config.setdefault("timeout_seconds", TIMEOUT_SECONDS)
        folder = self.folder / f"run-{self._started}"
        folder.mkdir()
        async with environment(
            folder, given, function=(node(), *flags, runtime), working_directory=code, **config
        ) as service:
            yield service

    def stored(self) -> list[dict[str, Any]]:
        """Return the stored calls of the last environment, in order, with the request of their line."""
        records = records_of(arrived_in(self.folder / f"run-{self._started}" / "out"))
        calls = [record for record in records if record["type"] == "logferry.call"]
        return [{"requestOfLine": call.get("requestId"), **call["record"]} for call in calls]

    def summaries(self) -> list[dict[str, Any]]:
        """Return the stored summaries of invocations of the last environment, in order."""
        records = records_of(arrived_in(self.folder / f"run-{self._started}" / "out"))
        return [record["record"] for record in records if record["type"] == "logferry.invocation"]

    def objects(self) -> bytes:
        """Return everything that the last environment has stored, as text."""
        return json.dumps(records_of(arrived_in(self.folder / f"run-{self._started}" / "out"))).encode()

    def url(self, path: str = "/status/200") -> str:
        """Return a URL of the HTTPS server."""
        return f"{self.https.url}{path}"


@pytest.fixture
def function(tmp_path: Path, wrapper: Path, https: CallsServer) -> NodeFunction:
    """Provide a function that has not started."""
    node()
    return NodeFunction(tmp_path, wrapper, https)


def outcomes(payload: bytes) -> list[dict[str, Any]]:
    """Return the result of each call in a response."""
    return [outcome["result"] for outcome in json.loads(payload)["outcomes"]]


@pytest.mark.parametrize(("clients", "packages"), [(CORE, ()), pytest.param(PACKAGES, CLIENTS, marks=pytest.mark.slow)])
async def test_each_call_of_each_client_is_one_record_of_its_request(
    function: NodeFunction, clients: tuple[str, ...], packages: tuple[str, ...]
) -> None:
    """The record has host, path, status and a duration that the function has measured too; the response is the same."""
    calls = [{"client": client, "url": function.url(f"/slow/{client}"), "method": "POST", "body": "{}"}
             for client in clients]  # fmt: skip
    async with function.running(hooked=False, packages=packages) as service:
        plain = await service.invoke({"calls": calls})
    async with function.running(packages=packages) as service:
        invoked = await service.invoke({"calls": calls})
        await service.shutdown()
    assert invoked.status == "success"
    assert outcomes(invoked.payload) == outcomes(plain.payload)
    assert all(result["status"] == 200 for result in outcomes(invoked.payload))
    stored = function.stored()
    assert len(stored) == len(calls)
    for client, record, outcome in zip(clients, stored, json.loads(invoked.payload)["outcomes"], strict=True):
        assert (record["method"], record["host"], record["port"]) == ("POST", "localhost", function.https.port)
        assert record["path"].startswith(f"/slow/{client}")
        assert (record["status"], record["responseBytes"], record["by"]) == (200, len(BODY), "node")
        # Before Node.js 22, node:http publishes a request after it was written, which is late on a busy machine.
        least = 45 if client in ("fetch", "undici") else 0
        assert least < record["durationMs"] <= outcome["elapsedMs"] + 5
        assert record["requestOfLine"] == invoked.request_id
    assert [record["n"] for record in stored] == list(range(1, len(calls) + 1))


FAILURES = (
    ("aborted", "/hang", {"error"}),
    ("fetch", "/hang", {"error"}),
    ("https", "/abort", {"ECONNRESET"}),
    ("fetch", "/abort", {"UND_ERR_SOCKET", "ECONNRESET"}),
    ("https", "/status/500", {500}),
    ("https", "/redirect", {302}),
)


async def test_failed_calls_are_records_with_their_error(function: NodeFunction) -> None:
    """Refusals, unknown hosts, TLS errors, aborts and 500 are recorded, and the function receives the same errors."""
    calls: list[dict[str, Any]] = [
        {"client": client, "url": function.url(path), "timeout": 100} for client, path, _ in FAILURES
    ]
    calls += [
        {"client": "https", "url": f"https://localhost:{unused_port()}/"},
        {"client": "https", "url": "https://absent.invalid/"},
        {"client": "https", "url": f"https://127.0.0.1:{function.https.port}/"},  # the certificate is for localhost
        {"client": "fetch", "url": function.url("/redirect")},
    ]
    async with function.running(hooked=False) as service:
        plain = await service.invoke({"calls": calls})
    async with function.running() as service:
        invoked = await service.invoke({"calls": calls})
        await service.shutdown()
    assert outcomes(invoked.payload) == outcomes(plain.payload)
    stored = function.stored()
    found = [record.get("status", record.get("error")) for record in stored]
    assert found[2:6] == ["ECONNRESET", found[3], 500, 302]
    assert found[3] in ("UND_ERR_SOCKET", "ECONNRESET")
    assert found[6] == "ECONNREFUSED"
    assert found[7] in ("ENOTFOUND", "EAI_AGAIN")
    assert found[8] == "ERR_TLS_CERT_ALTNAME_INVALID"
    assert found[9:] == [302, 200]  # fetch follows the redirect: each request is one call
    assert len(stored) == len(calls) + 1
    assert all(isinstance(error, str) and re.fullmatch(r"\w+", error) for error in found[:2])


@pytest.mark.slow
async def test_redirects_and_retries_of_clients_are_one_record_each(function: NodeFunction) -> None:
    """A client that repeats a request makes several calls."""
    calls = [
        {"client": "axios", "url": function.url("/redirect")},
        {"client": "got", "url": function.url("/flaky/got"), "retries": 2},
        {"client": "aws", "url": function.url("/flaky/aws"), "retries": 3, "body": "{}"},
    ]
    async with function.running(packages=CLIENTS) as service:
        invoked = await service.invoke({"calls": calls})
        await service.shutdown()
    assert [result.get("status") for result in outcomes(invoked.payload)] == [200, 200, 200]
    assert [record["status"] for record in function.stored()] == [302, 200, 503, 200, 503, 200]


async def test_secrets_of_a_call_are_in_no_object(function: NodeFunction) -> None:
    """Query, userinfo, headers and tokens of a request do not leave the function."""
    secrets = ["hidden-query", "hidden-user", "hidden-password", "hidden-header", "a1b2c3d4" * 8]
    url = function.url(f"/v1/{secrets[4]}?key={secrets[0]}")
    calls = [
        {"client": "https", "url": url.replace("//", f"//{secrets[1]}:{secrets[2]}@"),
         "headers": {"x-custom": secrets[3], "cookie": secrets[3]}},
        {"client": "fetch", "url": url, "headers": {"authorization": secrets[3]}},
    ]  # fmt: skip
    async with function.running(
        {"LOGFERRY_CALLS_URL": "query", "LOGFERRY_CALLS_HEADERS": "set-cookie,date"}
    ) as service:
        await service.invoke({"calls": calls})
        await service.shutdown()
    assert [record["path"] for record in function.stored()] == ["/v1/***?key=***"] * 2
    assert all(set(record["headers"]) == {"date"} for record in function.stored())
    for secret in (*secrets, "cookie-of-the-server"):
        assert secret.encode() not in function.objects()


async def test_options_of_the_function_come_first(function: NodeFunction, tmp_path: Path) -> None:
    """NODE_OPTIONS of the function stays, its preloaded module precedes the hook, and its variables are unchanged."""
    preload = tmp_path / "pre load.cjs"
    preload.write_text("globalThis.preloaded = Object.keys(require.cache).length;")
    options = f'--no-warnings --require "{preload}"'
    async with function.running({"NODE_OPTIONS": options}) as service:
        invoked = await service.invoke({"calls": [{"client": "https", "url": function.url()}], "state": True})
        await service.shutdown()
    state = json.loads(invoked.payload)["state"]
    assert state["nodeOptions"].startswith(f"{options} --require ")
    assert state["preloaded"] == 1
    assert len(function.stored()) == 1


async def test_calls_before_a_timeout_are_stored(function: NodeFunction) -> None:
    """A line is in the pipe when the call has its response, so the end of the process loses no line."""
    event = {"calls": [{"client": "https", "url": function.url()}] * 3, "hang": True}
    async with function.running(timeout_seconds=3.0) as service:
        invoked = await service.invoke(event)
        await service.shutdown()
    assert invoked.status == "timeout"
    stored = function.stored()
    assert [record["n"] for record in stored] == [1, 2, 3]
    assert {record["requestOfLine"] for record in stored} == {invoked.request_id}
    (summary,) = function.summaries()
    assert (summary["requestId"], summary["status"]) == (invoked.request_id, "timeout")
    assert summary["calls"]["count"] == 3


async def test_mode_summary_stores_the_sums_of_an_invocation(function: NodeFunction) -> None:
    """The calls themselves are not stored. A status of 400 or more is an error."""
    paths = ("/status/200", "/status/500", "/abort")
    event = {"calls": [{"client": "https", "url": function.url(path)} for path in paths]}
    async with function.running({"LOGFERRY_CALLS": "summary"}) as service:
        invoked = await service.invoke(event)
        await service.shutdown()
    assert function.stored() == []
    (summary,) = function.summaries()
    assert summary["requestId"] == invoked.request_id
    (host,) = summary["calls"]["hosts"]
    assert (host["host"], host["count"], host["errors"]) == ("localhost", 3, 2)


async def test_connections_that_the_server_has_closed_are_replaced(function: NodeFunction) -> None:
    """A pooled connection that the server closes is removed from the pool, with and without the hook."""
    calls = [{"client": "pooled", "url": function.url(path)} for path in ("/abort", "/status/200", "/abort", "/a")]
    event = {"calls": calls, "repeat": 5, "state": True}
    async with function.running(hooked=False) as service:
        plain = await service.invoke(event)
    async with function.running() as service:
        invoked = await service.invoke(event)
        await service.shutdown()
    assert outcomes(invoked.payload) == outcomes(plain.payload)
    assert [result.get("status") for result in outcomes(invoked.payload)][1::2] == [200] * 10
    assert json.loads(invoked.payload)["state"]["listeners"] <= json.loads(plain.payload)["state"]["listeners"]
    assert len(function.stored()) == len(calls) * 5


async def test_function_without_the_extension_is_unchanged(function: NodeFunction) -> None:
    """Without a pipe the hook does nothing; the wrapper alone starts the runtime."""
    calls = [{"client": client, "url": function.url()} for client in CORE]
    async with function.running({"LOGFERRY_ENABLED": "false"}) as service:
        invoked = await service.invoke({"calls": calls})
        await service.shutdown()
    assert outcomes(invoked.payload) == [{"status": 200, "text": BODY.decode()}] * 3
    assert function.stored() == []
    assert not [line for name, line in service.console if name == "runtime"]


async def test_mode_off_stores_no_call(function: NodeFunction) -> None:
    """With LOGFERRY_CALLS=off the wrapper adds no hook."""
    event = {"calls": [{"client": "https", "url": function.url()}], "state": True}
    async with function.running({"LOGFERRY_CALLS": "off"}) as service:
        invoked = await service.invoke(event)
        await service.shutdown()
    assert json.loads(invoked.payload)["state"]["nodeOptions"] is None
    assert function.stored() == []
    assert_exactly_once(service, arrived_in(function.folder / "run-1" / "out"))


@pytest.mark.slow
async def test_ten_thousand_calls_leave_heap_and_descriptors_flat(function: NodeFunction) -> None:
    """The state of a call ends with the call. Lines that a full pipe has rejected are counted."""
    event = {"calls": [{"client": "local"}] * 20, "concurrent": True, "state": True}
    settings = {"LOGFERRY_EVENTS_LIMIT": "100000"}
    async with function.running(settings, flags=("--expose-gc",)) as service:
        first = json.loads((await service.invoke(event | {"repeat": 50})).payload)["state"]
        last = json.loads((await service.invoke(event | {"repeat": 500})).payload)["state"]
        await service.invoke({"calls": [{"client": "local"}]})
        await service.shutdown()
    assert last["descriptors"] <= first["descriptors"] + 5
    assert last["heap"] <= first["heap"] * 1.15
    stored = function.stored()
    assert [record["n"] for record in stored] == list(range(1, len(stored) + 1))
    assert len(stored) + sum(record.get("lost", 0) for record in stored) == 11_001


@pytest.mark.slow
async def test_concurrent_invocations_keep_their_calls(function: NodeFunction) -> None:
    """On Managed Instances worker threads run concurrent invocations. Each call has the request that made it."""
    async with function.running(
        packages=CLIENTS, runtime="concurrent_runtime.mjs", initialization_type="lambda-managed-instances",
        max_concurrency=8,
    ) as service:  # fmt: skip
        paths = [f"/slow/{number}" for number in range(12)]
        invoked = await asyncio.gather(
            *(service.invoke({"calls": [{"client": c, "url": function.url(path)} for c in ("pooled", "fetch")]})
              for path in paths)
        )  # fmt: skip
        await service.shutdown()
    expected = {path: result.request_id for path, result in zip(paths, invoked, strict=True)}
    stored = function.stored()
    assert len(stored) == 24
    assert {record["thread"] for record in stored} == {1, 2}
    for record in stored:
        assert record["requestId"] == record["requestOfLine"] == expected[record["path"]]


@pytest.mark.slow
async def test_opentelemetry_in_the_same_function_sees_every_call(function: NodeFunction, tmp_path: Path) -> None:
    """The instrumentation of OpenTelemetry replaces functions of node:http. Both see each call, once."""
    preload = tmp_path / "opentelemetry.cjs"
    folder = modules(*OPENTELEMETRY)
    preload.write_text((FUNCTIONS / "opentelemetry.cjs").read_text().replace("MODULES", json.dumps(str(folder))))
    calls = [{"client": "https", "url": function.url(f"/{number}")} for number in range(5)]
    async with function.running({"NODE_OPTIONS": f"--require {preload}"}) as service:
        invoked = await service.invoke({"calls": calls})
        await service.shutdown()
    assert [result["status"] for result in outcomes(invoked.payload)] == [200] * 5
    spans = [line for name, line in service.console if name == "runtime" and line.startswith("span ")]
    assert len([line for line in spans if f":{function.https.port}/" in line]) == 5
    assert [record["path"] for record in function.stored()] == [f"/{number}" for number in range(5)]


def unused_port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
