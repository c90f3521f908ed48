"""A segment to one object in format 1: the same segment gives the same bytes, with every record, under the same key."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.records import decoder, internal, lines
from logferry.records.encoder import encode
from logferry.records.internal import InternalBatch
from logferry.records.model import Header, Origin, StoredObject
from logferry.records.object_key import DEFAULT_KEY
from support.batch_strategies import ANYTHING, deliveries
from support.decoded import events_in
from support.format_1 import OURS, read_lines, read_object

if TYPE_CHECKING:
    from collections.abc import Iterable

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
TIME = "2026-11-21T02:26:24.357Z"
ALL = frozenset({"platform", "function", "extension"})
ORIGIN = Origin("0a1b2c", function="orders", version="$LATEST", region="eu-west-1", concurrent=False)
HEADER = Header(origin=ORIGIN, number=7, opened_ms=1_795_227_984_357, request_id=None)
THOROUGH = settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


def encoded(
    bodies: Iterable[bytes],
    *,
    header: Header = HEADER,
    final: bool = False,
    key: str = DEFAULT_KEY,
    compress: bool = False,
    types: frozenset[str] = ALL,
) -> StoredObject:
    """Return an object, with defaults for everything that a test does not set."""
    return encode(header, bodies, final=final, key=key, compress=compress, types=types)


def stored_lines(stored: StoredObject) -> list[dict[str, Any]]:
    """Return the columns of the records of an object."""
    return read_lines(stored.body)[:-1]


def records(stored: StoredObject) -> list[dict[str, Any]]:
    """Return the restored records of an object."""
    return read_object(stored.body, stored.metadata)[0]


def batch(*events: dict[str, Any]) -> bytes:
    """Return a batch of events as the platform writes it."""
    return json.dumps(events, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def at(time: str, record: Any = "x", kind: str = "function") -> dict[str, Any]:
    """Return an event of that time."""
    return {"time": time, "type": kind, "record": record}


def start(time: str, request_id: str = A) -> dict[str, Any]:
    """Return the start of a request."""
    return at(time, {"requestId": request_id}, "platform.start")


# --- the lines


def test_line_of_a_text_record_has_the_column_message() -> None:
    """The columns of format 1, in their order."""
    (line,) = stored_lines(encoded([batch(at(TIME, "ä"))]))
    assert line == {
        "time": TIME,
        "type": "function",
        "message": "ä",
        "environment": "0a1b2c",
        "segment": 7,
        "line": 1,
    }


@pytest.mark.parametrize(
    "value", ['{"b":1,"a":"\\"x\\\\"}', "null", "true", "-12.50", "[1, {}]", '{"a":1,"a":2,"A":3}', "9" * 5000, "1e999"]
)
def test_line_of_any_other_record_has_its_json_text_in_the_column_record(value: str) -> None:
    """The text is kept byte for byte: key order, duplicate keys and number formats."""
    (line,) = stored_lines(encoded([f'[{{"time":"{TIME}","type":"function","record":{value}}}]'.encode()]))
    assert line["record"] == value


@pytest.mark.parametrize(
    "event",
    [
        f'{{"time":"{TIME}","type":"function","record":"x","seq":1}}',
        f'{{"time":"{TIME}","type":"function","record":"x","record":"y"}}',
        f'{{"time":"{TIME}","type":"function"}}',
        f'{{"time":"{TIME}","type":7,"record":"x"}}',
        f'{{"time":"{TIME}","type":"\\ud800","record":"x"}}',
        f'{{"time":"{TIME}","type":"function","record":"caf\\udce9"}}',
        f'{{"time":"{TIME}","type":"function","record":"x","Environment":"y"}}',
        '{"time":"2026-02-30T02:26:24.357Z","type":"function","record":"x"}',
        '{"time":"2026-13-01T02:26:24.357Z","type":"function","record":"x"}',
        '{"time":"yesterday, at noon or so.","type":"function","record":"x"}',
        '{"time":1,"type":"function","record":"x"}',
        "{}",
    ],
)
@pytest.mark.parametrize("padding", [0, decoder.MAX_ODD * 50])
def test_element_that_is_not_exactly_an_event_is_kept_in_the_column_event(event: str, padding: int) -> None:
    """A reader never meets a foreign column, a lone surrogate or a time that does not exist."""
    body = f"[{event},{json.dumps(at(TIME, 'y' * padding), separators=(',', ':'))}]"
    line, _ = stored_lines(encoded([body.encode()]))
    assert line["event"] == event
    assert not {"message", "record"} & line.keys()


@pytest.mark.parametrize(
    "text",
    [
        f'{{"time": "{TIME}", "type": "function", "record": {{"a": 1}}}}',
        f'{{"record":{{"a": 1}},"type":"function","time":"{TIME}"}}',
        f'{{\t"time":"{TIME}","\\u0074ype":"function" ,"record" :\t{{"a": 1}} }}',
    ],
)
def test_event_with_other_spaces_or_order_is_still_an_event(text: str) -> None:
    """Another JSON encoder of the platform must not turn every record into the column `event`."""
    (line,) = stored_lines(encoded([f"[{text}]".encode()]))
    assert (line["type"], line["record"]) == ("function", '{"a": 1}')


def test_tab_between_the_tokens_of_a_record_is_escaped() -> None:
    """A tab between tokens is valid JSON, and it is not valid inside the string that holds the JSON text."""
    (line,) = stored_lines(encoded([f'[{{"time":"{TIME}","type":"function","record":{{\t"a":1}}}}]'.encode()]))
    assert line["record"] == '{\t"a":1}'


@THOROUGH
@given(st.lists(deliveries(), max_size=4))
def test_valid_event_is_restored_from_its_line(both: list[tuple[list[dict[str, Any]], bytes]]) -> None:
    """Each event has the delivered value, in one of three columns."""
    events = [event for _, body in both for event in json.loads(body, parse_int=float)]
    found = stored_lines(encoded([body for _, body in both]))
    assert len(found) == len(events)
    for event, line in zip(events, found, strict=True):
        if "event" in line:
            assert json.loads(line["event"], parse_int=float) == event
        else:
            value = line["message"] if "message" in line else json.loads(line["record"], parse_int=float)
            assert {"time": line["time"], "type": line["type"], "record": value} == event


@THOROUGH
@given(bodies=st.lists(ANYTHING, max_size=4), final=st.booleans())
def test_any_segment_gives_valid_numbered_lines_and_the_same_object(bodies: list[bytes], *, final: bool) -> None:
    """The numbers have no gap, the metadata count the records, and each line follows the format strictly."""
    stored = encoded(bodies, final=final)
    found, closing = read_object(stored.body, stored.metadata)
    assert [(line["segment"], line["line"]) for line in found] == [(7, n) for n in range(1, len(found) + 1)]
    assert closing["records"] == len(found) == decoder.count_records(bodies)
    assert stored == encoded(bodies, final=final)
    packed = encoded(bodies, final=final, compress=True)
    assert gzip.decompress(packed.body) == stored.body
    assert packed == encoded(iter(bodies), final=final, compress=True)


def test_event_without_a_time_gets_the_latest_time_before_it() -> None:
    """Readers sort by time; if the segment has none yet, it is that of the segment."""
    stored = encoded([batch({"type": "function", "record": "1"}, at("2026-11-21T05:00:00.000Z"), {"record": "3"})])
    assert [line["time"] for line in stored_lines(stored)] == [
        TIME,
        "2026-11-21T05:00:00.000Z",
        "2026-11-21T05:00:00.000Z",
    ]


def test_unparsable_text_is_a_record_of_logferry() -> None:
    """Its type is a column, so that a query finds it."""
    (line,) = stored_lines(encoded([b"junk"]))
    assert (line["type"], json.loads(line["record"])) == ("logferry.unparsable", {"text": "junk"})


@pytest.mark.parametrize(
    ("types", "kept"),
    [
        (ALL, ["platform.start", "function", "extension", "logferry.dropped", "new.kind"]),
        (frozenset({"function"}), ["function", "logferry.dropped", "new.kind"]),
        (frozenset({"platform"}), ["platform.start", "logferry.dropped", "new.kind"]),
    ],
)
def test_unwanted_types_are_omitted_without_a_gap_in_the_numbers(types: frozenset[str], kept: list[str]) -> None:
    """LOGFERRY_TYPES selects among the known kinds; other kinds and reports of losses are kept."""
    kinds = ["platform.start", "function", "extension", "logferry.dropped", "new.kind"]
    stored = encoded([InternalBatch(batch(*(at(TIME, kind=kind) for kind in kinds)))], types=types)
    assert [line["type"] for line in records(stored)] == kept
    assert stored.metadata["records"] == str(len(kept))


def test_bytes_do_not_depend_on_the_depth_of_the_caller() -> None:
    """An upload is repeated from another place (a thread, a shutdown), and must still overwrite itself."""

    def deeper(frames: int, nested: bytes) -> StoredObject:
        return deeper(frames - 1, nested) if frames else encoded([nested])

    for depth in range(150, 1000, 20):
        nested = f'[{{"time":"{TIME}","type":"function","record":{"[" * depth}{"]" * depth}}}]'.encode()
        assert deeper(0, nested) == deeper(60, nested), depth


# --- requests


def test_line_belongs_to_the_request_that_ran_when_the_segment_was_opened() -> None:
    """The request of the header runs until its end."""
    done = at("2026-11-21T02:26:25.000Z", {"requestId": A}, "platform.runtimeDone")
    found = records(encoded([batch(at(TIME), done, at(TIME))], header=HEADER._replace(request_id=A)))
    assert [(r.get("requestId"), r.get("requestIdSource")) for r in found] == [
        (A, "inferred"),
        (A, "record"),
        (None, None),
    ]


def test_request_is_not_inferred_for_concurrent_invocations() -> None:
    """On Managed Instances a line without an ID has no request."""
    header = HEADER._replace(origin=ORIGIN._replace(concurrent=True), request_id=A)
    found = records(encoded([batch(start(TIME), at(TIME))], header=header))
    assert [r.get("requestIdSource") for r in found] == ["record", None]


@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("lines_before", [0, 100])
def test_foreign_request_id_in_a_line_is_ignored(*, concurrent: bool, lines_before: int) -> None:
    """The ID of an API Gateway call is not a request of this environment, for both readers."""
    texts = [*["x" * 50] * lines_before, json.dumps({"requestId": B}), f"[INFO]\t{TIME}\t{B}\tx", f"RequestId: {A}"]
    header = HEADER._replace(origin=ORIGIN._replace(concurrent=concurrent))
    found = records(encoded([batch(start(TIME), *(at(TIME, text) for text in texts))], header=header))
    inferred = (None, None) if concurrent else (A, "inferred")
    assert [(r.get("requestId"), r.get("requestIdSource")) for r in found[-3:]] == [inferred, inferred, (A, "record")]


def test_request_of_an_earlier_segment_counts_by_the_header() -> None:
    """A line may be written after the end of its invocation, in another segment."""
    body = [batch(at(TIME, {"requestId": B}))]
    assert "requestId" not in records(encoded(body))[0]
    assert records(encoded(body, header=HEADER._replace(started=(A, B))))[0]["requestId"] == B


def test_request_of_an_invoke_event_counts_before_its_start() -> None:
    """The platform promises no order between lines and `platform.start`; the note itself is not a record."""
    note = internal.invoke_batch(B, at_ms=0)
    found = records(encoded([note, batch(at(TIME, {"requestId": B}))]))
    assert [r["requestId"] for r in found] == [B]


def test_request_is_known_if_the_type_of_its_start_is_omitted() -> None:
    """LOGFERRY_TYPES=function still attributes lines."""
    (line,) = records(encoded([batch(start(TIME), at(TIME))], types=frozenset({"function"})))
    assert (line["requestId"], line["requestIdSource"]) == (A, "inferred")


# --- the object


def test_closing_line_describes_the_object() -> None:
    """A reader recognises an object that was cut at the end of a line, and finds the function without the path."""
    times = ["2026-11-21T02:26:25.000Z", "2026-11-21T02:26:24.000Z", "2026-11-21T02:26:26.000Z"]
    header = HEADER._replace(origin=ORIGIN._replace(account="123456789012"))
    *_, last = read_lines(encoded([batch(*map(at, times))], header=header).body)
    assert last == {
        "time": times[2],
        "type": "logferry.segment",
        "record": last["record"],
        "environment": "0a1b2c",
        "segment": 7,
        "line": 4,
    }
    assert json.loads(last["record"]) == {
        "format": 1,
        "records": 3,
        "first": times[1],
        "last": times[2],
        "function": "orders",
        "version": "$LATEST",
        "region": "eu-west-1",
        "account": "123456789012",
    }


def test_last_object_of_an_environment_ends_with_a_final_line() -> None:
    """An environment that ended without further records still reports its end, in an object with one line."""
    stored = encoded([], final=True, compress=True)
    (line,) = read_lines(stored.body)
    assert (line["type"], line["line"], stored.metadata["records"]) == ("logferry.final", 1, "0")


def test_metadata_describe_the_object() -> None:
    """Format, environment, segment, number of records, first and last time, and the final mark."""
    times = ["2026-11-21T02:26:25.000Z", "2026-11-21T02:26:24.000Z"]
    stored = encoded([batch(*map(at, times))], final=True, compress=True)
    assert stored.metadata == {
        "format": "1",
        "environment": "0a1b2c",
        "segment": "7",
        "records": "2",
        "first-time": times[1],
        "last-time": times[0],
        "final": "true",
    }
    assert stored.content_type == "application/gzip"
    assert encoded([]).content_type == "application/x-ndjson"
    assert "final" not in encoded([]).metadata


def test_gzip_header_has_neither_a_time_nor_a_name() -> None:
    """Either would make the same segment another object."""
    body = encoded([batch(at(TIME))], compress=True).body
    assert body[:2] == b"\x1f\x8b"
    assert body[3:8] == bytes(5)
    assert zlib.decompressobj(31).decompress(body)


@THOROUGH
@given(ANYTHING)
def test_metadata_and_key_are_valid_for_s3(body: bytes) -> None:
    """They are ASCII, on one line and short for any posted bytes: an object that S3 rejects blocks all others."""
    stored = encoded([body], key="{request_id}/{time}-{environment}-{segment}")
    stored.key.encode("ascii")
    assert len(stored.key) < 200
    assert all(value.isascii() and value.isprintable() for value in stored.metadata.values())
    assert sum(map(len, stored.metadata.values())) < 2000


@pytest.mark.parametrize(
    "time", ["2026-11-21T02:00 é", "2026-11-21T02:\\ud800", "2026-11-21T02:" + "0" * 3000, "٢٠٢٦-11-21T02:00Z"]
)
def test_odd_time_enters_neither_metadata_nor_key(time: str) -> None:
    """Metadata of S3 are ASCII and 2 KiB in all."""
    stored = encoded([f'[{{"time":"{time}","type":"function","record":"x"}}]'.encode()])
    assert "dt=2026-11-21/hour=02/022624Z-" in stored.key
    assert stored.metadata["first-time"] == TIME


@pytest.mark.parametrize("request_id", ["../../../etc", "/absolute", "\\ud800", "x" * 2000, "a\\u0000b", "line\\nline"])
def test_odd_request_id_does_not_enter_the_key_or_a_column(request_id: str) -> None:
    """A record may state any ID."""
    body = f'[{{"time":"{TIME}","type":"platform.start","record":{{"requestId":"{request_id}"}}}}]'.encode()
    stored = encoded([body], key="{request_id}/{environment}-{segment}")
    assert stored.key == "none/0a1b2c-00000007"
    assert "requestId" not in stored_lines(stored)[0]


def test_largest_number_of_cached_columns_and_endings_is_bounded() -> None:
    """Any process may post records of any number of types and requests."""
    made = lines.Lines(HEADER, ALL)
    body = batch(*(at(TIME, {"requestId": str(n)}, f"platform.{n}") for n in range(500)))
    assert len(list(made.of(events_in(body)))) == 500
    assert len(made._columns) <= lines.ENDINGS_KEPT
    assert len(made._endings) <= lines.ENDINGS_KEPT


def test_columns_of_logferry_are_the_same_for_every_kind_of_record() -> None:
    """The reader restores `OURS` from each line."""
    found = records(encoded([batch(start(TIME), at(TIME), at(TIME, {}), {"odd": 1})]))
    assert all(set(OURS) - set(line) <= {"requestId", "requestIdSource"} for line in found)
