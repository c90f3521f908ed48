"""The hooks of the built layer at /opt: the exec wrapper starts a runtime, and its calls arrive in S3."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from logferry.emulator.lambda_service import EnvironmentConfig, Lambda
from support import layer_roots as roots
from support.calls_server import calls_server
from support.layer_roots import Entry, built_layer
from support.node_hook import function_folder

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

pytestmark = roots.in_roots


async def stored_calls(s3: S3Server, bucket: str) -> list[dict[str, Any]]:
    """Return the records of calls in a bucket, in order."""
    bodies = [gzip.decompress((await s3.get(bucket, key)).body) for key in await s3.list_keys(bucket)]
    records = [json.loads(line) for body in bodies for line in body.splitlines()]
    records.sort(key=lambda record: (record["segment"], record["line"]))
    return [record for record in records if record["type"] == "logferry.call"]


async def test_calls_of_a_node_function_arrive_from_the_layer(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """Wrapper, hook, pipe and extension are those of the tree at /opt. The image has neither Python nor a compiler."""
    tmp = tmp_path / "tmp"
    tmp.mkdir(mode=0o777)
    code = function_folder(tmp_path / "code")
    entry = Entry(roots.debian_root("bookworm", "nodejs"), built_layer().tree, tmp, extra={"/mnt": code})
    config = EnvironmentConfig(
        function=entry.command("/opt/logferry-wrap", "/usr/bin/node", "/mnt/runtime.mjs"),
        extensions={"logferry": entry.command("/opt/extensions/logferry")},
        environment={
            **s3.environment(),
            "LOGFERRY_DESTINATION": f"s3://{bucket}/logs",
            "LOGFERRY_FLUSH": "invocation",
            "LOGFERRY_CALLS": "each",
        },
        working_directory=code,
        tmp_directory=tmp,
        timeout_seconds=20.0,
    )
    with calls_server(tmp_path, tls=False) as server:
        url = f"http://127.0.0.1:{server.port}/status/200"  # the root has no names
        event = {"calls": [{"client": client, "url": url} for client in ("http", "fetch")], "state": True}
        async with Lambda(config) as lam:
            invoked = await lam.invoke(event)
            await lam.wait_idle()
            await lam.shutdown()
            console = "\n".join(f"{process}: {line}" for process, line in lam.console)
    assert invoked.status == "success", console
    response = json.loads(invoked.payload)
    assert [one["result"].get("status") for one in response["outcomes"]] == [200, 200]
    assert response["state"]["nodeOptions"] == "--require /opt/logferry/hooks/node.cjs"
    calls = await stored_calls(s3, bucket)
    assert [json.loads(call["record"])["path"] for call in calls] == ["/status/200"] * 2, console
    assert {call["requestId"] for call in calls} == {invoked.request_id}


PYTHON_RUNTIME = """
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as event:
        request_id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], json.load(event)
    with urllib.request.urlopen(body["url"]) as response:
        status = response.status
    data = json.dumps({"status": status, "pythonpath": os.environ.get("PYTHONPATH")}).encode()
    urllib.request.urlopen(urllib.request.Request(api + request_id + "/response", data=data, method="POST")).close()
"""


async def test_calls_of_a_python_function_arrive_from_the_layer(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """The same with the Python of Debian. Requests to the Runtime API have no record, and PYTHONPATH is restored."""
    tmp = tmp_path / "tmp"
    tmp.mkdir(mode=0o777)
    code = tmp_path / "code"
    code.mkdir()
    (code / "runtime.py").write_text(PYTHON_RUNTIME)
    entry = Entry(roots.debian_root("bookworm", "python3"), built_layer().tree, tmp, extra={"/mnt": code})
    config = EnvironmentConfig(
        function=entry.command("/opt/logferry-wrap", "/usr/bin/python3", "/mnt/runtime.py"),
        extensions={"logferry": entry.command("/opt/extensions/logferry")},
        environment={
            **s3.environment(),
            "LOGFERRY_DESTINATION": f"s3://{bucket}/logs",
            "LOGFERRY_FLUSH": "invocation",
            "LOGFERRY_CALLS": "each",
        },
        working_directory=code,
        tmp_directory=tmp,
        timeout_seconds=20.0,
    )
    with calls_server(tmp_path, tls=False) as server:
        async with Lambda(config) as lam:
            invoked = await lam.invoke({"url": f"http://127.0.0.1:{server.port}/status/200"})
            await lam.wait_idle()
            await lam.shutdown()
            console = "\n".join(f"{process}: {line}" for process, line in lam.console)
    assert invoked.status == "success", console
    assert json.loads(invoked.payload) == {"status": 200, "pythonpath": None}
    (call,) = await stored_calls(s3, bucket)
    assert json.loads(call["record"])["path"] == "/status/200"
    assert (call["requestId"], json.loads(call["record"])["by"]) == (invoked.request_id, "python")
