"""Other processes of the environment post records.

They share the network with the platform. A process that knows the subscribed path is
indistinguishable from the platform, because the path is stored in the spool, which the function can
read. These tests hold what remains impossible: to end or exhaust the shipper, to affect other
records, or to forge logferry's own records.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import records_of
from support.hostile_clients import MEMORY_BYTES, RESPONSE_SECONDS, assert_intact, running_platform, timed
from support.lambda_stub import BareLambda
from support.large_batches import MIB, resident_bytes
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, ledger, lines_of, records_of_type

if TYPE_CHECKING:
    from support.s3_environment import S3Environment


async def test_post_to_another_path_is_refused(s3_env: S3Environment) -> None:
    """After the platform has delivered once, a POST to any other path is refused, and its records are not stored."""
    async with running_platform(s3_env) as platform:
        shipper = platform.extension.shipper
        for path in ("/", "/in", platform.path[:-1], platform.path + "/", platform.path + "?x", "/" + "0" * 32):
            status = await platform.post(batch(function(f"forged at {path}")), path=path)
            assert status == 403 or path.endswith("?x")
        lines = await assert_intact(platform, s3_env, shipper=shipper)
    assert [line for line in lines if "?x" not in line] == ["warm", "end"]


EXPENSIVE = {
    "four million numbers": b"[" + b"1," * (4 * MIB - 1000) + b'"platform."]',
    "two million empty objects": b"[" + b"{}," * (2 * MIB) + b'{"a":"platform."}]',
    "brackets without end": b"[" * (4 * MIB) + b"platform.",
    "a record of 300,000 keys": b'[{"type":"platform.x",' + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}]",
    "a number of four thousand digits, often": b"[" + b'{"type":"platform.x","record":%d},' % 10**4000 * 1000 + b"1]",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPENSIVE)
async def test_expensive_body_does_not_end_the_shipper(s3_env: S3Environment, name: str) -> None:
    """A body that is small but expensive to decode: batches are accepted, and memory is bounded."""
    async with running_platform(s3_env) as platform:
        extension = platform.extension
        most = 0
        done = asyncio.Event()

        async def watch() -> None:
            nonlocal most
            while not done.is_set():
                most = max(most, resident_bytes(extension.shipper))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        await platform.post(EXPENSIVE[name])
        slowest = await timed(platform, "line 1")
        held = await platform.hand_out(invoke_event("expensive", seconds=20))
        await platform.deliver(batch(function("line 2"), runtime_done("expensive"), report_of("expensive")))
        await platform.shutdown(seconds=20)
        done.set()
        await watching
        failures = sum("the shipper ended" in line or "did not answer" in line for line in extension.output)
        account = ledger(platform, objects := await s3_env.arrived(), s3_env.spool)
    print(
        f"{name}: {most // MIB} MiB resident, a response after {slowest:.1f} s, an invocation extended by {held:.1f} s"
    )
    assert not failures, extension.output
    assert not account.missing, account
    assert lines_of(objects) == ["warm", "line 1", "line 2"]
    assert slowest < RESPONSE_SECONDS
    assert 0 < most < MEMORY_BYTES


UNUSUAL_RECORDS = [
    {"time": "2026-01-01T00:00é", "type": "function", "record": "a time outside ASCII"},
    {"time": "2026-01-01T00:00\r\nX-Amz-Acl: public-read", "type": "function", "record": "a header in the time"},
    {"time": "2026-01-01T00:" + "0" * 100_000, "type": "function", "record": "a time of 100 KB"},
    {
        "time": "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661T\u0660\u0660:00",
        "type": "function",
        "record": "a time in other digits",
    },
    {"time": "../../../2026", "type": "../../etc", "record": "a path"},
    {"time": 17, "type": ["list"], "record": None},
    {"requestId": "../../other/" + "r" * 5000, "time": "2026-01-01T00:00:00.000Z", "type": "function", "record": "id"},
    {"environment": "forged", "seq": "forged", "time": "2026-01-01T00:00:00Z", "type": "function", "record": "keys"},
    {"time": "2026-01-01T00:00:00.000Z", "type": "function", "record": "\ud800 a lone surrogate"},
    {"time": "2026-01-01T00:00:00.000Z", "type": "function", "record": "\u0000\u2028\u2029 line ends"},
    {"time": "2026-01-01T00:00:00.000Z", "type": "platform.report", "record": {"requestId": "never seen"}},
    {"time": "2026-01-01T00:00:00.000Z", "type": "platform.runtimeDone", "record": "no object"},
    {"time": "2026-01-01T00:00:00.000Z", "type": "platform.start", "record": {"requestId": 5}},
    {"time": "2026-01-01T00:00:00.000Z", "type": "platform.start"},
    {"time": "2026-01-01T00:00:00.000Z", "type": "platform.runtimeDone"},
    {"type": "platform.report"},
    {"time": "2026-01-01T00:00:00.000Z", "type": "platform.runtimeDone", "record": {"requestId": "x", "status": [1]}},
]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"LOGFERRY_KEY": "{function}/{request_id}/{environment}-{segment}.ndjson.gz"},
        {"LOGFERRY_EVENTS": "true", "LOGFERRY_USAGE": "true"},
    ],
    ids=["default-key", "request-id-key", "instrumentation"],
)
async def test_unusual_record_is_stored_and_affects_no_other(s3_env: S3Environment, settings: dict[str, str]) -> None:
    """Records that the platform would not produce, one batch each, are stored, and so are the records after them."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation", **settings)) as platform:
        extension = await platform.start()
        for number, record in enumerate(UNUSUAL_RECORDS):
            assert await platform.post(json.dumps([record]).encode()) == 200
            await platform.invoke([f"line {number}"], seconds=5)
        await platform.shutdown()
        objects = await s3_env.arrived()
        account = ledger(platform, objects, s3_env.spool)
    assert not [line for line in extension.output if "the shipper ended" in line], extension.output
    assert not account.missing, account
    assert {line for line in lines_of(objects) if line.startswith("line")} == {
        f"line {n}" for n in range(len(UNUSUAL_RECORDS))
    }
    arrived = json.dumps(records_of(objects), ensure_ascii=False)
    for word in ("a time outside ASCII", "a time of 100 KB", "a path", "keys", "never seen"):
        assert word in arrived
    assert all(one.metadata["environment"] != "forged" for one in objects)
    assert all("forged" not in (r["environment"], str(r["segment"])) for r in records_of(objects))


