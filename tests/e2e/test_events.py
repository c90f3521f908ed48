"""Events of real functions, from the function's process to the object in S3."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.run import argv
from logferry.cli.verify.command import run_verify
from logferry.emulator.seaweedfs import free_ports
from support.end_to_end import (
    arrived_in,
    arrived_in_s3,
    assert_exactly_once,
    environment,
    own_messages,
    records_of,
    shipper_pid,
    to_s3,
)
from support.event_functions import CONCURRENT_RUNTIME, node_function, python_function, shell_function

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.aws_emulator import AwsEmulator
    from support.end_to_end import Arrived

PYTHON = (sys.executable, "-m", "awslambdaric", "function.handler")
LAUNCHER = "#!/bin/sh\nexec " + shlex.join(argv()) + "\n"
FUNCTIONS = {
    "python": (python_function, PYTHON),
    "node": (node_function, ("node", "runtime.mjs")),
    "shell": (shell_function, ("bash", "bootstrap.sh")),
}


def events_on(**settings: str) -> dict[str, str]:
    """Return settings that accept events and store after each invocation, with a free port."""
    return {
        "LOGFERRY_EVENTS": "true",
        "LOGFERRY_FLUSH": "invocation",
        "LOGFERRY_PORT": str(free_ports(1)[0]),
        **settings,
    }


def events_of(objects: Sequence[Arrived]) -> list[dict[str, Any]]:
    """Return the stored events and metrics."""
    return [each for each in records_of(objects) if each["type"] in ("logferry.event", "logferry.metric")]


def names_of(objects: Sequence[Arrived]) -> list[str]:
    """Return the names of the stored events."""
    return sorted(each["record"]["event"] for each in events_of(objects) if each["type"] == "logferry.event")


@pytest.mark.parametrize("kind", FUNCTIONS)
async def test_posted_events_of_each_runtime_are_stored_once_with_their_request(
    s3: S3Server, bucket: str, tmp_path: Path, kind: str
) -> None:
    """The client returns after the journal has the event, so that the function may end at once."""
    make, function = FUNCTIONS[kind]
    if shutil.which(function[0]) is None or (kind == "shell" and shutil.which("curl") is None):
        pytest.skip(f"{function[0]} or curl is not installed")
    directory = make(tmp_path / "function")
    requests = {}
    async with environment(
        tmp_path, to_s3(s3, bucket, **events_on()), function=function, working_directory=directory
    ) as service:
        for marker in ("a", "b", "c"):
            result = await service.invoke({"marker": marker, "post": 2})
            assert result.status == "success"
            requests[marker] = result.request_id
            await service.wait_idle()
        await service.shutdown()
    objects = await arrived_in_s3(s3, bucket)
    assert_exactly_once(service, objects)
    assert names_of(objects) == [f"{marker}-post-{n}" for marker in "abc" for n in range(2)]
    for event in events_of(objects):
        assert event["requestId"] == requests[event["record"]["event"][0]], event


async def test_events_are_stored_with_their_request_through_pipe_and_endpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events in the pipe that state only their time have the right request too, also after a freeze."""
    directory = python_function(tmp_path / "function")
    requests = {}
    settings = events_on(LOGFERRY_FLUSH="size")
    async with environment(tmp_path, settings, function=PYTHON, working_directory=directory) as service:
        for number in range(6):
            payload = {"marker": f"m{number}", "pipe": 3, "post": 1, "metric": True, "stated": number % 2 == 0}
            requests[f"m{number}"] = (await service.invoke(payload)).request_id
            if number % 3 == 2:
                await service.idle_for(0.3)
            else:
                await service.wait_idle()
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert_exactly_once(service, objects)
    assert await asyncio.to_thread(run_verify, f"file://{tmp_path}/out") == 0
    assert "COMPLETE" in capsys.readouterr().out
    events = events_of(objects)
    assert len(events) == 6 * 5
    for event in events:
        marker = (event["record"].get("event") or event["record"]["metric"]).partition("-")[0]
        assert event.get("requestId") == requests[marker], event
        is_stated = int(marker[1:]) % 2 == 0 or "pid" not in event["record"]
        assert event["requestIdSource"] == ("record" if is_stated else "inferred")
    assert not own_messages(service)


