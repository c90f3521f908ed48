"""Shortening of lines that no data record can take: the size holds, and the place of the line remains."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.sinks.firehose.oversized_line import COLUMN, shortened

PLACE = {"environment": "0a1b", "segment": 7, "line": 42}
texts = st.text(st.sampled_from('a"\\\n\x00é日🚢'), min_size=20, max_size=60).map(lambda text: text * 100)


@settings(max_examples=200, deadline=None)
@given(text=texts, name=st.sampled_from(["message", "record", "event"]), is_escaped=st.booleans())
def test_line_of_format_1_keeps_its_columns_and_the_beginning_of_its_text(
    *, text: str, name: str, is_escaped: bool
) -> None:
    """The text and its missing bytes add up to the text before."""
    line = json.dumps({"time": "t", "type": "function", name: text, "requestId": "r", **PLACE}, ensure_ascii=is_escaped)
    short = shortened(line.encode() + b"\n", 1500)
    assert 1400 < len(short) <= 1500
    found = json.loads(short)
    missing = found.pop(COLUMN)
    assert list(found) == ["time", "type", "message", "requestId", "environment", "segment", "line"]
    assert text.startswith(found["message"])
    assert len(found["message"].encode()) + missing == len(text.encode())
    assert found | PLACE == found
    assert short.endswith(b"\n")
    assert short.count(b"\n") == 1


def test_other_text_than_that_of_the_record_is_not_shortened() -> None:
    """An optional column can have a text too."""
    line = json.dumps({"message": "m" * 3000, "team": "x" * 500, **PLACE}).encode()
    assert json.loads(shortened(line, 1500))["team"] == "x" * 500


@pytest.mark.parametrize(
    "line",
    [
        b"2026-11-21T02:26:24.357Z " + "é日".encode() * 1000,
        b"\xff" * 3000,
        b"[" * 3000,
        json.dumps(["message"] * 1000).encode(),
        json.dumps({"message": 1, "x": "y" * 3000}).encode(),
        json.dumps({"message": "text", "other": "o" * 3000}).encode(),
    ],
    ids=["text", "bytes", "nested", "list", "number", "other column"],
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_any_other_line_ends_with_a_mark(line: bytes, end: bytes) -> None:
    """The mark states the size of the line; the result is UTF-8 and one line."""
    short = shortened(line + end, 1000)
    assert len(short) <= 1000
    assert short.endswith(f" [{len(line)} bytes, truncated by logferry]".encode() + end)
    assert short.count(b"\n") == len(end)
    short.decode()
