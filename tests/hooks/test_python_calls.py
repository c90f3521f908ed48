"""Lines of HTTP calls that real Python functions make with the clients that people use, and what they must not contain.

Each test runs a function on AWS's runtime interface client, in the emulator and without an extension. The test reads
the pipe.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from logferry.emulator.lambda_service import Lambda
from support.calls_server import BODY, COOKIE, DELAY_SECONDS, KEY, REQUEST_ID
from support.python_hook import calling_function, hooked, run_python
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

    from support.calls_server import CallsServer
    from support.python_hook import PipeReader

CLIENTS = ("urllib", "requests", "urllib3", "httpx", "httpx-async", "aiohttp", "boto3")
REFUSED = "https://localhost:1"
TOKEN = "4f" * 32
PASSWORD, API_KEY, QUERY_VALUE = "password-in-url", "bearer-in-header", "signature-in-query"
MEMBERS = {
    "call",
    "host",
    "port",
    "path",
    "status",
    "durationMs",
    "responseBytes",
    "requestId",
    "time",
    "by",
    "pid",
    "n",
}
RESOLVER_ERRORS = {"ENOTFOUND", "EAI_AGAIN"}


async def invoke(spool: Path, https: CallsServer, event: dict[str, Any], **settings: str) -> tuple[str, dict[str, Any]]:
    """Run one invocation of the calling function; return its request ID and its response."""
    config = calling_function({**hooked(spool, settings), **https.trust})
    async with Lambda(config) as service:
        result = await service.invoke(event)
        assert result.status == "success", result.payload
        return result.request_id, json.loads(result.payload)


async def test_each_client_has_one_line_per_call(https: CallsServer, spool: Path, pipe: PipeReader) -> None:
    """Host, port, path and status are those of the call, and the duration lies within what the function measures."""
    event = {"calls": [{"client": client, "url": f"{https.url}/slow/{client}"} for client in CLIENTS]}

    request_id, response = await invoke(spool, https, event)

    assert [(one["status"], one["text"]) for one in response["results"]] == [(200, BODY.decode())] * len(CLIENTS)
    lines = pipe.calls()
    assert [line["path"] for line in lines] == [f"/slow/{client}" for client in CLIENTS]
    for line, result in zip(lines, response["results"], strict=True):
        assert set(line) >= MEMBERS
        assert (line["call"], line["host"], line["port"]) == ("GET", "localhost", https.port)
        assert (line["status"], line["responseBytes"], line["by"]) == (200, len(BODY), "python")
        assert line["requestId"] == request_id
        assert DELAY_SECONDS * 1000 <= line["durationMs"] <= result["ms"]
    assert [line["n"] for line in lines] == list(range(1, len(CLIENTS) + 1))
    assert len({line["pid"] for line in lines}) == 1


FAILURES: dict[str, tuple[float, int | None, set[str]]] = {
    "/status/500/x": (10, 500, set()),
    "/hang/x": (0.3, None, {"TimeoutError", "ReadTimeout", "ReadTimeoutError", "ServerTimeoutError"}),
    "/abort/x": (
        10,
        None,
        {"RemoteDisconnected", "ProtocolError", "RemoteProtocolError", "ServerDisconnectedError", "ECONNRESET"},
    ),
}
"""Timeout, status and possible errors of a call, by its path."""


@pytest.mark.parametrize("path", FAILURES)
async def test_failed_response_has_its_status_or_the_class_of_its_error(
    https: CallsServer, spool: Path, pipe: PipeReader, path: str
) -> None:
    """A call that ends without a response has an error and no status."""
    limit, status, errors = FAILURES[path]
    event = {"calls": [{"client": client, "url": https.url + path, "timeout": limit} for client in CLIENTS]}

    _, response = await invoke(spool, https, event)

    for line, result in zip(pipe.calls(), response["results"], strict=True):
        assert line.get("status") == result.get("status") == status
        assert (line["error"] in errors) if errors else ("error" not in line), line


async def test_connection_errors_have_codes(https: CallsServer, spool: Path, pipe: PipeReader) -> None:
    """The codes of a refused connection and of an unknown host are the same for all clients."""
    urls = (f"{REFUSED}/b/refused", "https://unknown.invalid/b/unknown")
    event = {"calls": [{"client": client, "url": url} for url in urls for client in CLIENTS]}

    _, response = await invoke(spool, https, event)

    lines = pipe.calls()
    assert all("error" in result for result in response["results"])
    refused, unknown = lines[: len(CLIENTS)], lines[len(CLIENTS) :]
    assert [(line["host"], line["port"], line["error"]) for line in refused] == [
        ("localhost", 1, "ECONNREFUSED")
    ] * len(CLIENTS)
    assert [line["host"] for line in unknown] == ["unknown.invalid"] * len(CLIENTS)
    assert {line["error"] for line in unknown} <= RESOLVER_ERRORS
    assert all("status" not in line for line in lines)


async def test_rejected_certificate_has_the_class_of_its_error(
    https: CallsServer, spool: Path, pipe: PipeReader, tmp_path: Path
) -> None:
    """A certificate that no trusted authority has signed is an error of TLS, not of the system."""
    event = {"calls": [{"client": client, "url": f"{https.url}/b/x"} for client in CLIENTS]}
    other, _ = make_certificate(tmp_path)
    config = calling_function({**hooked(spool), **dict.fromkeys(https.trust, other)})

    async with Lambda(config) as service:
        await service.invoke(event)

    lines = pipe.calls()
    assert [line["error"] for line in lines] == ["SSLCertVerificationError"] * len(CLIENTS)


async def test_each_response_of_a_redirect_has_a_line(https: CallsServer, spool: Path, pipe: PipeReader) -> None:
    """A redirect is a separate call for every client, because its target may be another host."""
    clients = [client for client in CLIENTS if client != "boto3"]
    event = {"calls": [{"client": client, "url": f"{https.url}/redirect/{client}"} for client in clients]}

    await invoke(spool, https, event)

    lines = [(line["path"], line["status"]) for line in pipe.calls()]
    assert lines == [one for client in clients for one in ((f"/redirect/{client}", 302), ("/status/200", 200))]


async def test_retries_of_urllib3_are_one_call(https: CallsServer, spool: Path, pipe: PipeReader) -> None:
    """The line has the last status and the number of retries."""
    calls = [
        {"client": "urllib3", "url": f"{https.url}/flaky/python", "retries": 2},
        {"client": "urllib3", "url": f"{REFUSED}/refused", "retries": 2},
    ]

    await invoke(spool, https, {"calls": calls})

    first, second = pipe.calls()
    assert (first["status"], first["retries"], "error" in first) == (200, 1, False)
    assert (second["error"], second["retries"], "status" in second) == ("ECONNREFUSED", 2, False)


async def test_sizes_are_those_of_the_headers(https: CallsServer, spool: Path, pipe: PipeReader) -> None:
    """The size of a request with a body is recorded for every client that can send one here."""
    clients = [client for client in CLIENTS if client != "boto3"]
    body = "x" * 1234
    event = {"calls": [{"client": c, "url": f"{https.url}/post", "method": "POST", "body": body} for c in clients]}

    await invoke(spool, https, event)

    lines = pipe.calls()
    assert [(line["call"], line["requestBytes"]) for line in lines] == [("POST", len(body))] * len(clients)


@pytest.mark.parametrize("recorded", ["host", "path", "query"])
async def test_secrets_are_nowhere(https: CallsServer, spool: Path, pipe: PipeReader, recorded: str) -> None:
    """No byte of a query's value, user info, a credential in a header or a token in the path is in the pipe."""
    with_user = https.url.replace("https://", f"https://user:{PASSWORD}@")
    headers = {"Authorization": f"Bearer {API_KEY}", "Cookie": f"session={API_KEY}", "x-api-key": API_KEY}
    path = f"/v1/{TOKEN}/items?signature={QUERY_VALUE}&acl&{QUERY_VALUE}1#{QUERY_VALUE}"
    clients = [client for client in CLIENTS if client not in ("urllib", "boto3")]
    calls = [{"client": client, "url": with_user + path, "headers": headers} for client in clients]
    calls = [{**call, "headers": {}} if call["client"] == "aiohttp" else call for call in calls]
    calls.append({"client": "urllib", "url": https.url + path, "headers": headers})

    _, response = await invoke(
        spool, https, {"calls": calls}, LOGFERRY_CALLS_URL=recorded,
        LOGFERRY_CALLS_HEADERS="X-Amzn-RequestId, set-cookie, x-api-key",
    )  # fmt: skip

    assert [result.get("status") for result in response["results"]] == [200] * len(calls), response
    lines = pipe.calls()
    expected = {"host": None, "path": "/v1/***/items", "query": "/v1/***/items?signature=***&acl&***"}[recorded]
    assert [line.get("path") for line in lines] == [expected] * len(calls)
    assert [line["headers"] for line in lines] == [{"x-amzn-requestid": REQUEST_ID}] * len(calls)
    for secret in (TOKEN, PASSWORD, API_KEY, QUERY_VALUE, COOKIE, KEY, "user"):
        assert secret.encode() not in pipe.raw


