"""The Node.js hook under AWS's own emulator, in the mode of Managed Instances: concurrent invocations as uid 993."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logferry.cli.run import argv
from support.calls_server import calls_server
from support.end_to_end import arrived_in_s3, records_of, to_s3
from support.exec_wrapper import add_hooks, compile_wrapper
from support.node_hook import FUNCTIONS, function_folder
from support.npm_packages import CLIENTS, FETCH_SECONDS, modules, node

if TYPE_CHECKING:
    from logferry.emulator.s3_server import S3Server
    from support.aws_emulator import AwsEmulator

EXTENSION = "#!/bin/sh\nexec " + shlex.join(argv()) + "\n"
INVOCATIONS = 20


def node_program() -> Path:
    """Return the path of Node.js without links."""
    return Path(node()).resolve()


@pytest.mark.slow
@pytest.mark.timeout(FETCH_SECONDS)
async def test_concurrent_invocations_keep_their_calls_under_aws_emulator(
    aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """Worker threads run concurrent invocations, and each call has the request ID that its invocation received."""
    packages = modules(*CLIENTS)
    code = function_folder(tmp_path / "code", modules=Path("/packages"))
    (code / "concurrent_runtime.mjs").write_bytes((FUNCTIONS / "concurrent_runtime.mjs").read_bytes())
    opt = tmp_path / "opt"
    add_hooks(opt)
    wrapper = compile_wrapper(opt)
    program = node_program()
    mounts = {"/code": code, "/packages": packages, "/opt/logferry-wrap": wrapper, "/opt/logferry": opt / "logferry"}
    if not program.is_relative_to("/usr"):
        mounts[str(program.parents[1])] = program.parents[1]
    command = shlex.join(["exec", "/opt/logferry-wrap", str(program), "/code/concurrent_runtime.mjs"])
    with calls_server(tmp_path, tls=False) as server:
        async with aws_emulator(
            mode="managed-instances",
            bootstrap=f"#!/bin/sh\n{command}\n",
            extensions={"logferry": EXTENSION},
            environment=to_s3(s3, bucket, LOGFERRY_CALLS="each", LOGFERRY_FLUSH_SECONDS="1"),
            mounts=mounts,
            max_concurrency=4,
        ) as aws:
            urls = [f"http://localhost:{server.port}/slow/{number}" for number in range(INVOCATIONS)]
            events = [
                {"calls": [{"client": client, "url": url} for client in ("pooled", "fetch")], "requestId": True}
                for url in urls
            ]
            responses = await asyncio.gather(*(aws.invoke(event) for event in events))
            assert [status for status, _ in responses] == [200] * INVOCATIONS, aws.output
            assert await aws.shutdown() == 0
    expected = {f"/slow/{number}": json.loads(body)["requestId"] for number, (_, body) in enumerate(responses)}
    calls = [record for record in records_of(await arrived_in_s3(s3, bucket)) if record["type"] == "logferry.call"]
    assert len(calls) == 2 * INVOCATIONS
    assert {call["record"]["thread"] for call in calls} == {1, 2}
    for call in calls:
        assert call["requestId"] == call["record"]["requestId"] == expected[call["record"]["path"]]
