"""Both readers give the same result for plain records: the same events, the same requests, the same bytes."""

from __future__ import annotations

import json
import sys
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.records import decoder, fast_path
from logferry.records.encoder import encode
from logferry.records.fast_path import TEXT, RequestIdCache
from logferry.records.model import Header, Origin, StoredObject
from logferry.records.object_key import DEFAULT_KEY
from logferry.records.request_id import request_in
from logferry.records.started_requests import StartedRequests
from support.batch_strategies import ANYTHING, as_bytes
from support.decoded import events_in, one_by_one

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
TIME = "2026-11-21T02:26:24.357Z"
THOROUGH = settings(max_examples=400, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

WORDS = st.sampled_from(
    [
        *("a", "request", "requestId", " ", "ä", "\u2028", "😀", "\x7f", "'", "/", "{", "}]", "},{", "[INFO]", TIME),
        *(A, B, A[:-1], A.upper(), f"RequestId: {A}", f"RequestId: {B}"),
    ]
)
ESCAPES = st.sampled_from(
    [
        *(r"\t", r"\n", r"\r", r"\"", r"\/", r"\b", r"\f", r"\\", r"\\t", r"\\\"", r"\u0009", r"\u003c", r"\u001b"),
        *(r"\u2028", r"\u0065questId", r"\u0034", r"\ud83d\ude00", r"\ud800", r"\u005c", r"\u0022", r"\u"),
        *(rf"\t{A}\t", rf"\t{B}\t", rf"\t{TIME}\t{A}\t", rf"\t\t{B}\t", rf"\t{A}\t{B}\t", rf"\t{A}"),
        *(rf"\"{key}\":\"{id_}\"" for key in ("requestId", "AWSRequestId", "function_request_id") for id_ in (A, B)),
        *(
            rf"\"requestId\" : \"{A}\"",
            rf"\"requestId\":\t\"{A}\"",
            rf"\"requestId\":\u2028\"{A}\"",
            r"\"requestId\":1",
        ),
        *(
            rf"\"xrequestId\":\"{B}\"",
            rf"\"requestId\":\"{A[:-1]}\"",
            rf"\"request_id\":\"{A}\"",
            rf"request_id={B} ",
            rf"awsRequestId=\"{A}\"",
            rf"2026-11-21 02:26:24 {B} INFO x",
            rf"I, [{TIME} #8]  INFO {A} -- : x",
            rf"parent_request_id={B} ",
            rf"\u0022requestId\":\"{A}\"",
        ),
    ]
)
BROKEN = st.sampled_from(['"', "\\", "\x00", "\t", "\n", "\x1f", r"\x", r"\u12", r"\'", "\0\0", '"}', '","a":"'])
PLAIN_TEXTS = st.lists(WORDS | WORDS | ESCAPES, max_size=6).map("".join)
TEXTS = st.lists(WORDS | WORDS | WORDS | ESCAPES | ESCAPES | BROKEN, max_size=6).map("".join)


def record(text: str, *, time: str = TIME, kind: str = "function") -> str:
    """Return a record as the platform writes it, with the text unchanged."""
    return f'{{"time":"{time}","type":"{kind}","record":"{text}"}}'


PLAIN = st.builds(record, PLAIN_TEXTS, time=st.sampled_from([TIME, TIME, "2026-11-21T02:26:24.358Z"]))
ODD_TIMES = ("some day, I do not know..", "2026-02-30T02:26:24.357Z")
ODD = st.builds(
    record,
    TEXTS,
    time=st.sampled_from([TIME, "", TIME[:-2] + "Z", *ODD_TIMES, TIME[:-2] + r"\"", "\\" * 24]),
    kind=st.sampled_from(["function", "function", "extension", "platform.new"]),
) | st.sampled_from(
    [
        f'{{"time":"{TIME}","type":"platform.start","record":{{"requestId":"{B}"}}}}',
        f'{{"time":"{TIME}","type":"platform.runtimeDone","record":{{"requestId":"{B}"}}}}',
        f'{{"time":"{TIME}","type":"function","record":"x","line":"1"}}',
        f'{{"time":"{TIME}","type":"function","record":"x","record":"y"}}',
        f'{{"time":"{TIME}","type":"function","record":{{"requestId":"{A}"}}}}',
        f'{{"time":"{TIME}","type":"function","record":"x" }}',
        f'{{"type":"function","time":"{TIME}","record":"x"}}',
        f'{{"time":"{TIME}", "type":"function","record":"x"}}',
        '{"time":"a","t":"bbbbbbbbbbbbbbbb","type":"function","record":"x"}',
        f'{{"time":"{TIME}","type":"function","record":"a","b":{{"time":"{TIME}","type":"function","record":"x"}}}}',
        *("{}", "1", '"x"', "[]", ""),
    ]
)  # fmt: skip


@st.composite
def near_plain(draw: st.DrawFn) -> bytes:
    """Draw mostly plain batches with odd records, a cut, or an inserted byte."""
    records = draw(st.lists(PLAIN | PLAIN | PLAIN | ODD, min_size=1, max_size=8))
    between = draw(st.sampled_from([",", ",", ",", ", ", ",\n", "", ",,"]))
    body = ("[" + between.join(records) + draw(st.sampled_from(["]", "]", "] ", "]x", ",]", "}]", ""]))).encode(
        errors="replace"
    )
    at = draw(st.integers(0, len(body)))
    inserted = draw(st.sampled_from([b"", b"", b"", b'"', b"\\", b"\x00", b"\xff", b"\xc3", b"\n", b"}]", b",", b"\t"]))
    return body[:at] + inserted + (b"" if draw(st.integers(0, 5)) == 0 else body[at:])


ALL, NONE = 0, sys.maxsize
"""Smallest batch of the fast path: every batch, and no batch."""


def encoded(
    bodies: list[bytes],
    *,
    min_batch_bytes: int,
    concurrent: bool,
    types: str,
    running: str | None,
) -> StoredObject:
    """Return the object of a segment, with or without the fast path."""
    origin = Origin("0a1b2c", function="f", version="1", region="r", concurrent=concurrent)
    return encode(
        Header(origin=origin, number=7, opened_ms=1_795_227_984_357, request_id=running, started=(A,)),
        bodies,
        final=False,
        key=DEFAULT_KEY.replace("{environment}", "{request_id}/{environment}"),
        compress=False,
        types=frozenset(types.split()),
        min_batch_bytes=min_batch_bytes,
    )


@THOROUGH
@given(
    bodies=st.lists(near_plain() | near_plain() | near_plain() | ANYTHING, min_size=1, max_size=3),
    concurrent=st.booleans(),
    types=st.sampled_from(["platform function", "platform function", "platform extension"]),
    running=st.sampled_from([None, B]),
    run_characters=st.sampled_from([64 * 1024, 300, 120]),
)
def test_object_has_the_same_bytes_with_and_without_the_fast_path(
    bodies: list[bytes], concurrent: bool, types: str, running: str | None, run_characters: int
) -> None:
    """A repeated upload by another process, perhaps of another version, must overwrite itself."""
    with patch.object(fast_path, "RUN_CHARACTERS", run_characters):
        taken, parsed = (
            encoded(bodies, min_batch_bytes=min_batch_bytes, concurrent=concurrent, types=types, running=running)
            for min_batch_bytes in (ALL, NONE)
        )
    assert taken == parsed


def delivery(*texts: str) -> bytes:
    """Return a batch of records with these texts, unchanged."""
    return ("[" + ",".join(map(record, texts)) + "]").encode()


BY_KEY_A, BY_KEY_B = (rf"{{\"requestId\":\"{id_}\"}}" for id_ in (A, B))
HEAD = record("")[:-3]
"""Beginning of a record and of its continuation."""


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param([delivery(rf"[INFO]\u0009{TIME}\u0009{A}\u0009x")], id="tabs by number"),
        pytest.param([delivery(rf"[INFO]\t{TIME}\t\u0034{A[1:]}\tx")], id="a digit of the id by number"),
        pytest.param([delivery(rf"{{\"r\u0065questId\":\"{A}\"}}")], id="a letter of the key by number"),
        pytest.param([delivery(rf"{{\u0022requestId\u0022:\u0022{A}\u0022}}")], id="quotes by number"),
        pytest.param([delivery(rf"[INFO]\\t{TIME}\\t{A}\\tx")], id="backslash and t, not a tab"),
        pytest.param([delivery(r"x\\"), delivery(r"x\\\"", "y")], id="a backslash before a quote"),
        pytest.param([delivery(r"\x"), delivery("x")], id="no escape of JSON"),
        pytest.param([delivery(f"\t{A}\t")], id="a raw tab"),
        pytest.param([delivery("x").replace(TIME.encode(), b'a","line":"bbbbbbbbbbbbb')], id="quotes in the time"),
        pytest.param([delivery("x", "y").replace(b"},{", b"}x{")], id="no comma between"),
        pytest.param([delivery(rf"x\t{A}\tx", rf"x\t{B}\t{A}\tx")], id="the first of two IDs between tabs"),
        pytest.param([delivery(rf"x\t{A}\tx", rf"x\ty\tz\t{A}\tx")], id="an id in the fourth field"),
        pytest.param(
            [delivery(rf"x\ty\t{A}\tx", rf"x\ty\t{A}0\tx", rf"x\ty\t{A}")], id="an id and more, an id at the end"
        ),
        pytest.param([delivery(BY_KEY_A, BY_KEY_B + BY_KEY_A)], id="the first of two ids by key"),
        pytest.param([delivery(BY_KEY_A, rf"x\t{B}\tx", BY_KEY_A)], id="by key, between tabs, by key"),
        pytest.param([delivery(BY_KEY_A, rf"x\t{A}\tx", BY_KEY_A, "x", BY_KEY_B)], id="taking turns"),
        pytest.param([f'[{HEAD}"\x00}}]'.encode(), f'[{HEAD}x"}}]'.encode()], id="cut, with a control character"),
        pytest.param([f'[{HEAD}"x}}]'.encode(), f"[{HEAD}".encode() + b'\xff"}]'], id="cut, the rest no text"),
        pytest.param([f"[{record('?')},{HEAD}x}}]".encode().replace(b"?", b"\xff")], id="no text, then cut"),
    ],
)
def test_record_that_only_looks_plain_gives_the_same_object(bodies: list[bytes]) -> None:
    """Each of these gave another object when one of the checks was missing."""
    for concurrent in (False, True):
        taken, parsed = (
            encoded(bodies, min_batch_bytes=min_batch_bytes, concurrent=concurrent, types="function", running=B)
            for min_batch_bytes in (ALL, NONE)
        )
        assert taken == parsed


