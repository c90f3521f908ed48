"""Quick check of one object: whether all its lines have exactly the encoder's layout. Pure.

Guarantees:
- A matching object has the lines 1 to `lines` in this order, each once. All are of the same environment
  and segment, and the last one is the closing line with the number of records.
- Each line begins with its time and ends with its place.
- The values are those of the row of statement 1 (`segments.sql`), with the times of the closing line.

Design: a quote inside a value is escaped, so that the place of a line cannot occur in a text. One split
at the place shows what stands between all places, which is many times faster than a JSON parser. The
middle of each line is compared with the grammar of JSON too, and the closing record is parsed, unless
a checksum shows that the bytes are the encoder's own. Any other object, also an intact one that another
program has formatted, goes to `verify/object_check`, which parses each line. So does an object that
reports a loss.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from logferry.records.bounded_json import refuse_constant

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST = b'{"time":"'
_CLOSING = re.compile(
    rb'\{"time":"[^"\\]*+","type":"logferry\.(segment|final)",'
    rb'"record":"\{\\"format\\":1,\\"records\\":(\d{1,18}),'
    rb'\\"first\\":\\"([0-9TZ:.-]{1,40})\\",\\"last\\":\\"([0-9TZ:.-]{1,40})\\"'
    rb'([^"\\]*+(?:\\.[^"\\]*+)*+)"'
    rb'(,"environment":"([0-9A-Za-z_.-]{1,64})","segment":([1-9]\d{0,17}),"line":)([1-9]\d{0,17})\}\n\Z'
)
_COUNTS = ("filtered", "masked", "failed")
_COUNT = re.compile(rb'\\"(filtered|masked|failed)\\":(\d{1,18})(?=[,}])')
"""Count in the closing line of records that the settings have filtered or masked."""
_COUNTED = b'ed\\":'
"""End of the name of each count, without which none is searched."""
_LOSS = b'ropped","record":"'
"""End of the type of a reported loss as the encoder writes it: `logferry.dropped` or `platform.logsDropped`."""
_LOSSES = (b'"logferry.dropped"', b'"platform.logsDropped"')
"""Types of a reported loss."""
_CLOSING_TYPES = (b'"type":"logferry.segment"', b'"type":"logferry.final"')
_TEXT = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+"'
_LINE = (
    rb'^\{"time":"[^"\\\x00-\x1f]*+"(?:,"type":"[^"\\\x00-\x1f]*+")?+(?:,"(?:message|record|event)":' + _TEXT + rb")?+"
    rb'(?:,"requestId":"[0-9a-f-]*+","requestIdSource":"[a-z]*+")?+'
    rb'(?:,"(?!(?:time|type|environment|segment|line)")[^"\\\x00-\x1f]*+":' + _TEXT + rb")*+"
    rb',"environment":"[^"\\]++","segment":\d++,"line":\d++\}$'
)
"""Expression of a complete line, compiled with its first use. Each name that the proof reads is there once."""

_cached: list[Sequence[bytes]] = [()]
"""The texts of `_following`, for the longest object so far."""


class Layout(NamedTuple):
    """The row of an object whose lines have the encoder's layout. `lines` counts the closing line too."""

    environment: str
    segment: int
    lines: int
    final: int
    first_time: str
    last_time: str
    filtered: int = 0
    masked: int = 0
    failed: int = 0


def layout_of(body: bytes, *, parse: bool) -> Layout | None:
    """Return the row of an object by its decompressed lines, or None if they need the complete check.

    Without `parse`, the middle of the lines is not read: a checksum has shown that the encoder wrote them.
    """
    closing = _CLOSING.match(body, body.rfind(b"\n", 0, -1) + 1)
    if closing is None:
        return None
    kind, records, first, last, more, place, environment, segment, number = closing.groups()
    lines = int(number)
    if lines != int(records) + 1 or not _are_numbered(body, place, lines):
        return None
    if not _is_plain_text(body, lines) if parse else _LOSS in body:
        return None
    counts = _counts(more) if _COUNTED in more else (0, 0, 0)
    if counts is None or (parse and not _has_record(closing[0], int(records), counts)):
        return None
    final = 1 if kind == b"final" else 0
    return Layout(environment.decode(), int(segment), lines, final, first.decode(), last.decode(), *counts)


def _are_numbered(body: bytes, place: bytes, lines: int) -> bool:
    """Return whether each line begins with its time, and ends with this place and its number."""
    between = body.split(place)
    if len(between) != lines + 1 or not body.startswith(_FIRST):
        return False
    # The part after the last place belongs to the closing line, which has been compared completely.
    return all(map(bytes.startswith, between[1:lines], _following(lines)))


def _following(lines: int) -> Sequence[bytes]:
    """Return the text between the place of a line and the time of the next one, for at least the lines from 1."""
    if len(_cached[0]) < lines:
        _cached[0] = [b'%d}\n{"time":"' % number for number in range(1, 2 * lines)]
    return _cached[0]


def _is_plain_text(body: bytes, lines: int) -> bool:
    """Return whether each line is JSON in UTF-8 with texts as its values, one is closing, and none reports a loss."""
    if body.count(b"\n") != lines or any(kind in body for kind in _LOSSES):
        return False
    if sum(map(body.count, _CLOSING_TYPES)) != 1:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return sum(1 for _ in re.finditer(_LINE, body, re.MULTILINE)) == lines


def _counts(more: bytes) -> tuple[int, int, int] | None:
    """Return the counts in the rest of the closing record, or None if one stands there twice."""
    found = _COUNT.findall(more)
    counts = dict(found)
    if len(counts) != len(found):
        return None
    filtered, masked, failed = (int(counts.get(name.encode(), 0)) for name in _COUNTS)
    return filtered, masked, failed


def _has_record(line: bytes, records: int, counts: tuple[int, int, int]) -> bool:
    """Return whether the record of a closing line is JSON with these numbers."""
    try:
        record = json.loads(json.loads(line)["record"], parse_constant=refuse_constant)
        return (record["records"], *(record.get(name, 0) for name in _COUNTS)) == (records, *counts)
    except (ValueError, RecursionError):
        return False
