"""A segment to one object: the same segment gives the same bytes, with every event in it, under the same key."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.records import decoder
from logferry.records.encoder import encode
from logferry.records.internal import InternalBatch
from logferry.records.model import Header, Origin, StoredObject
from logferry.records.object_key import DEFAULT_KEY, KEY_FIELDS, render_key
from support.batch_strategies import ANYTHING, deliveries

if TYPE_CHECKING:
    from collections.abc import Iterable

A = "459921b5-681c-4a96-beb0-81e0aa586026"
ALL = frozenset({"platform", "function", "extension"})
ORIGIN = Origin("0a1b2c", function="orders", version="$LATEST", region="eu-west-1", concurrent=False)
HEADER = Header(origin=ORIGIN, number=7, opened_ms=1_795_227_984_357, request_id=None)
THOROUGH = settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
OURS = {"environment", "seq", "requestId", "requestIdSource", "time"}


def encoded(
    bodies: Iterable[bytes],
    *,
    header: Header = HEADER,
    final: bool = False,
    key: str = DEFAULT_KEY,
    compress: bool = False,
    types: frozenset[str] = ALL,
) -> StoredObject:
    """Encode with what a test does not care about."""
    return encode(header, bodies, final=final, key=key, compress=compress, types=types)


def lines(stored: StoredObject) -> list[dict[str, Any]]:
    """Read an object as a strict reader would: UTF-8, one JSON object on each line, each line ended."""
    body = gzip.decompress(stored.body) if stored.content_encoding == "gzip" else stored.body
    if not body:
        return []
    assert body.endswith(b"\n")
    return [json.loads(line.decode("utf-8", "strict"), parse_int=float) for line in body[:-1].split(b"\n")]


def delivery(*events: dict[str, Any]) -> bytes:
    """Give a delivery of these events."""
    return json.dumps(events).encode()


def at(time: str, record: Any = "x", kind: str = "function") -> dict[str, Any]:
    """Give an event of that time."""
    return {"time": time, "type": kind, "record": record}


# --- the lines


def test_a_line_is_the_event_with_our_keys_at_its_end() -> None:
    """`time`, `type` and `record` as the platform gave them; then environment and `seq`, segment and line."""
    stored = encoded([delivery(at("2026-11-21T02:26:24.357Z", {"message": "ä"}))])
    assert lines(stored) == [
        {
            "time": "2026-11-21T02:26:24.357Z",
            "type": "function",
            "record": {"message": "ä"},
            "environment": "0a1b2c",
            "seq": "00000007-000001",
        }
    ]


@THOROUGH
@given(st.lists(deliveries(), max_size=4))
def test_every_valid_event_comes_out_unchanged_with_our_keys_beside_it(
    both: list[tuple[list[dict[str, Any]], bytes]],
) -> None:
    """As the same JSON value; one that has such keys itself is kept whole under `event`."""
    events = [event for _, body in both for event in json.loads(body, parse_int=float)]
    found = lines(encoded([body for _, body in both]))
    assert len(found) == len(events)
    for event, line in zip(events, found, strict=True):
        if "event" in line and line["event"] == event and set(line) - OURS <= {"event"}:
            assert set(event) & OURS
        else:
            assert {name: line[name] for name in event} == event
            assert set(line) - set(event) <= OURS
        assert line["environment"] == "0a1b2c"


@THOROUGH
@given(bodies=st.lists(ANYTHING, max_size=4), final=st.booleans())
def test_whatever_is_in_a_segment_each_line_is_json_and_they_are_numbered(bodies: list[bytes], *, final: bool) -> None:
    """The numbers have no gap, the metadata says how many there are, and the same segment gives the same object."""
    stored = encoded(bodies, final=final)
    found = lines(stored)
    assert [line["seq"] for line in found] == [f"00000007-{n:06d}" for n in range(1, len(found) + 1)]
    assert stored.metadata["records"] == str(len(found)) == str(decoder.count_records(bodies))
    assert stored == encoded(bodies, final=final)
    packed = encoded(bodies, final=final, compress=True)
    assert gzip.decompress(packed.body) == stored.body
    assert packed == encoded(iter(bodies), final=final, compress=True)


@pytest.mark.parametrize("name", sorted(OURS - {"time"}))
def test_an_event_that_has_our_keys_itself_is_kept_whole(name: str) -> None:
    """Ours would hide its own, or the other way round; some JSON readers take the first of two, some the last."""
    event = at("2026-11-21T02:26:24.357Z", {"requestId": A}) | {name: "its own"}
    (line,) = lines(encoded([delivery(event)]))
    assert line["event"] == event
    assert line["seq"] == "00000007-000001"


def test_an_event_without_a_time_gets_the_latest_before_it() -> None:
    """A reader sorts by time; where the segment has none yet, it is that of the segment."""
    stored = encoded([delivery({"type": "function", "record": "1"}, at("2026-11-21T05:00:00.000Z"), {"record": "3"})])
    assert [line["time"] for line in lines(stored)] == [
        "2026-11-21T02:26:24.357Z",
        "2026-11-21T05:00:00.000Z",
        "2026-11-21T05:00:00.000Z",
    ]


def test_an_empty_object_among_the_events_gets_our_keys_and_no_comma() -> None:
    """`{}` is an event, too."""
    (line,) = lines(encoded([b"[{ }]"]))
    assert set(line) == {"time", "environment", "seq"}


def test_a_request_goes_on_from_the_segment_before() -> None:
    """A line belongs to the invocation that was running when the segment was opened, until its end is told."""
    done = at("2026-11-21T02:26:25.000Z", {"requestId": A}, "platform.runtimeDone")
    line = at("2026-11-21T02:26:24.500Z")
    found = lines(encoded([delivery(line, done, line)], header=HEADER._replace(request_id=A)))
    assert [(r.get("requestId"), r.get("requestIdSource")) for r in found] == [
        (A, "inferred"),
        (A, "record"),
        (None, None),
    ]


def test_where_several_run_at_once_nothing_is_guessed() -> None:
    """On Managed Instances a line without an id stays without one."""
    header = HEADER._replace(origin=ORIGIN._replace(concurrent=True), request_id=A)
    start = at("2026-11-21T02:26:24.000Z", {"requestId": A}, "platform.start")
    found = lines(encoded([delivery(start, at("2026-11-21T02:26:24.500Z"))], header=header))
    assert [r.get("requestIdSource") for r in found] == ["record", None]


@pytest.mark.parametrize(
    ("types", "kept"),
    [
        (ALL, ["platform.start", "function", "extension", "logferry.dropped", "new.kind"]),
        (frozenset({"function"}), ["function", "logferry.dropped", "new.kind"]),
        (frozenset({"platform"}), ["platform.start", "logferry.dropped", "new.kind"]),
    ],
)
def test_unwanted_types_are_left_out_and_the_numbers_have_no_gap(types: frozenset[str], kept: list[str]) -> None:
    """LOGFERRY_TYPES; what it does not know of is kept, and so are the reports of losses."""
    kinds = ["platform.start", "function", "extension", "logferry.dropped", "new.kind"]
    stored = encoded(
        [InternalBatch(delivery(*(at("2026-11-21T02:26:24.357Z", kind=kind) for kind in kinds)))], types=types
    )
    assert [line["type"] for line in lines(stored)] == kept
    assert [line["seq"][-1] for line in lines(stored)] == [str(n) for n in range(1, len(kept) + 1)]
    assert stored.metadata["records"] == str(len(kept))


def test_a_type_that_is_left_out_still_says_which_request_runs() -> None:
    """Who ships only function lines wants their requests all the same."""
    start = at("2026-11-21T02:26:24.000Z", {"requestId": A}, "platform.start")
    (line,) = lines(encoded([delivery(start, at("2026-11-21T02:26:24.5Z"))], types=frozenset({"function"})))
    assert (line["requestId"], line["requestIdSource"]) == (A, "inferred")


def test_the_same_bytes_come_out_however_deep_the_caller_stands() -> None:
    """An upload is repeated from another place (a thread, a watch, a shutdown): it must still overwrite itself."""

    def deeper(frames: int, nested: bytes) -> StoredObject:
        return deeper(frames - 1, nested) if frames else encoded([nested])

    for depth in range(300, 1000, 20):
        nested = b'[{"record":' + b"[" * depth + b"]" * depth + b"}]"
        assert deeper(0, nested) == deeper(60, nested), depth


# --- the object around them


def test_metadata_tells_a_reader_what_to_expect() -> None:
    """Environment, segment, number of records, first and last time; on the last object of an environment also that."""
    times = ["2026-11-21T02:26:25.000Z", "2026-11-21T02:26:24.000Z", "2026-11-21T02:26:26.000Z"]
    stored = encoded([delivery(*map(at, times))], final=True, compress=True)
    assert stored.metadata == {
        "environment": "0a1b2c",
        "segment": "7",
        "records": "3",
        "first-time": "2026-11-21T02:26:24.000Z",
        "last-time": "2026-11-21T02:26:26.000Z",
        "final": "true",
    }
    assert (stored.content_type, stored.content_encoding) == ("application/x-ndjson", "gzip")
    assert "final" not in encoded([]).metadata


def test_an_empty_segment_is_an_object_too() -> None:
    """The last one may hold nothing but the news that it is the last."""
    stored = encoded([], final=True, compress=True)
    assert gzip.decompress(stored.body) == b""
    assert stored.metadata["records"] == "0"
    assert stored.key == "function=orders/dt=2026-11-21/hour=02/0a1b2c-00000007.ndjson.gz"


def test_gzip_says_neither_a_time_nor_a_name() -> None:
    """Either would make the same segment another object."""
    body = encoded([delivery(at("2026-11-21T02:26:24.357Z"))], compress=True).body
    assert body[:2] == b"\x1f\x8b"
    assert body[3:8] == bytes(5)
    assert zlib.decompressobj(31).decompress(body)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT_KEY, "function=orders/dt=2026-11-21/hour=23/0a1b2c-00000007.ndjson.gz"),
        ("{region}/{version}/{environment}/{segment}", "eu-west-1/$LATEST/0a1b2c/00000007"),
        ("{year}/{month}/{day}/{hour}/{environment}-{segment}", "2026/11/21/23/0a1b2c-00000007"),
        ("{request_id}/{environment}-{segment}", f"{A}/0a1b2c-00000007"),
        ("{{literal}}/{environment}-{segment}", "{literal}/0a1b2c-00000007"),
    ],
)
def test_the_key_is_decided_by_the_segment(template: str, expected: str) -> None:
    """Its dates are those of the first record that has one, not those of the clock."""
    bodies = [
        delivery({"record": "no time"}, at("2026-11-21T23:59:59.999Z", {"requestId": A}), at("2026-11-22T00:00:00Z"))
    ]
    assert encoded(bodies, key=template).key == expected


def test_without_any_time_the_key_has_that_of_the_segment() -> None:
    """An unparsable delivery still gets a date."""
    assert "/dt=2026-11-21/hour=02/" in encoded([b"junk"]).key


def test_every_known_field_can_be_rendered() -> None:
    """What the settings admit, the template fills."""
    template = "/".join(f"{{{name}}}" for name in sorted(KEY_FIELDS))
    assert "{" not in render_key(template, HEADER, "2026-11-21T02:26:24.357Z", A)


def test_two_segments_never_get_one_key() -> None:
    """Neither of one environment nor of two."""
    headers = [HEADER._replace(number=n, origin=ORIGIN._replace(environment=e)) for n in (1, 2, 11) for e in ("a", "b")]
    assert len({encoded([], header=header).key for header in headers}) == len(headers)


@THOROUGH
@given(ANYTHING)
def test_metadata_and_the_default_key_are_what_s3_takes(body: bytes) -> None:
    """ASCII, on one line and short, whatever was posted: an object that S3 refuses blocks all behind it."""
    stored = encoded([body])
    stored.key.encode("ascii")
    assert all(value.isascii() and value.isprintable() for value in stored.metadata.values())


@pytest.mark.parametrize(
    "time", ["2026-11-21T02:00 é", "2026-11-21T02:\ud800", "2026-11-21T02:" + "0" * 3000, "٢٠٢٦-11-21T02:00Z"]
)
def test_an_odd_time_is_not_taken_over_into_metadata_or_key(time: str) -> None:
    """Metadata of S3 are ASCII and 2 KiB in all; a refusal would be repeated for ever, and block what is behind it."""
    stored = encoded([delivery(at(time))])
    stored.key.encode("ascii")
    assert all(value.isascii() for value in stored.metadata.values())
    assert sum(map(len, stored.metadata.values())) < 2000


@pytest.mark.parametrize("request_id", ["../../../etc", "/absolute", "\ud800", "x" * 2000, "a\x00b", "line\nline"])
def test_an_odd_request_id_does_not_lead_the_key_astray(request_id: str) -> None:
    """A record may claim any id: the key stays under its prefix, and is one that S3 takes."""
    stored = encoded(
        [delivery(at("2026-11-21T02:26:24.357Z", {"requestId": request_id}))],
        key="{request_id}/{environment}-{segment}",
    )
    assert len(stored.key.encode()) < 1024
    assert stored.key.isprintable()
    assert not stored.key.startswith("/")
    assert ".." not in stored.key.split("/")
