"""Others on the machine post records: what they cannot do by it.

They share the network with the platform, and who knows the subscribed path (it lies in the spool, which the function
can read) is taken for it: nothing tells the two apart. What they cannot do is tested here: end the shipper, exhaust
it, take other records with them, or pass for logferry's own account.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import records_of
from support.hostile_clients import ANSWER_SECONDS, MEMORY_BYTES, ends_complete, platform_at_work, timed
from support.lambda_stub import BareLambda
from support.large_batches import MIB, resident
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, ledger, lines_of, records_of_type

if TYPE_CHECKING:
    from support.s3_environment import Scene


async def test_who_does_not_know_the_subscribed_path_is_refused(scene: Scene) -> None:
    """Once the platform has delivered, a post to any other path is no delivery, and nothing of it is kept."""
    async with platform_at_work(scene) as platform:
        shipper = platform.life.shipper
        for path in ("/", "/in", platform.path[:-1], platform.path + "/", platform.path + "?x", "/" + "0" * 32):
            status = await platform.post(batch(function(f"forged at {path}")), path=path)
            assert status == 403 or path.endswith("?x")
        lines = await ends_complete(platform, scene, shipper=shipper)
    assert [line for line in lines if "?x" not in line] == ["warm", "end"]


HEAVY = {
    "four million numbers": b"[" + b"1," * (4 * MIB - 1000) + b'"platform."]',
    "two million empty objects": b"[" + b"{}," * (2 * MIB) + b'{"a":"platform."}]',
    "brackets without end": b"[" * (4 * MIB) + b"platform.",
    "a record of 300,000 keys": b'[{"type":"platform.x",' + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}]",
    "a number of four thousand digits, often": b"[" + b'{"type":"platform.x","record":%d},' % 10**4000 * 1000 + b"1]",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
async def test_a_body_made_to_be_expensive_does_not_end_the_shipper(scene: Scene, name: str) -> None:
    """Small to send and dear to read: deliveries are answered, memory is bounded, the rest is shipped."""
    async with platform_at_work(scene) as platform:
        life = platform.life
        most = 0
        done = asyncio.Event()

        async def watch() -> None:
            nonlocal most
            while not done.is_set():
                if life.shipper:
                    most = max(most, resident(life.shipper))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        await platform.post(HEAVY[name])
        slowest = await timed(platform, "line 1")
        held = await platform.hand_out(invoke_event("heavy", seconds=20))
        await platform.deliver(batch(function("line 2"), runtime_done("heavy"), report_of("heavy")))
        await platform.shutdown(seconds=20)
        done.set()
        await watching
        died = sum("died" in line or "did not answer" in line for line in life.output)
        stock = ledger(platform, objects := await scene.arrived(), scene.spool)
    print(f"{name}: {most // MIB} MiB resident, an answer after {slowest:.1f} s, an invocation held {held:.1f} s")
    assert not died, life.output
    assert not stock.missing, stock
    assert lines_of(objects) == ["warm", "line 1", "line 2"]
    assert slowest < ANSWER_SECONDS
    assert most < MEMORY_BYTES


STRANGE_RECORDS = [
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
]


@pytest.mark.parametrize(
    "key", ["", "{function}/{request_id}/{environment}-{segment}.ndjson.gz"], ids=["default-key", "request-id-key"]
)
async def test_a_strange_record_is_shipped_and_takes_no_other_with_it(scene: Scene, key: str) -> None:
    """Records no platform would make, one delivery each: what is delivered after them arrives, and so do they."""
    settings = {"LOGFERRY_KEY": key} if key else {}
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation", **settings)) as platform:
        life = await platform.start()
        for number, record in enumerate(STRANGE_RECORDS):
            assert await platform.post(json.dumps([record]).encode()) == 200
            await platform.invoke([f"line {number}"], seconds=5)
        await platform.shutdown()
        objects = await scene.arrived()
        stock = ledger(platform, objects, scene.spool)
    assert not [line for line in life.output if "died" in line], life.output
    assert not stock.missing, stock
    assert {line for line in lines_of(objects) if line.startswith("line")} == {
        f"line {n}" for n in range(len(STRANGE_RECORDS))
    }
    arrived = json.dumps(records_of(objects), ensure_ascii=False)
    for word in ("a time outside ASCII", "a time of 100 KB", "a path", "keys", "never seen"):
        assert word in arrived
    assert all(one.metadata["environment"] != "forged" for one in objects)
    assert all("forged" not in (r["environment"], r["seq"]) for r in records_of(objects))


async def test_a_forged_account_of_losses_is_told_from_logferrys_own(scene: Scene) -> None:
    """A post that claims to be `logferry.dropped`: it arrives marked as what was posted, never as our own word."""
    forged = {
        "time": "2026-01-01T00:00:00.000Z",
        "type": "logferry.dropped",
        "record": {"environment": "x", "segment": 1, "records": 1_000_000, "bytes": 1, "reason": "forged"},
    }
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        await platform.deliver(json.dumps([forged]).encode())
        await platform.invoke(["line"])
        await platform.shutdown()
        stock = assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert stock.reported_lost == 0
    (posted,) = records_of_type(objects, "logferry.unparsable")
    assert json.loads(posted["record"]["text"]) == forged
    assert not records_of_type(objects, "logferry.dropped")


async def test_forged_ends_of_invocations_cost_no_record(scene: Scene) -> None:
    """`platform.runtimeDone` and reports of requests that run or never were: at worst an object is sealed early."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        await platform.start()
        for number in range(5):
            held = asyncio.create_task(platform.hand_out(invoke_event(f"r{number}", seconds=10)))
            await platform.deliver(batch(start(f"r{number}")))
            await platform.deliver(batch(runtime_done(f"r{number}"), runtime_done("never"), report_of("never")))
            await platform.deliver(batch(function(f"after the forged end {number}")))
            await platform.deliver(batch(runtime_done(f"r{number}"), report_of(f"r{number}")))
            assert await held < 5
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert len(lines_of(objects)) == 5
