"""All records of an execution environment are stored: cold start, one invocation, freeze, timeout, kills, shutdown."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from support.end_to_end import (
    PYTHON,
    SAMPLES,
    arrived_in,
    arrived_in_s3,
    assert_exactly_once,
    environment,
    lines_of,
    own_messages,
    records_of,
    shipper_pid,
    to_s3,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from logferry.emulator.timeline import Entry

S3_IDLE_SECONDS = 6.0
"""Wait, in seconds, after which S3 has closed an idle connection (about 5 s)."""


async def test_cold_start_registers_first_and_stores_the_init_records(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """The extension requests its first event before the runtime does, and `platform.initStart` is stored."""
    async with environment(tmp_path, to_s3(s3, bucket)) as service:
        await service.invoke({"marker": "cold"})
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    steps = ("register", "subscribe", "next")
    order = [e.kind for e in service.timeline if e.subject == "logferry" and e.kind in steps]
    assert order[:3] == ["register", "subscribe", "next"]
    first_next = {e.subject: e.at_ms for e in reversed(service.timeline) if e.kind == "next"}
    assert first_next["logferry"] < first_next["runtime"]
    types = [r["type"] for r in records_of(objects)]
    assert types[0] == "platform.initStart"
    assert types[-1] == "platform.report"
    assert_exactly_once(service, objects)


async def test_single_invocation_is_stored_at_its_end(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """The invocation is in S3 before the environment is idle, and its report after SHUTDOWN, marked as final."""
    async with environment(tmp_path, to_s3(s3, bucket)) as service:
        await service.invoke({"lines": 2, "marker": "only"})
        await service.wait_idle()
        assert lines_of(await arrived_in_s3(s3, bucket)) == ["only-0", "only-1"]
        result = await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert result.killed == ()
    assert result.exit_codes["logferry"] == 0
    assert [o.metadata.get("final") for o in objects] == [None, "true"]
    assert_exactly_once(service, objects)


async def test_two_hundred_consecutive_invocations_are_stored_once(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """Under the default policy a burst shares few objects, and its invocations are not extended."""
    async with environment(tmp_path, to_s3(s3, bucket)) as service:
        results = [await service.invoke({"lines": 2, "marker": f"m{n}"}) for n in range(200)]
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert {r.status for r in results} == {"success"}
    assert lines_of(objects) == [f"m{n}-{line}" for n in range(200) for line in range(2)]
    assert_exactly_once(service, objects)
    added = [r.post_runtime_ms for r in results[1:] if r.post_runtime_ms is not None]
    assert statistics.median(added) < 5


@pytest.mark.slow
async def test_freeze_longer_than_a_connection_lives_loses_nothing(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """After the thaw the pooled connection is closed: the upload uses a new one, and no message is written."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="invocation")
    async with environment(tmp_path, settings) as service:
        for number in range(2):
            await service.invoke({"marker": f"frozen{number}"})
            await service.idle_for(S3_IDLE_SECONDS)
            assert len(await arrived_in_s3(s3, bucket)) == number + 1
        await service.shutdown()
        assert_exactly_once(service, await arrived_in_s3(s3, bucket))
    assert own_messages(service) == []