async def test_ignored_hosts_and_traffic_of_the_extension_have_no_line(
    https: CallsServer, spool: Path, pipe: PipeReader
) -> None:
    """Patterns match a host with or without its port. Metadata addresses and logferry's listener are never recorded."""
    urls = [f"{https.url}/ignored", "https://LOCALHOST:1/x", "http://169.254.170.2/x", "http://127.0.0.1:9876/x"]
    kept = "http://127.0.0.1:9877/kept"
    event = {
        "calls": [
            {"client": client, "url": url, "timeout": 0.2} for url in (*urls, kept) for client in ("urllib", "requests")
        ]
    }

    await invoke(
        spool,
        https,
        event,
        LOGFERRY_CALLS_IGNORE=f"*.example.com, local*:{https.port} ,LOCALHOST",
        LOGFERRY_PORT="9876",
    )

    assert [line["path"] for line in pipe.calls()] == ["/kept", "/kept"]


async def test_call_before_the_first_invocation_has_no_request(
    https: CallsServer, spool: Path, pipe: PipeReader
) -> None:
    """Without an invocation of AWS's client, the root of the trace is recorded instead of the request ID."""
    code = """
import os, sys, urllib.request
urllib.request.urlopen(sys.argv[1])
os.environ["_X_AMZN_TRACE_ID"] = "Root=1-5f-abc;Parent=53995c3f42cd8ad8;Sampled=1"
urllib.request.urlopen(sys.argv[1])
"""
    run_python(code, {**hooked(spool), **https.trust}, f"{https.url}/init")

    first, second = pipe.calls()
    assert "requestId" not in first
    assert "trace" not in first
    assert second["trace"] == "1-5f-abc"
