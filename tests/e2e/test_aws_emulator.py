"""AWS's emulator in a private root, tested with a minimal extension before it judges the real one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError

from support.aws_emulator import AwsEmulator, AwsEmulatorError

if TYPE_CHECKING:
    from collections.abc import Callable

# A runtime with as many open calls to `next` as the environment allows, as Managed Instances require.
RUNTIME = f"""#!{sys.executable}
import os, threading, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
print("runtime", os.getpid(), "starts", flush=True)
pair = threading.Barrier(2, timeout=20)
def serve():
    while True:
        with urllib.request.urlopen(base + "next") as event:
            request_id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
        if b"together" in body:
            pair.wait()
        print("handled " + body.decode(), flush=True)
        urllib.request.urlopen(urllib.request.Request(base + request_id + "/response", data=body, method="POST"))
for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))):
    threading.Thread(target=serve).start()
"""

# An extension that registers, subscribes, and notes each event and batch as one JSON value per line.
EXTENSION = f"""#!{sys.executable}
import http.server, json, os, threading, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
lock = threading.Lock()
def note(kind, value):
    with lock, open("/notes/all", "a") as notes:
        print(json.dumps([kind, value]), file=notes)
class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        batch = self.rfile.read(int(self.headers["Content-Length"])).decode()
        note("batch", json.loads(batch))
        print("noted " + batch, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
listener = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Listener)
threading.Thread(target=listener.serve_forever, daemon=True).start()
def call(method, path, body=None, **headers):
    headers = {{"Lambda-Extension-" + name: value for name, value in headers.items()}}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(api + path, data, headers, method=method)) as response:
        return response.status, response.headers, json.loads(response.read())
managed = os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "lambda-managed-instances"
events = {{"events": ["SHUTDOWN"] if managed else ["INVOKE", "SHUTDOWN"]}}
_, headers, _ = call("POST", "/2020-01-01/extension/register", events, Name="tiny")
identifier = headers["Lambda-Extension-Identifier"]
subscription = {{
    "schemaVersion": "2025-01-29",
    "types": ["platform", "function"],
    "buffering": {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25}},
    "destination": {{"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d" % listener.server_port}},
}}
note("uid", os.getuid())
note("setting", os.environ.get("SETTING"))
note("subscribed", call("PUT", "/2022-07-01/telemetry", subscription, Identifier=identifier)[0])
while True:
    event = call("GET", "/2020-01-01/extension/event/next", Identifier=identifier)[2]
    note("event", event["eventType"])
    if event["eventType"] == "SHUTDOWN":
        break
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Give the directory for the notes of the extension."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def noted(notes: Path) -> Callable[[str], list[Any]]:
    """Give a function that returns the notes of one kind."""

    def read(kind: str) -> list[Any]:
        lines = [json.loads(line) for line in (notes / "all").read_text().splitlines()]
        return [value for noted_kind, value in lines if noted_kind == kind]

    return read


def machine() -> list[str]:
    """Return the machine's paths at the places that the private root replaces."""
    return [
        str(path) for place in ("/opt", "/opt/extensions", "/var", "/usr") for path in sorted(Path(place).glob("*"))
    ]


async def test_classic_mode_runs_extension_and_function_and_delivers_no_telemetry(
    aws_emulator: type[AwsEmulator], notes: Path, noted: Callable[[str], list[Any]]
) -> None:
    """Each invocation sends INVOKE, the end sends SHUTDOWN, and a subscription returns 202."""
    async with aws_emulator(
        mode="classic",
        bootstrap=RUNTIME,
        extensions={"tiny": EXTENSION},
        environment={"SETTING": "value"},
        writable={"/notes": notes},
    ) as aws:
        assert await aws.invoke({"n": 1}) == (200, b'{"n": 1}')
        assert await aws.invoke({"n": 2}) == (200, b'{"n": 2}')
        assert "handled" in await aws.wait_for_output('handled {"n": 2}')
        assert await aws.shutdown() == 0
    assert noted("subscribed") == [202]
    assert noted("uid") == [0]
    assert noted("setting") == ["value"]
    assert noted("event") == ["INVOKE", "INVOKE", "SHUTDOWN"]
    assert noted("batch") == []


async def test_managed_instances_mode_delivers_the_lines_of_concurrent_invocations(
    aws_emulator: type[AwsEmulator], notes: Path, noted: Callable[[str], list[Any]]
) -> None:
    """One runtime serves two invocations at once as uid 993, and their lines are delivered."""
    async with aws_emulator(
        mode="managed-instances",
        bootstrap=RUNTIME,
        extensions={"tiny": EXTENSION},
        writable={"/notes": notes},
        max_concurrency=2,
    ) as aws:
        responses = await asyncio.gather(aws.invoke("together 1"), aws.invoke("together 2"))
        assert list(responses) == [(200, b'"together 1"'), (200, b'"together 2"')]
        assert await aws.shutdown() == 0
        assert sum(line.startswith("runtime") for line in aws.output) == 1
    delivered = [event for batch in noted("batch") for event in batch]
    lines = {event["record"] for event in delivered if event["type"] == "function"}
    assert {'handled "together 1"', 'handled "together 2"'} <= lines
    assert sum(event["type"] == "platform.report" for event in delivered) == 2
    assert noted("subscribed") == [200]
    assert noted("uid") == [993]
    assert noted("event") == ["SHUTDOWN"]


async def test_the_private_root_hides_the_machine_and_leaves_it_unchanged(
    aws_emulator: type[AwsEmulator], tmp_path: Path
) -> None:
    """The root contains Lambda's paths and the mounts, which are read-only even for root.

    No file and no process remains outside.
    """
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "file").write_text("content")
    bootstrap = "#!/bin/sh\nls -d /opt/* /var/* /tmp/* /home /run 2>/dev/null | xargs echo seen\nid -u\n"
    bootstrap += "cat /opt/layer/file; [ -w /opt/layer ] || echo locked; [ -w /usr ] || echo closed\nexec sleep 600\n"
    before = machine()
    async with aws_emulator(mode="classic", bootstrap=bootstrap, mounts={"/opt/layer": layer}) as aws:
        invoking = asyncio.gather(aws.invoke({}), return_exceptions=True)
        seen = (await aws.wait_for_output("seen")).split()
        for line in ("content", "locked", "closed"):
            await aws.wait_for_output(line)
        assert "0" in aws.output
        pid = aws.pid
        os.kill(pid, 0)
    assert isinstance((await invoking)[0], ClientError)
    assert {"/opt/layer", "/var/runtime", "/var/task"} <= set(seen)
    assert not {"/home", "/run", "/var/log"} & set(seen)
    assert machine() == before
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_exit_of_an_extension_fails_the_invocation(aws_emulator: type[AwsEmulator]) -> None:
    """An extension that ends outside the Shutdown phase fails the invocation."""
    async with aws_emulator(mode="classic", bootstrap=RUNTIME, extensions={"quits": "#!/bin/sh\nexit 0\n"}) as aws:
        status, _ = await aws.invoke({})
        assert status == 502
        await aws.wait_for_output("Extension.Crash")


async def test_a_failed_mount_is_reported_with_the_output_of_mount(
    aws_emulator: type[AwsEmulator], tmp_path: Path
) -> None:
    """The error is that of `mount`, not a start timeout of the emulator."""
    with pytest.raises(AwsEmulatorError, match=r"status 32[\s\S]*absent"):
        await aws_emulator(mode="classic", bootstrap=RUNTIME, mounts={"/x": tmp_path / "absent"}).__aenter__()
