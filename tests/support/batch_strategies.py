"""Batches for property tests, valid and invalid: the extension keeps every posted byte.

There are three kinds: batches of valid events (`deliveries`), valid ones that were damaged or cut (`broken`), and any
bytes (`ANYTHING`).
"""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st

ODD_TEXT = st.text() | st.sampled_from(
    ["platform.start", "\ud800", "\u2028\x85\x0b", '"}]', '"record":', "a\r\nb", "\x00", "RequestId: x", "é" * 50]
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    st.sampled_from(
        ["time", "type", "record", "requestId", "requestIdSource", "environment", "segment", "line", "event", "message"]
    )
    | ODD_TEXT
)
TYPES = st.sampled_from(
    ["function", "extension", "platform.start", "platform.runtimeDone", "platform.report", "platform.new", "", "x.y"]
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "time": st.sampled_from(["2026-11-21T02:26:24.357Z", "2026-11-21T03:00:00.000Z", "yesterday", ""])
        | JSON_VALUES,
        "type": TYPES | JSON_VALUES,
        "record": JSON_VALUES,
    },
).flatmap(lambda event: st.dictionaries(KEYS, JSON_VALUES, max_size=2).map(lambda more: more | event))
"""Objects that look like events of the platform, with keys of logferry and other keys among them."""


def as_bytes(events: list[Any], *, ascii_only: bool, indent: int | None) -> bytes:
    """Return events as JSON; a lone surrogate can only be escaped."""
    text = json.dumps(events, ensure_ascii=ascii_only, indent=indent)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(events, indent=indent).encode()


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    """Draw valid events, and a batch of them as any JSON writer may have made it."""
    events = draw(st.lists(EVENTS, min_size=1, max_size=5))
    return events, as_bytes(events, ascii_only=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1])))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Draw a valid batch with its end cut off, a byte changed, or odd bytes inserted."""
    _, body = draw(deliveries())
    at = draw(st.integers(0, len(body)))
    inserted = draw(
        st.sampled_from([b"", b"\x00", b"\xff", b",", b"]", b"[", b"NaN", b'"', b"}]", b"{}", b"\n", b"1e999"])
    )
    rest = draw(st.sampled_from([0, 0, 1, 7]))
    return body[:at] + inserted + (body[at + rest :] if draw(st.booleans()) else b"")


ODDITIES = st.sampled_from(
    [
        b"",
        b" \r\n",
        b"[]",
        b"[ ] ",
        b"{}",
        b"null",
        b'[null,1,"x",[]]',
        b"[{}]",
        b"[{},]",
        b"[,]",
        b"[{}{}]",
        b"[{}] trailing",
        b"[" * 3000,
        b"[" * 3000 + b"]" * 3000,
        b'[{"record":' * 2000 + b"1" + b"}]" * 2000,
        b'[{"record":NaN}]',
        b'[{"record":-Infinity},{"type":"function"}]',
        b'[{"record":' + b"9" * 5000 + b'},{"type":"function","record":"behind"}]',
        b'[{"record":"\\ud800"}]',
        b'[{"type":"a","type":"b","line":1,"line":2}]',
        b"\xef\xbb\xbf[{}]",
        b'[{"record":"\xed\xa0\x80"}]',
        b'[{"type":"function","record":"cut}]',
        b'{"time":"x"}\n{"time":"y"}\n',
        bytes(range(256)),
    ]
)
ANYTHING = st.binary(max_size=80) | broken() | deliveries().map(lambda both: both[1]) | ODDITIES