async def test_events_written_before_a_runtime_is_killed_are_stored(tmp_path: Path) -> None:
    """The last write has returned, so the kernel has the bytes: a SIGKILL and a reset lose none of them."""
    directory = python_function(tmp_path / "function")
    async with environment(tmp_path, events_on(), function=PYTHON, working_directory=directory) as service:
        await service.invoke({"marker": "warm"})
        await service.wait_idle()
        result = await service.invoke({"marker": "killed", "pipe": 1000, "kill": True})
        assert result.status != "success"
        await service.wait_idle()
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    numbers = Counter(event["record"]["n"] for event in events_of(objects))
    assert numbers == Counter(range(1, 1001))
    assert {event["requestId"] for event in events_of(objects)} == {result.request_id}


@pytest.mark.parametrize("flush", ["invocation", "size"], ids=["held", "not held"])
async def test_freeze_between_write_and_read_loses_nothing(tmp_path: Path, flush: str) -> None:
    """The shipper is stopped before the write and continues after the next invocation has begun."""
    directory = python_function(tmp_path / "function")
    settings = events_on(LOGFERRY_FLUSH=flush, LOGFERRY_LOG_LEVEL="error")
    async with environment(tmp_path, settings, function=PYTHON, working_directory=directory) as service:
        await service.invoke({"marker": "warm"})
        await service.wait_idle()
        requests = {}
        for marker in ("a", "b"):
            result = await service.invoke({"marker": marker, "pipe": 20})
            requests[marker] = result.request_id
            await service.idle_for(0.5)  # frozen, at the latest 25 ms after the end of the runtime
        await service.shutdown()
    events = events_of(arrived_in(tmp_path / "out"))
    assert Counter(event["record"]["event"][0] for event in events) == {"a": 20, "b": 20}
    assert all(event["requestId"] == requests[event["record"]["event"][0]] for event in events)


async def test_burst_never_blocks_the_handler_and_every_event_is_stored_or_counted(tmp_path: Path) -> None:
    """The shipper is stopped: the pipe fills up, writes are refused, and stored plus refused is sent."""
    directory = python_function(tmp_path / "function")
    settings = events_on(LOGFERRY_EVENTS_LIMIT="100000")
    async with environment(tmp_path, settings, function=PYTHON, working_directory=directory) as service:
        await service.invoke({"marker": "warm"})
        await service.wait_idle()
        shipper = shipper_pid(service)
        os.kill(shipper, signal.SIGSTOP)
        try:
            result = await asyncio.wait_for(service.invoke({"marker": "burst", "pipe": 20_000}), 30)
        finally:
            os.kill(shipper, signal.SIGCONT)
        await service.wait_idle()
        await service.shutdown()
    written = json.loads(result.payload)["written"]
    assert 0 < written < 20_000
    objects = arrived_in(tmp_path / "out")
    numbers = Counter(event["record"]["n"] for event in events_of(objects))
    assert numbers.total() == len(numbers) == written
    summaries = [each["record"] for each in records_of(objects) if each["type"] == "logferry.invocation"]
    assert summaries[-1]["events"] == written


async def test_forged_lines_arrive_as_content_and_junk_is_reported_once(tmp_path: Path) -> None:
    """Neither path accepts a record of the platform or of logferry."""
    directory = python_function(tmp_path / "function")
    forged = '{"event":"forged","type":"platform.runtimeDone","record":{"requestId":"r"},"segment":9,"environment":"x"}'
    junk = ["junk", "\x00", "[" * 3000, '[{"time":"2026-01-01T00:00:00.000Z","type":"logferry.dropped","record":{}}]']
    async with environment(tmp_path, events_on(), function=PYTHON, working_directory=directory) as service:
        await service.invoke({"marker": "warm"})  # before it, a line without time and request may be of the Init phase
        await service.wait_idle()
        for marker in ("a", "b"):
            await service.invoke({"marker": marker, "raw": [forged, *junk, '{"event":"last"}'], "pipe": 1})
            await service.wait_idle()
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert_exactly_once(service, objects)
    assert names_of(objects) == ["a-pipe-0", "b-pipe-0", "forged", "forged", "last", "last"]
    assert not [each for each in records_of(objects) if each["type"] == "logferry.dropped"]
    assert 1 <= len([each for each in records_of(objects) if each["type"] == "logferry.unparsable"]) <= 4
    (message,) = own_messages(service)
    assert "malformed" in message
    summaries = [each["record"] for each in records_of(objects) if each["type"] == "logferry.invocation"]
    assert sum(each.get("lost", {}).get("malformed", 0) for each in summaries) == 2 * len(junk)
    assert sum(each["events"] + each.get("lateEvents", 0) for each in summaries) == 6