async def test_function_timeout_loses_nothing(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """After a timeout SHUTDOWN stores the records; the next run in the same /tmp is another environment."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="time")
    async with environment(tmp_path, settings, timeout_seconds=1.5) as service:
        await service.invoke({"marker": "before"})
        late = await service.invoke({"marker": "late", "sleep_ms": 4000})
        again = await service.invoke({"marker": "after"})
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert (late.status, again.status) == ("timeout", "success")
    assert lines_of(objects) == ["before-0", "late-0", "after-0"]
    assert len({o.metadata["environment"] for o in objects}) == 2
    assert any(r["type"] == "platform.runtimeDone" and r["record"]["status"] == "timeout" for r in records_of(objects))
    assert_exactly_once(service, objects)


async def test_shutdown_under_load_stores_all_accepted_records(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """At SHUTDOWN under load, accepted records are in S3 within 2,000 ms, and the process exits."""
    async with environment(tmp_path, to_s3(s3, bucket, LOGFERRY_FLUSH="size")) as service:
        for number in range(3):
            await service.invoke({"lines": 4000, "marker": f"flood{number}", "bytes": 120})
        result = await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert result.killed == ()
    assert len(lines_of(objects)) == 12_000
    assert_exactly_once(service, objects)


async def test_twenty_thousand_lines_are_stored_in_order(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """Every line of a large invocation is stored once, in the order of printing."""
    async with environment(tmp_path, to_s3(s3, bucket), timeout_seconds=30) as service:
        result = await service.invoke({"lines": 20_000, "marker": "noise"})
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert result.status == "success"
    assert service.records_dropped == []
    assert lines_of(objects) == [f"noise-{n}" for n in range(20_000)]
    assert_exactly_once(service, objects)


async def test_json_records_keep_their_own_request_id(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """In the JSON log format a record is an object and contains its request ID (`requestIdSource: record`)."""
    async with environment(tmp_path, to_s3(s3, bucket), log_format="JSON") as service:
        result = await service.invoke({"marker": "text", "log": "structured"})
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    function = [r for r in records_of(objects) if r["type"] == "function"]
    logged = next(r for r in function if isinstance(r["record"], dict) and r["record"].get("message") == "structured")
    assert (logged["requestId"], logged["requestIdSource"]) == (result.request_id, "record")
    printed = next(r for r in function if r["record"] == "text-0")
    assert (printed["requestId"], printed["requestIdSource"]) == (result.request_id, "inferred")
    assert_exactly_once(service, objects)


@pytest.mark.parametrize(
    ("function", "handler"),
    [
        pytest.param(PYTHON, "app.handler", id="python"),
        pytest.param(("bash", str(SAMPLES / "bootstrap.sh")), "bootstrap", id="bash"),
        pytest.param(
            ("node", str(SAMPLES / "runtime.mjs")),
            "index.handler",
            id="node",
            marks=pytest.mark.skipif(not shutil.which("node"), reason="node is not installed"),
        ),
    ],
)
async def test_records_of_any_runtime_are_stored(tmp_path: Path, function: tuple[str, ...], handler: str) -> None:
    """With a real Python, bash and Node function, the line of each invocation is stored with its request."""
    async with environment(tmp_path, {}, function=function, handler=handler) as service:
        results = [await service.invoke({"marker": f"any{n}"}) for n in range(3)]
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    lines = [r for r in records_of(objects) if r["type"] == "function"]
    assert [str(r["record"]).rstrip("\n") for r in lines] == ["any0-0", "any1-0", "any2-0"]
    assert [r["requestId"] for r in lines] == [r.request_id for r in results]
    assert_exactly_once(service, objects)


async def test_killed_shipper_loses_no_record_and_fails_no_invocation(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """After SIGKILL between and during invocations the shipper is replaced, and each record is stored once."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="invocation", LOGFERRY_FLUSH_INVOCATIONS="2")
    async with environment(tmp_path, settings, timeout_seconds=10) as service:
        statuses = []
        for number in range(6):
            running = asyncio.create_task(service.invoke({"lines": 3, "marker": f"k{number}", "sleep_ms": 300}))
            if number in (1, 4):
                await service.timeline.wait_for(_invocation(number))
                os.kill(shipper_pid(service), signal.SIGKILL)
            statuses.append((await running).status)
            await service.wait_idle()
            if number == 2:
                os.kill(shipper_pid(service), signal.SIGKILL)
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert statuses == ["success"] * 6
    assert service.timeline.of("crash") == []
    assert sorted(lines_of(objects)) == sorted(f"k{n}-{line}" for n in range(6) for line in range(3))
    assert_exactly_once(service, objects)


def _invocation(number: int) -> Callable[[Entry], bool]:
    """Return a condition for the timeline: the invocation with this number, counted from 0, has begun."""
    seen = set()

    def reached(entry: Entry) -> bool:
        if entry.kind == "invoke":
            seen.add(entry.subject)
        return len(seen) > number

    return reached


async def test_managed_instances_store_concurrent_invocations_without_attribution(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """Managed Instances have SHUTDOWN only and no runtimeDone; a line without a request ID is not attributed."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH_SECONDS="0.5")
    config: dict[str, Any] = {
        "initialization_type": "lambda-managed-instances",
        "max_concurrency": 4,
        "runtime_processes": 4,
    }
    async with environment(tmp_path, settings, **config) as service:
        await asyncio.gather(*(service.invoke({"marker": f"mi{n}", "sleep_ms": 50}) for n in range(40)))
        await service.idle_for(2.5)
        assert len(lines_of(await arrived_in_s3(s3, bucket))) == 40
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert service.timeline.of("register", "logferry")[0].detail["events"] == ["SHUTDOWN"]
    assert not [r for r in records_of(objects) if r["type"] == "function" and "requestIdSource" in r]
    assert_exactly_once(service, objects)
