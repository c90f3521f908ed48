"""Batches to events: no delivered byte disappears, and a request is stated or inferred."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.records import batch_facts, bounded_json, decoder
from logferry.records.internal import UNPARSABLE, InternalBatch
from support.batch_strategies import ANYTHING, JSON_VALUES, deliveries
from support.decoded import events_in

if TYPE_CHECKING:
    from logferry.records.decoder import Event

THOROUGH = settings(max_examples=200, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
BETWEEN = re.compile(r"[\s,\[\]]*")


def kept(found: Event) -> str:
    """Return the posted text that an event holds."""
    if found.type == UNPARSABLE and set(found.fields) == {"type", "record"} and "text" in found.fields["record"]:
        return str(found.fields["record"]["text"])
    return found.text


@THOROUGH
@given(deliveries())
def test_valid_event_keeps_its_value(both: tuple[list[dict[str, Any]], bytes]) -> None:
    """This includes unknown types, keys and values, in any JSON form; each event is on one line."""
    events, body = both
    found = events_in(body)
    assert [json.loads(e.text) for e in found] == json.loads(body)
    assert [e.fields.keys() for e in found] == [event.keys() for event in json.loads(body)]
    assert len(found) == len(events)
    assert not any("\n" in e.text or "\r" in e.text for e in found)


@THOROUGH
@given(ANYTHING)
def test_reader_keeps_all_of_any_posted_bytes(body: bytes) -> None:
    """Bytes that are not UTF-8 are kept as base64, other text as text, and of an array only commas are dropped."""
    found = events_in(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        assert found[-1].type == UNPARSABLE
        rest = base64.b64decode(found[-1].fields["record"]["base64"])
        assert body.endswith(rest)
        assert rest == body or rest.endswith(b"}]"), "only a cut record is separated from the events before it"
        return
    if not text.lstrip(" \t\r\n").startswith("["):
        (only,) = found
        assert (only.type, only.fields["record"]) == (UNPARSABLE, {"text": text})
        return
    position = 0
    flat = text.replace("\r", " ").replace("\n", " ")
    for each in found:
        part = kept(each).replace("\r", " ").replace("\n", " ")
        at = flat.index(part, position)
        assert BETWEEN.fullmatch(flat, position, at), f"{flat[position:at]!r} has disappeared"
        position = at + len(part)
    assert BETWEEN.fullmatch(flat, position)


FORGED = [
    b'{"type":"logferry.dropped","record":{"environment":"x","segment":1}}',
    b'{"type":"logferry.unparsable","record":{"text":"never posted"}}',
    b'{"type":"\\u006cogferry.damaged","record":{}}',
    b'{"type":"logferry.","time":"2026-11-21T02:26:24.357Z"}',
]


@pytest.mark.parametrize("forged", FORGED)
def test_logferry_type_is_accepted_only_in_an_internal_batch(forged: bytes) -> None:
    """In any other batch it is stored as text; its neighbours are not affected."""
    body = b'[{"type":"function","record":"a"},' + forged + b',{"type":"logferry","record":"b"}]'
    before, found, after = events_in(body)
    assert (found.type, found.fields["record"]) == (UNPARSABLE, {"text": forged.decode()})
    assert json.loads(found.text) == found.fields
    assert (before.type, after.type) == ("function", "logferry")
    assert [each.text for each in events_in(InternalBatch(body))][1] == forged.decode()


def test_cut_record_of_a_logferry_type_is_not_accepted() -> None:
    """The joined record is as foreign as its halves, even if an internal batch follows."""
    prefix = b'[{"time":"2026-11-21T02:26:24.357Z","type":"logferry.dropped","record":'
    halves = [prefix + b'"first }]', prefix + b' half"}]']
    (joined,) = events_in(*halves)
    assert joined.type == UNPARSABLE
    assert "first  half" in joined.fields["record"]["text"]
    own = InternalBatch(prefix + b'{"segment":1}}]')
    assert [each.type for each in events_in(halves[0], own)] == ["logferry.dropped", UNPARSABLE]


@THOROUGH
@given(st.lists(ANYTHING, max_size=5))
def test_event_is_json_on_one_line_and_is_counted(bodies: list[bytes]) -> None:
    """`count_records` counts the records that the encoder writes."""
    found = events_in(*bodies)
    for each in found:
        assert "\n" not in each.text
        assert isinstance(json.loads(each.text.encode(), parse_int=float), dict)
    assert decoder.count_records(bodies) == len(found)


@pytest.mark.parametrize(
    ("body", "kept_events", "rest"),
    [
        (b'[{"a":1},{"b":2},{"c":', [{"a": 1}, {"b": 2}], '{"c":'),
        (b'[{"a":1}{"b":2}]', [{"a": 1}], '{"b":2}]'),
        (b'[{"a":1},]', [{"a": 1}], "]"),
        (b'[{"a":1}] and more', [{"a": 1}], " and more"),
        (b'[{"a":NaN}]', [], '{"a":NaN}]'),
        (b'[{"a":1},\xc3\xa4]', [{"a": 1}], "ä]"),
    ],
)
def test_broken_batch_keeps_the_events_before_the_break(body: bytes, kept_events: list[Any], rest: str) -> None:
    """From the break on, the text is kept unchanged."""
    *before, last = events_in(body)
    assert [e.fields for e in before] == kept_events
    assert (last.type, last.fields["record"]["text"]) == (UNPARSABLE, rest)


@pytest.mark.parametrize("element", ["1", '"x"', "null", "[{}]", "1e5"])
def test_element_that_is_not_an_object_is_kept_as_text(element: str) -> None:
    """The neighbours of the element are not affected."""
    found = events_in(f'[{{"a":1}},{element},{{"b":2}}]'.encode())
    assert [e.fields.get("record") for e in found] == [None, {"text": element}, None]


def test_huge_number_does_not_affect_its_neighbours() -> None:
    """The number is valid JSON, and the events behind it are valid as well."""
    body = b'[{"record":' + b"9" * 5000 + b'},{"type":"function","record":"behind"}]'
    assert [e.type for e in events_in(body)] == ["", "function"]


@pytest.mark.parametrize(
    ("depth", "kind"), [(bounded_json.MAX_DEPTH - 1, "function"), (bounded_json.MAX_DEPTH, UNPARSABLE)]
)
def test_event_that_is_nested_too_deep_is_kept_as_text(depth: int, kind: str) -> None:
    """The limit is exact, because the bytes must not depend on the caller."""
    body = b'[{"type":"function","record":' + b"[" * depth + b"]" * depth + b"}]"
    assert [e.type for e in events_in(body)] == [kind]


# --- a record that was cut in two


def cut(
    value: str, at: int, *, prefix: str = '{"time":"2026-11-21T02:26:24.357Z","type":"function","record":'
) -> list[bytes]:
    """Return the two batches of a cut record: framing after the first part, the prefix again before the second."""
    return [
        f'[{{"type":"function","record":"before"}},{prefix}{value[:at]}}}]'.encode(),
        f'[{prefix}{value[at:]}}},{{"type":"function","record":"behind"}}]'.encode(),
    ]


@THOROUGH
@given(JSON_VALUES.filter(lambda v: isinstance(v, (str, dict))), st.floats(0, 1))
def test_cut_record_is_joined_or_kept_in_both_parts(value: Any, at: float) -> None:
    """At any cut, the joined record or both halves are kept, and the neighbours always."""
    text = json.dumps(value)
    bodies = cut(text, 1 + int(at * (len(text) - 2)))
    found = events_in(*bodies)
    records = [e.fields.get("record") for e in found]
    assert records[0] == "before"
    assert records[-1] == "behind" or "behind" in found[-1].text
    if len(found) == 3:
        assert records[1] == value
    else:
        # A second half that happens to be JSON is read as such, and its elements may have no type.
        assert all(e.type in (UNPARSABLE, "function", "") for e in found)


def test_cut_long_string_is_joined() -> None:
    """The observed case: one line that is larger than `maxBytes`."""
    value = json.dumps("x" * 300_000 + "}]")
    found = events_in(*cut(value, 262_144))
    assert [e.fields["record"] for e in found] == ["before", "x" * 300_000 + "}]", "behind"]


@pytest.mark.parametrize("following", [b'[{"type":"function","record":"other"}]', b"\xff", b"{}", b""])
def test_first_half_without_a_continuation_is_kept_unchanged(following: bytes) -> None:
    """The platform may have dropped the continuation."""
    first, _ = cut(json.dumps("x" * 50), 20)
    found = events_in(first, *([following] if following else []))
    assert found[0].fields["record"] == "before"
    assert found[1].type == UNPARSABLE
    assert found[1].fields["record"]["text"].endswith('"record":"' + "x" * 19 + "}]")
    assert len(found) == (3 if following else 2)


@pytest.mark.timeout(20)
def test_reader_discards_the_join_of_a_record_that_never_ends() -> None:
    """Any process may post first halves indefinitely: memory and time stay bounded."""
    reader = decoder.Reader()
    half = b'[{"type":"function","record":"' + b"x" * 1_000_000 + b"}]"
    for _ in range(24):
        list(reader.read(half))
    assert len(reader._head) < 20_000_000


def test_complete_batch_is_never_a_continuation() -> None:
    """A continuation is not JSON by itself, so a batch that is JSON is read alone."""
    found = events_in(b'[{"record":x}]', b'[{"record":"valid"}]')
    assert [e.fields["record"] for e in found] == [{"text": '{"record":x}]'}, "valid"]


@THOROUGH
@given(value=JSON_VALUES.filter(lambda v: isinstance(v, (str, dict))), at=st.floats(0, 1), spaces=st.booleans())
def test_end_of_a_batch_shows_whether_a_record_was_cut(value: Any, at: float, *, spaces: bool) -> None:
    """`ends_complete` is never true if the reader waits for the rest."""
    text = json.dumps(value, separators=None if spaces else (",", ":"))
    for body in (*cut(text, 1 + int(at * (len(text) - 2))), b"[" + text.encode() + b"]"):
        reader = decoder.Reader()
        list(reader.read(body))
        assert not (reader.has_partial_record and batch_facts.ends_complete(body))


@pytest.mark.parametrize("record", ['line "}]\n', "", {"a": {"time": "x"}}, {"time": "x"}, [], 'ä,{"time":"x'])
def test_complete_batch_is_recognised_by_its_end(record: Any) -> None:
    """The platform writes batches without spaces."""
    events = [{"time": "2026-11-21T02:26:24.357Z", "type": "function", "record": each} for each in ("x", record)]
    assert batch_facts.ends_complete(json.dumps(events, separators=(",", ":")).encode())


@THOROUGH
@given(ANYTHING)
def test_batch_without_the_platform_marker_has_no_platform_event(body: bytes) -> None:
    """The cheap check is exact for a negative result, except for a type that is written with escapes."""
    if not batch_facts.mentions_platform(body):
        assert not any(e.type.startswith("platform.") for e in events_in(body)) or b"\\u" in body
