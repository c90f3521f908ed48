"""Quick check of one object: whether all its lines have exactly the encoder's layout. Pure.

Guarantees: each line of a matching object begins with its time and ends with its place. All lines are
of the same environment and segment, and the last one is the closing line with the number of records.
Only the numbers of the lines remain to be checked, which statement 1 of the proof does.

Design: a quote inside a value is escaped, so that the counts of two byte strings show how many lines
begin and end in this way. That is many times faster than a JSON parser. Any other object, also an
intact one that another program has formatted, goes to `verify/object_check`, which reads each line.
So does an object that reports a loss, or counts filtered or masked records.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FIRST = b'{"time":"'
_CLOSING = re.compile(
    rb'\{"time":"[^"\\]*","type":"logferry\.(?:segment|final)",'
    rb'"record":"\{\\"format\\":1,\\"records\\":(\d{1,18}),(?:[^"\\]|\\.)*"'
    rb'(,"environment":"([0-9A-Za-z_.-]{1,64})","segment":([1-9]\d{0,17}),"line":)([1-9]\d{0,17})\}\n\Z'
)
_COUNTS = re.compile(rb'\\"(?:filtered|masked|failed)\\":[1-9]')
"""Count in the closing line of records that the settings have filtered or masked."""
_LOSSES = (b'"type":"logferry.dropped"', b'"type":"platform.logsDropped"')


class Layout(NamedTuple):
    """The place of an object whose lines have the encoder's layout. `lines` counts the closing line too."""

    environment: str
    segment: int
    lines: int


def layout_of(body: bytes) -> Layout | None:
    """Return the place of an object by its decompressed lines, or None if they need the complete check."""
    closing = _CLOSING.match(body, body.rfind(b"\n", 0, -1) + 1)
    if closing is None:
        return None
    records, place, environment, segment, last = closing.groups()
    lines = body.count(b"\n")
    if not lines == int(last) == int(records) + 1 == body.count(place) == body.count(_FIRST):
        return None
    if not body.startswith(_FIRST) or _LOSSES[0] in body or _LOSSES[1] in body:
        return None
    if _COUNTS.search(body, closing.start()):
        return None
    return Layout(environment.decode(), int(segment), lines)
