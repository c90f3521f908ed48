"""Calls of real Python functions, from the client to the stored records: the hook and the real extension."""

from __future__ import annotations

import asyncio
import gzip
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.run import argv
from logferry.emulator.environment_config import MANAGED_INSTANCES
from support.calls_server import calls_server
from support.end_to_end import arrived_in, arrived_in_s3, environment, records_of, to_s3
from support.exec_wrapper import add_hooks, compile_wrapper
from support.python_hook import FUNCTIONS, PYTHON_CALLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logferry.emulator.s3_server import S3Server
    from support.aws_emulator import AwsEmulator
    from support.calls_server import CallsServer

LAUNCHER = "#!/bin/sh\nexec " + shlex.join(argv()) + "\n"
TOKEN, VALUE = "9c" * 32, "value-of-the-query"
WORKERS, INVOCATIONS = 3, 6
TIMEOUT_SECONDS = 2.0


@pytest.fixture
def wrapper(tmp_path: Path) -> str:
    """Return the exec wrapper in a folder with the hooks."""
    add_hooks(tmp_path / "opt")
    return str(compile_wrapper(tmp_path / "opt"))


def settings(wrapper: str, https: CallsServer) -> dict[str, str]:
    """Return the settings of a function whose calls are stored one by one."""
    return {"AWS_LAMBDA_EXEC_WRAPPER": wrapper, "LOGFERRY_CALLS": "each", "LOGFERRY_FLUSH": "invocation", **https.trust}


def calls_in(directory: Path) -> list[dict[str, Any]]:
    """Return the stored records of calls."""
    records = records_of(arrived_in(directory))
    return [one["record"] for one in records if one["type"] == "logferry.call"]