@THOROUGH
@given(st.lists(near_plain() | ANYTHING, min_size=1, max_size=3))
def test_run_contains_the_events_that_the_parser_finds(bodies: list[bytes]) -> None:
    """Each event is found and counted once."""
    taken, parsed = decoder.Reader(min_batch_bytes=ALL), decoder.Reader(min_batch_bytes=NONE)
    for body in bodies:
        found, expected = list(one_by_one(taken.read(body))), list(one_by_one(parsed.read(body)))
        assert [(e.text, e.type, e.fields, e.value) for e in found] == [
            (e.text, e.type, e.fields, e.value) for e in expected
        ]
        assert taken.has_partial_record == parsed.has_partial_record
    assert decoder.count_records(bodies) == len(events_in(*bodies))


@THOROUGH
@given(st.lists(PLAIN_TEXTS, min_size=1, max_size=6))
def test_cache_finds_the_request_that_the_search_finds(texts: list[str]) -> None:
    """The records before it have no influence."""
    body = delivery(*texts)
    started = StartedRequests([A, B])
    cache = RequestIdCache(started)
    for found in decoder.Reader(min_batch_bytes=ALL).read(body):
        for each in found if isinstance(found, list) else []:
            value = each[TEXT.start - 1 :] + '"'
            assert cache.request_in(each) == cache.request_in(value, 1, "") == request_in(value, started)


