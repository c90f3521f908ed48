"""A real function and the real extension with a stream that fails: every line arrives, and the proof is SQL."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import arrived_in, assert_exactly_once, environment, own_messages, shipper_pid
from support.firehose_delivery import connected, deliver
from support.firehose_stub import STREAM, Reply, firehose_stub
from support.format_1 import read_line, restored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import duckdb

    from logferry.emulator.lambda_service import Lambda
    from support.firehose_stub import FirehoseStub

TABLES = Path(__file__).parents[2] / "config" / "tables"
SHIPPED = ("platform", "function")


def to_stream(stub: FirehoseStub, **settings: str) -> dict[str, str]:
    """Return settings that ship to the stream of a stub."""
    return {"LOGFERRY_DESTINATION": f"firehose://{STREAM}", **stub.environment, **settings}


def by_place(stub: FirehoseStub) -> dict[tuple[str, int, int], dict[str, Any]]:
    """Return the delivered lines by environment, segment and line.

    Lines with the same place are equal, except for a segment that became the final one between two attempts.
    """
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for line in sorted((read_line(text.decode()) for text in stub.lines), key=lambda line: str(line.get("type"))):
        place = line["environment"], line["segment"], line["line"]
        first = found.setdefault(place, line)
        assert first == line or (first["type"], line["type"]) == ("logferry.final", "logferry.segment")
    return found


def assert_complete(service: Lambda, lines: Mapping[tuple[str, int, int], dict[str, Any]]) -> None:
    """Assert that the lines are exactly the accepted records, without a gap in their numbers."""
    delivered = [restored(line) for line in lines.values() if line["type"].partition(".")[0] in SHIPPED]
    accepted = [record for record in service.records_delivered if record["type"].partition(".")[0] in SHIPPED]
    assert sorted(map(identity, delivered)) == sorted(map(identity, accepted))
    (environments,) = ({name for name, _, _ in lines},)
    assert len(environments) == 1
    segments = {segment for _, segment, _ in lines}
    assert segments == set(range(1, max(segments) + 1))
    for segment in segments:
        numbers = sorted(line for _, each, line in lines if each == segment)
        assert numbers == list(range(1, len(numbers) + 1))
        closing = lines[next(iter(environments)), segment, len(numbers)]["type"]
        assert closing == ("logferry.final" if segment == max(segments) else "logferry.segment")


def identity(record: Mapping[str, Any]) -> str:
    """Return a record without the columns of logferry."""
    return json.dumps([record["time"], record["type"], record["record"]], sort_keys=True)


class FailingStream:
    """Replies of a stream whose requests and records fail at random, but never more than two requests completely."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311
        self._futile = 0

    def reply(self, _number: int, records: Sequence[bytes]) -> Reply:
        """Return the reply to the next request."""
        found = self._any(records) if self._futile < 2 else Reply()
        accepted = found.status == 200 and len(found.failed) < len(records)
        self._futile = 0 if accepted else self._futile + 1
        return found

    def _any(self, records: Sequence[bytes]) -> Reply:
        fault = self._chance.random()
        # Three cases: 1. throttled, 2. accepted without a response, 3. half of the records fail.
        if fault < 0.08:
            return Reply(status=503, code="ServiceUnavailableException", message="Slow down.")
        if fault < 0.16:
            return Reply(accepts=True, closes=True)
        return Reply(failed=[place for place in range(len(records)) if self._chance.random() < 0.5])