def summaries_in(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the request and the calls of each stored summary."""
    records = [one["record"] for one in records_of(arrived_in(directory)) if one["type"] == "logferry.invocation"]
    return [(one["requestId"], one["calls"]) for one in records]


def get(client: str, url: str) -> dict[str, str]:
    """Return one call of an event."""
    return {"client": client, "url": url}


def event(calls: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return the event of an invocation."""
    return {"calls": list(calls)}


async def test_calls_are_stored_with_their_request_and_without_secrets(
    tmp_path: Path, https: CallsServer, wrapper: str
) -> None:
    """The objects have one record for each call and a summary of each invocation, and no secret in any byte."""
    clients = ("urllib", "requests", "httpx", "aiohttp")
    async with environment(
        tmp_path, settings(wrapper, https), function=PYTHON_CALLING, working_directory=FUNCTIONS, timeout_seconds=30
    ) as service:
        request_ids = []
        for number in range(2):
            calls = [get(client, f"{https.url}/{number}/{TOKEN}/{client}?key={VALUE}") for client in clients]
            result = await service.invoke(event(calls))
            assert result.status == "success", result.payload
            request_ids.append(result.request_id)
            await service.wait_idle()
        await service.shutdown()

    stored = calls_in(tmp_path / "out")
    assert [(one["method"], one["host"], one["port"], one["path"], one["status"]) for one in stored] == [
        ("GET", "localhost", https.port, f"/{number}/***/{client}", 200) for number in range(2) for client in clients
    ]
    assert [one["requestId"] for one in stored] == [one for one in request_ids for _ in clients]
    assert [one["n"] for one in stored] == list(range(1, 2 * len(clients) + 1))
    assert [(one, calls["count"], calls["errors"]) for one, calls in summaries_in(tmp_path / "out")] == [
        (request_id, len(clients), 0) for request_id in request_ids
    ]
    objects = [gzip.decompress(path.read_bytes()) for path in (tmp_path / "out").rglob("*.gz")]
    assert objects
    for secret in (TOKEN, VALUE, "key="):
        assert not any(secret.encode() in one for one in objects)


async def test_calls_before_a_timeout_are_stored(tmp_path: Path, https: CallsServer, wrapper: str) -> None:
    """The function is killed in the middle of a call. The calls before it are stored, and the next runtime works."""
    async with environment(
        tmp_path, settings(wrapper, https), function=PYTHON_CALLING, working_directory=FUNCTIONS,
        timeout_seconds=TIMEOUT_SECONDS,
    ) as service:  # fmt: skip
        await service.invoke(event([get("urllib", f"{https.url}/warm-up")]))
        await service.wait_idle()
        calls = [get("urllib", f"{https.url}/before/{number}") for number in range(3)]
        late = await service.invoke(event([*calls, get("urllib", f"{https.url}/hang")]))
        assert late.status == "timeout"
        after = await service.invoke(event([get("urllib", f"{https.url}/after")]))
        assert after.status == "success"
        await service.wait_idle()
        await service.shutdown()

    stored = [(one["path"], one["requestId"]) for one in calls_in(tmp_path / "out")]
    assert stored[1:] == [*((f"/before/{n}", late.request_id) for n in range(3)), ("/after", after.request_id)]
    counts = {request_id: calls["count"] for request_id, calls in summaries_in(tmp_path / "out")}
    assert (counts[late.request_id], counts[after.request_id]) == (3, 1)


async def test_concurrent_invocations_keep_their_calls(tmp_path: Path, https: CallsServer, wrapper: str) -> None:
    """On Managed Instances each worker is a process, and each call has the request of its invocation."""
    async with environment(
        tmp_path, settings(wrapper, https), function=PYTHON_CALLING, working_directory=FUNCTIONS, timeout_seconds=30,
        initialization_type=MANAGED_INSTANCES, max_concurrency=WORKERS,
    ) as service:  # fmt: skip
        calls = [[get("urllib", f"{https.url}/slow/{name}/{one}") for one in range(4)] for name in range(INVOCATIONS)]
        results = await asyncio.gather(*(service.invoke(event(one)) for one in calls))
        await service.shutdown()

    assert [json.loads(result.payload)["results"][-1]["status"] for result in results] == [200] * INVOCATIONS
    found = sorted((one["path"], one["requestId"]) for one in calls_in(tmp_path / "out"))
    assert found == sorted(
        (f"/slow/{name}/{one}", result.request_id) for name, result in enumerate(results) for one in range(4)
    )
    assert len({one["pid"] for one in calls_in(tmp_path / "out")}) > 1


async def test_concurrent_invocations_keep_their_calls_under_awss_emulator(
    aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str, tmp_path: Path, wrapper: str
) -> None:
    """As uid 993 and with AWS's telemetry, each call of concurrent invocations has the request of its invocation."""
    (tmp_path / "spool").mkdir()
    bootstrap = "#!/bin/sh\ncd /function\nexec /opt/logferry-wrap " + shlex.join(PYTHON_CALLING) + "\n"
    own = {"LOGFERRY_SPOOL_DIR": "/spool/logferry", "LOGFERRY_CALLS": "each", "LOGFERRY_FLUSH_SECONDS": "1"}
    hooks = Path(wrapper).parent / "logferry/hooks"
    with calls_server(tmp_path, tls=False) as server:
        async with aws_emulator(
            mode="managed-instances", bootstrap=bootstrap, extensions={"logferry": LAUNCHER},
            environment=to_s3(s3, bucket, **own), max_concurrency=WORKERS, writable={"/spool": tmp_path / "spool"},
            mounts={"/opt/logferry-wrap": Path(wrapper), "/opt/logferry/hooks": hooks, "/function": FUNCTIONS},
        ) as aws:  # fmt: skip
            url = f"http://127.0.0.1:{server.port}/slow"
            calls = [[get("urllib", f"{url}/{name}/{one}") for one in range(4)] for name in range(INVOCATIONS)]
            responses = await asyncio.gather(*(aws.invoke(event(one)) for one in calls))
            assert await aws.shutdown() == 0
    assert [status for status, _ in responses] == [200] * INVOCATIONS, responses
    records = records_of(await arrived_in_s3(s3, bucket))
    found = [(one["record"]["path"], one["record"]["requestId"]) for one in records if one["type"] == "logferry.call"]
    assert sorted(path for path, _ in found) == sorted(
        f"/slow/{name}/{one}" for name in range(INVOCATIONS) for one in range(4)
    )
    requests = [{request for path, request in found if path.startswith(f"/slow/{n}/")} for n in range(INVOCATIONS)]
    assert all(len(one) == 1 for one in requests)
    assert len(set.union(*requests)) == INVOCATIONS


async def test_function_runs_without_an_accepting_extension(tmp_path: Path, https: CallsServer, wrapper: str) -> None:
    """An extension with invalid settings removes its pipe. The function's calls work and have no record."""
    invalid = settings(wrapper, https) | {"LOGFERRY_FLUSH": "no-such-policy"}
    async with environment(
        tmp_path, invalid, function=PYTHON_CALLING, working_directory=FUNCTIONS, timeout_seconds=30
    ) as service:
        for number in range(2):
            result = await service.invoke(event([get("urllib", f"{https.url}/{number}")]))
            assert json.loads(result.payload)["results"][0]["status"] == 200
            await service.wait_idle()
        await service.shutdown()

    assert not (tmp_path / "out").exists() or calls_in(tmp_path / "out") == []


@pytest.mark.parametrize("with_wrapper", [False, True], ids=["no wrapper", "wrapper in the command"])
async def test_missing_hook_is_reported_once_with_its_remedy(
    tmp_path: Path, https: CallsServer, wrapper: str, *, with_wrapper: bool
) -> None:
    """No variable of the extension shows a wrapper in the command of an image; the runtime's environment does."""
    variables = settings(wrapper, https)
    del variables["AWS_LAMBDA_EXEC_WRAPPER"]
    function = (wrapper, *PYTHON_CALLING) if with_wrapper else PYTHON_CALLING
    async with environment(
        tmp_path, variables, function=function, working_directory=FUNCTIONS, timeout_seconds=30
    ) as service:
        for _ in range(2):
            await service.invoke(event([]))
            await service.wait_idle()
        await service.shutdown()
        messages = [line for _, line in service.console if "without the exec wrapper" in line]
    assert len(messages) == (0 if with_wrapper else 1), messages
    assert all("AWS_LAMBDA_EXEC_WRAPPER=/opt/logferry-wrap" in message for message in messages)