# --- runs


def runs(body: bytes) -> list[int]:
    """Return the sizes of the runs in a batch; 0 for an event that was parsed."""
    return [len(found) if isinstance(found, list) else 0 for found in decoder.Reader(min_batch_bytes=ALL).read(body)]


@pytest.mark.parametrize(
    "line",
    [
        "hello\n",
        "",
        f"[INFO]\t{TIME}\t{A}\tone\ttwo\n",
        f"{TIME}\t{A}\tINFO\thello",
        json.dumps({"level": "INFO", "message": "x" * 50, "function_request_id": A}) + "\n",
        "über \u2028 😀 </script> & /path/ 'x' {[}],",
        "\x1b[31mred\x1b[0m",
        '"' * 1000,
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_ordinary_line_is_read_by_the_fast_path(line: str, *, ascii_only: bool) -> None:
    """The lines are one run and not single events."""
    events = [{"time": TIME, "type": "function", "record": line}] * 3
    body = json.dumps(events, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    if ascii_only and not line.isascii():
        body = body.replace(rb"\u00fc", "ü".encode()).replace(rb"\ud83d\ude00", "😀".encode())
    assert runs(body) == [3]


def test_escapes_of_the_platforms_encoder_are_plain() -> None:
    """Go's encoder writes five characters by number, and colours need a sixth."""
    assert runs(delivery(r"\u003cb\u003e \u0026 \u2028\u2029 \u001b[0m")) == [1]
    assert runs(delivery(r"\u00e9")) == [0]


def test_odd_record_does_not_slow_down_its_neighbours() -> None:
    """A backslash in a Windows path affects only that line."""
    assert runs(delivery("x", "x", r"C:\\temp", "x", r"\"x\"", "x")) == [2, 0, 3]


def test_run_is_bounded() -> None:
    """The limit holds for a long batch of short records."""
    body = as_bytes([{"time": TIME, "type": "function", "record": ""}] * 5000, ascii_only=True, indent=None)
    body = body.replace(b", ", b",").replace(b": ", b":")
    sizes = runs(body)
    assert sum(sizes) == 5000
    assert max(sizes) * len(record("")) <= fast_path.RUN_CHARACTERS
    assert decoder.count_records([body]) == 5000


def test_small_batch_is_parsed() -> None:
    """The fast path costs more than it saves there."""
    few, many = delivery(*"x" * 5), delivery(*"x" * 500)
    assert {type(found) for found in decoder.Reader().read(few)} == {decoder.Event}
    assert {type(found) for found in decoder.Reader().read(many)} == {list}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", [r"\"" * 2_000_000, r"\\" * 2_000_000, r"\u0041" * 700_000, "x" * 4_000_000, r"\t" * 2_000_000]
)
def test_hostile_record_is_read_in_linear_time(text: str) -> None:
    """Any process may post such a record; it is read in a second, as by the parser."""
    assert len(events_in(delivery(text, "x", text, "x"))) == 4