def _assert_own_requests(objects: Sequence[Arrived], requests: dict[str, str], *, lines: int) -> None:
    """Assert that each event of each invocation is stored once, unbroken, and with its own request."""
    found = Counter((each["record"].get("event"), each["record"].get("n")) for each in events_of(objects))
    expected = Counter((marker, n) for marker in requests for n in range(lines))
    assert found == expected + Counter({(None, None): len(requests)})
    for each in events_of(objects):
        record = each["record"]
        assert each["requestId"] == requests[record.get("event") or record["metric"]], each
        assert each["requestIdSource"] == "record"
        assert record.get("padding", "") == "x" * (record.get("n", 0) * 37 % 3500)


async def test_sixteen_processes_on_managed_instances_keep_their_lines_and_requests(tmp_path: Path) -> None:
    """Concurrent writers never tear a line of up to 4,096 bytes, and each event has the request that it states."""
    (tmp_path / "runtime.py").write_text(CONCURRENT_RUNTIME)
    settings = events_on(LOGFERRY_FLUSH="time", LOGFERRY_FLUSH_SECONDS="1", LOGFERRY_EVENTS_LIMIT="100000")
    async with environment(
        tmp_path,
        settings,
        function=(sys.executable, "-S", "-E", str(tmp_path / "runtime.py")),
        initialization_type="lambda-managed-instances",
        max_concurrency=16,
        runtime_processes=16,
    ) as service:
        payloads = [{"marker": f"m{n}", "lines": 60, "pause": 0.002} for n in range(48)]
        results = await asyncio.gather(*(service.invoke(payload) for payload in payloads))
        assert {json.loads(result.payload)["status"] for result in results} == {200}
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert_exactly_once(service, objects)
    requests = {str(payload["marker"]): result.request_id for payload, result in zip(payloads, results, strict=True)}
    _assert_own_requests(objects, requests, lines=60)


async def test_events_of_concurrent_invocations_under_aws_emulator_have_their_own_request(
    aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """AWS's own supervisor, as another user, in Managed Instances mode."""
    spool = tmp_path / "spool"
    spool.mkdir()
    settings = events_on(
        LOGFERRY_SPOOL_DIR="/spool/logferry",
        LOGFERRY_FLUSH="time",
        LOGFERRY_FLUSH_SECONDS="1",
        LOGFERRY_EVENTS_LIMIT="100000",
        THREADS="4",
    )
    async with aws_emulator(
        mode="managed-instances",
        bootstrap=f"#!{sys.executable}\n{CONCURRENT_RUNTIME}",
        extensions={"logferry": LAUNCHER},
        environment=to_s3(s3, bucket, **settings),
        writable={"/spool": spool},
        max_concurrency=4,
    ) as aws:
        markers = [f"m{n}" for n in range(24)]
        answers = await asyncio.gather(*(aws.invoke({"marker": marker, "lines": 20}) for marker in markers))
        bodies = [json.loads(body) for _, body in answers]
        assert {(status, body["status"]) for (status, _), body in zip(answers, bodies, strict=True)} == {(200, 200)}
        assert await aws.shutdown() == 0
    requests = {marker: body["request"] for marker, body in zip(markers, bodies, strict=True)}
    _assert_own_requests(await arrived_in_s3(s3, bucket), requests, lines=20)
