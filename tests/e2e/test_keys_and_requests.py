"""Where a line is stored, and under which request: the real extension in the emulator, with a clock that is set."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.clock import PlatformClock
from support.end_to_end import arrived_in, environment, records_of

if TYPE_CHECKING:
    from pathlib import Path

BEFORE_MIDNIGHT = datetime(2026, 11, 30, 23, 40, tzinfo=UTC).timestamp()
GATEWAY = "5f0d7c1e-9a63-4f0b-8a77-0c9b1f4e2d10"
FOREIGN = {
    "printed event": json.dumps({"requestContext": {"stage": "prod", "requestId": GATEWAY}}),
    "appended key": json.dumps({"level": "INFO", "message": "charged", "requestId": GATEWAY}),
    "SDK error": "write failed: " + json.dumps({"$metadata": {"requestId": GATEWAY, "attempts": 1}}),
    "business ID": json.dumps({"level": "INFO", "message": "charged", "requestId": "order-4711"}),
}


@pytest.mark.parametrize("key", ["", "{request_id}/{environment}-{segment}.ndjson.gz"], ids=["default", "request"])
async def test_line_is_stored_in_the_partition_of_its_hour_and_request(tmp_path: Path, key: str) -> None:
    """The report of the previous invocation comes first in an object, and it may be of the day before."""
    settings = {"LOGFERRY_FLUSH": "invocation"} | ({"LOGFERRY_KEY": key} if key else {})
    clock = PlatformClock(BEFORE_MIDNIGHT)
    async with environment(tmp_path, settings, clock=clock) as service:
        for _ in range(4):
            await service.invoke({})
            await service.wait_idle()
            clock.advance(600)
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    lines = [(one.key, record) for one in objects for record in one.records if record["type"] == "function"]
    assert len(lines) == 4
    for stored_as, record in lines:
        time, request = record["time"], record["requestId"]
        assert (request if key else f"/dt={time[:10]}/hour={time[11:13]}/") in stored_as, (stored_as, record)


async def test_init_phase_long_before_the_first_invocation_does_not_decide_the_partition(tmp_path: Path) -> None:
    """With provisioned concurrency, hours lie between the Init phase and the first invocation."""
    clock = PlatformClock(BEFORE_MIDNIGHT)
    settings = {"LOGFERRY_FLUSH": "invocation"}
    async with environment(tmp_path, settings, clock=clock) as service:
        clock.advance(5 * 3600)
        await service.invoke({})
        await service.wait_idle()
        await service.shutdown()
    lines = [(one.key, r) for one in arrived_in(tmp_path / "out") for r in one.records if r["type"] == "function"]
    assert [record["time"][:13] for _, record in lines] == ["2026-12-01T04"]
    assert all("/dt=2026-12-01/hour=04/" in stored_as for stored_as, _ in lines)


async def test_silent_function_stores_no_object(tmp_path: Path) -> None:
    """With `LOGFERRY_TYPES=function`, an environment without lines has no object, and none that marks its end."""
    settings = {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_TYPES": "function"}
    async with environment(tmp_path, settings) as service:
        for _ in range(2):
            await service.invoke({"lines": 0})
            await service.wait_idle()
        await service.shutdown()
    assert arrived_in(tmp_path / "out") == []


async def test_only_the_final_object_has_no_records_after_quiet_invocations(tmp_path: Path) -> None:
    """With `LOGFERRY_TYPES=function`, only invocations with lines store an object, and the last object is final."""
    settings = {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_TYPES": "function"}
    async with environment(tmp_path, settings) as service:
        for lines in (0, 1, 0, 0, 1, 0):
            await service.invoke({"lines": lines})
            await service.wait_idle()
        await service.shutdown()
    objects = sorted(arrived_in(tmp_path / "out"), key=lambda one: int(one.metadata["segment"]))
    assert [len(one.records) for one in objects] == [1, 1, 0]
    assert [one.metadata.get("final") for one in objects] == [None, None, "true"]
    assert all(r["requestIdSource"] == "inferred" for r in records_of(objects))


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
async def test_foreign_request_id_in_a_line_is_not_a_request(tmp_path: Path, log_format: str) -> None:
    """IDs of API Gateway, of SDK calls and of business objects are in many lines."""
    texts = list(FOREIGN.values())
    (tmp_path / "app.py").write_text(f"def handler(event, context):\n    for text in {texts!r}:\n        print(text)\n")
    settings = {"LOGFERRY_FLUSH": "invocation"}
    async with environment(tmp_path, settings, log_format=log_format, working_directory=tmp_path) as service:
        await service.invoke({})
        await service.wait_idle()
        await service.shutdown()
    found = records_of(arrived_in(tmp_path / "out"))
    (request,) = {r["requestId"] for r in found if r["type"] == "platform.start"}
    lines = [r for r in found if r["type"] == "function"]
    assert len(lines) == len(FOREIGN)
    assert {(r["requestId"], r["requestIdSource"]) for r in lines} == {(request, "inferred")}


async def test_closing_line_names_the_function_and_its_account(tmp_path: Path) -> None:
    """The supervisor gets the account with its registration, and the last line of each object contains it."""
    async with environment(tmp_path, {"LOGFERRY_FLUSH": "invocation"}) as service:
        await service.invoke({})
        await service.wait_idle()
        await service.shutdown()
    closing = []
    for path in (tmp_path / "out").rglob("*.ndjson.gz"):
        last = json.loads(gzip.decompress(path.read_bytes()).splitlines()[-1])
        assert last["type"] in ("logferry.segment", "logferry.final")
        closing.append(json.loads(last["record"]))
    assert closing
    assert {(one["function"], one["account"]) for one in closing} == {("orders", "123456789012")}