def values(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    """Return the rows of a query."""
    return connection.execute(query).fetchall()


@pytest.mark.parametrize("max_lines", ["500", "1"])
async def test_stream_that_fails_half_of_the_records_gets_every_line(tmp_path: Path, max_lines: str) -> None:
    """Records fail at random, one request in six as a whole or after it was accepted. Lines arrive at SHUTDOWN too."""
    seed = random.randrange(1 << 30)  # noqa: S311 - printed, so that the run can be repeated
    print(f"seed {seed}")
    with firehose_stub(FailingStream(seed).reply) as stub:
        settings = to_stream(stub, LOGFERRY_FLUSH="invocation", LOGFERRY_FIREHOSE_LINES=max_lines)
        async with environment(tmp_path, settings) as service:
            for number in range(4):
                await service.invoke({"marker": f"invocation {number}", "lines": 30})
                await service.wait_idle()
            await service.shutdown()
    print(*own_messages(service), sep="\n")
    assert_complete(service, by_place(stub))
    deliver(stub.accepted, tmp_path / "bucket", seed=seed, compress=max_lines == "1")
    connection = connected(tmp_path / "bucket", TABLES)
    assert values(connection, "SELECT * FROM faults") == []
    assert values(connection, "SELECT count(*), count(DISTINCT text) FROM function_lines") == [(120, 120)]
    assert values(connection, "SELECT DISTINCT function FROM logs") == [("orders",)]
    assert values(connection, "SELECT status, count(*) FROM invocations GROUP BY status") == [("success", 4)]


async def test_proof_by_sql_finds_a_record_that_firehose_has_lost(tmp_path: Path) -> None:
    """A record that was accepted and not delivered is a gap in the numbers of the lines."""
    with firehose_stub() as stub:
        async with environment(tmp_path, to_stream(stub, LOGFERRY_FIREHOSE_LINES="1")) as service:
            await service.invoke({"lines": 3})
            await service.shutdown()
    lost = next(record for record in stub.accepted if b'"line-1' in record)
    deliver([record for record in stub.accepted if record != lost], tmp_path / "bucket", seed=1)
    connection = connected(tmp_path / "bucket", TABLES)
    assert values(connection, "SELECT fault, amount FROM faults") == [("lines missing", 1)]


async def test_shipper_that_is_killed_after_a_request_was_accepted_loses_no_line(tmp_path: Path) -> None:
    """The memory of accepted records is lost with the process. The next one sends the segment again."""
    arrived, killed = threading.Event(), threading.Event()

    def reply(number: int, _records: Sequence[bytes]) -> Reply:
        if number == 1:
            arrived.set()
            killed.wait(20)
            return Reply(accepts=True, closes=True)
        return Reply()

    with firehose_stub(reply) as stub:
        async with environment(tmp_path, to_stream(stub, LOGFERRY_FLUSH="invocation")) as service:
            invoking = asyncio.create_task(service.invoke({"lines": 20}))
            assert await asyncio.to_thread(arrived.wait, 20)
            os.kill(shipper_pid(service), signal.SIGKILL)
            killed.set()
            await invoking
            await service.wait_idle()
            await service.invoke({"lines": 1})
            await service.shutdown()
    lines = by_place(stub)
    functions = [line["message"] for line in lines.values() if line["type"] == "function"]
    assert len(functions) == 21
    assert len(stub.lines) > len(lines), "the first request was accepted, and its lines were sent again"


async def test_objects_of_the_fallback_destination_are_compressed_and_complete(tmp_path: Path) -> None:
    """Each destination has its own encoder: the stream gets lines, and the directory objects of format 1."""
    denied = Reply(status=400, code="ResourceNotFoundException", message="Firehose my-stream not found.")
    settings = {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_FALLBACK_DESTINATION": f"file://{tmp_path}/out"}
    with firehose_stub(lambda _number, _records: denied) as stub:
        async with environment(tmp_path, to_stream(stub, **settings)) as service:
            await service.invoke({"lines": 3})
            await service.wait_idle()
            await service.invoke({"lines": 3})
            await service.shutdown()
        assert stub.accepted == []
    objects = arrived_in(tmp_path / "out")
    assert_exactly_once(service, objects)
    assert all(one.key.endswith(".ndjson.gz") and one.metadata["fallback"] == "true" for one in objects)


async def test_stream_without_permission_leaves_the_records_in_the_spool(tmp_path: Path) -> None:
    """One message names the permission, and the records are delivered by a later start in the same /tmp."""
    denied = Reply(status=400, code="AccessDeniedException", message="User is not authorized to perform: firehose:PutR")
    with firehose_stub(lambda _number, _records: denied) as stub:
        async with environment(tmp_path, to_stream(stub, LOGFERRY_FLUSH="invocation")) as service:
            await service.invoke({"lines": 3})
            await service.wait_idle()
            await service.invoke({"lines": 3})
            await service.shutdown()
        failures = [line for line in own_messages(service) if "an upload failed" in line]
        assert len(failures) == 1
        assert "allow firehose:PutRecordBatch on the stream in the function's role" in failures[0]
        stub.reply = lambda _number, _records: Reply()
        async with environment(tmp_path, to_stream(stub)) as later:
            await later.invoke({"lines": 1})
            await later.shutdown()
    delivered = [line["message"] for line in by_place(stub).values() if line["type"] == "function"]
    assert sorted(delivered) == sorted(
        record["record"] for one in (service, later) for record in one.records_delivered if record["type"] == "function"
    )
