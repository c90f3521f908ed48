"""The grammar of a line: which lines are events, what is kept of them, and what decides type and time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.instrumentation.event_line import RECORD_DEPTH, MalformedLine, parse, root_of, trusted_time
from logferry.records import decoder
from logferry.records.internal import CALL, EVENT, METRIC, sent_batch
from support.decoded import events_in

SINCE_MS = 1_795_000_000_000
NOW_MS = SINCE_MS + 60_000
AT_10_S = "2026-11-18T11:06:50.000Z"


def parsed(line: bytes | str | dict[str, Any]) -> Any:
    """Return the event of a line that is read one minute after the start of the environment."""
    text = line if isinstance(line, (bytes, str)) else json.dumps(line)
    return parse(text.encode() if isinstance(text, str) else text, since_ms=SINCE_MS, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{"event":"order placed","level":"info"}', EVENT),
        ('{"metric":"orders","value":3,"unit":"Count"}', METRIC),
        ('{"level":"info","metric":"orders","value":-0.5,"event":"x"}', METRIC),
        ('{"event":"measured","metric":5}', EVENT),
        ('{"type":"platform.report","event":"e"}', EVENT),
    ],
)
def test_first_key_decides_the_type_and_the_text_is_kept(line: str, kind: str) -> None:
    """The record is the sender's object, byte for byte; its own `type` is content."""
    found = parsed(f"  {line}\r")
    assert (found.kind, found.record_text(), found.time) == (kind, line, None)


def test_numbers_of_an_unchanged_line_keep_their_form() -> None:
    """A number is not read and written again, because that would change it."""
    line = '{"event":"e","id":12345678901234567890,"price":1.10,"huge":1e999,"text":"\\ud800"}'
    assert parsed(line).record_text() == line


def test_call_becomes_the_method_of_its_record() -> None:
    """The key that decides the type has a better name in the record, and the time leaves it."""
    sent = {"call": "GET", "host": "api.example.com", "status": 200, "time": SINCE_MS + 10_000, "pid": 7, "n": 3}
    found = parsed(sent)
    assert found.kind == CALL
    assert found.time == AT_10_S
    expected = {"method": "GET", "host": "api.example.com", "status": 200, "pid": 7, "n": 3}
    assert found.record == json.loads(found.record_text()) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "not JSON"),
        ("junk", "not JSON"),
        ('{"event":"half', "not JSON"),
        ('{"event":"a"}{"event":"b"}', "not JSON"),
        ('{"event":"e","n":NaN}', "not JSON"),
        ('{"event":"\x00"}', "not JSON"),
        (b'{"event":"\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"event":"byte order mark"}', "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "none of the keys"),
        ('{"egress":"example.com"}', "none of the keys"),
        ('{"event":""}', "event is not a text"),
        ('{"event":{"a":1}}', "event is not a text"),
        ('{"metric":"orders"}', "no number"),
        ('{"metric":"orders","value":true}', "no number"),
        ('{"metric":"orders","value":"3"}', "no number"),
        ('{"metric":"orders","value":1e999}', "no number"),
        ('{"event":"e","n":1e999,"time":1}', "too large"),
        ('{"event":"e","a":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"event":"e","a":' + "[" * RECORD_DEPTH + "]" * RECORD_DEPTH + "}", "nested too deep"),
        ('{"event":"e","n":' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_line_that_is_no_event_states_its_mistake(line: str | bytes, reason: str) -> None:
    """The sender gets the mistake with the number of the line."""
    with pytest.raises(MalformedLine, match=reason):
        parsed(line)


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        (SINCE_MS + 10_000, AT_10_S),
        (float(SINCE_MS + 10_000), AT_10_S),
        (AT_10_S, AT_10_S),
        ("2026-11-18T11:06:50.123456789Z", "2026-11-18T11:06:50.123456789Z"),
        ("2026-11-18T12:06:50+01:00", AT_10_S),
        ("2026-11-18 11:06:50", AT_10_S),
        (SINCE_MS, "2026-11-18T11:06:40.000Z"),
        (NOW_MS, "2026-11-18T11:07:40.000Z"),
        (SINCE_MS - 1, None),
        (NOW_MS + 1, None),
        ("2026-11-18T11:07:41Z", None),
        (1.7e308, None),
        ("yesterday", None),
        ("9999-12-31T23:59:59+00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        (True, None),
        (None, None),
        ({"at": 1}, None),
    ],
)
def test_sender_time_is_used_between_the_start_of_the_environment_and_now(sent: object, time: str | None) -> None:
    """A time outside these limits is no time of the record, because it would file the record elsewhere."""
    found, ms = trusted_time(sent, since_ms=SINCE_MS, now_ms=NOW_MS)
    assert found == time
    assert ms is None if time is None else SINCE_MS <= (ms or 0) <= NOW_MS


def test_sender_time_that_is_not_used_is_kept() -> None:
    """It is stored as `senderTime`, or stays where it is if the sender uses that key."""
    assert parsed({"event": "e", "time": "soon"}).record == {"event": "e", "senderTime": "soon"}
    both = {"event": "e", "time": "soon", "senderTime": "mine"}
    assert parsed(both).record == both


@pytest.mark.parametrize(
    ("trace", "root"),
    [
        ("1-5759e988-bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272793"),
        ("Root=1-5759e988-bd862e3f;Parent=53995c3f42cd8ad8;Sampled=1", "1-5759e988-bd862e3f"),
        ("Self=1-x; Root=1-y", "1-y"),
        ("", ""),
    ],
)
def test_trace_is_compared_by_its_root(trace: str, root: str) -> None:
    """A line may state the root or the complete header."""
    assert root_of(trace) == root
    assert parsed({"event": "e", "trace": trace}).trace_root == root


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"lost": 3, "pid": 1, "n": 9}, 3),
        ({"lost": 3, "pid": 1}, 0),
        ({"lost": 3}, 0),
        ({"lost": -3, "pid": 1, "n": 9}, 0),
        ({"lost": True, "pid": 1, "n": 9}, 0),
        ({"lost": "3", "pid": 1, "n": 9}, 0),
        ({"pid": 1, "n": 9}, 0),
    ],
)
def test_only_a_hook_reports_lost_events(fields: dict[str, Any], lost: int) -> None:
    """Without process ID and running number, `lost` is a key of the sender."""
    assert parsed({"event": "e", **fields}).lost_before == lost


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["event", "metric", "call", "value", "time", "type", "requestId", "trace", "phase", "senderTime"]
)
LINES = st.binary(max_size=60) | st.dictionaries(KEYS, JSON, max_size=6).map(lambda sent: json.dumps(sent).encode())


@given(LINES)
def test_any_line_is_malformed_or_one_readable_record_of_its_own_type(line: bytes) -> None:
    """An accepted line is exactly one record, of one of three types, and the reader of a segment parses it."""
    try:
        event = parsed(line)
    except MalformedLine:
        return
    batch = sent_batch(
        [((("r1", "inferred"), False), event.kind, event.time or AT_10_S, event.record_text())],
        unparsable=b"",
        at_ms=NOW_MS,
    )
    note, found = events_in(batch)
    assert note.type == "logferry.attribution"
    assert found.type == event.kind in {EVENT, METRIC, CALL}
    assert found.value is not None
    assert json.loads(found.value) == json.loads(event.record_text())
    assert decoder.count_records([batch]) == 1