async def test_forged_loss_report_is_stored_as_unparsable(s3_env: S3Environment) -> None:
    """A posted `logferry.dropped` record is stored as `logferry.unparsable`, never as a report of logferry."""
    forged = {
        "time": "2026-01-01T00:00:00.000Z",
        "type": "logferry.dropped",
        "record": {"environment": "x", "segment": 1, "records": 1_000_000, "bytes": 1, "reason": "forged"},
    }
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.deliver(json.dumps([forged]).encode())
        await platform.invoke(["line"])
        await platform.shutdown()
        account = assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert account.reported_lost == 0
    (posted,) = records_of_type(objects, "logferry.unparsable")
    assert json.loads(posted["record"]["text"]) == forged
    assert not records_of_type(objects, "logferry.dropped")


async def test_forged_end_of_an_invocation_loses_no_record(s3_env: S3Environment) -> None:
    """A forged `platform.runtimeDone` or report at most seals a segment early."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        for number in range(5):
            held = asyncio.create_task(platform.hand_out(invoke_event(f"r{number}", seconds=10)))
            await platform.deliver(batch(start(f"r{number}")))
            await platform.deliver(batch(runtime_done(f"r{number}"), runtime_done("never"), report_of("never")))
            await platform.deliver(batch(function(f"after the forged end {number}")))
            await platform.deliver(batch(runtime_done(f"r{number}"), report_of(f"r{number}")))
            assert await held < 5
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert len(lines_of(objects)) == 5
