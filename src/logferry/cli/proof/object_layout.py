"""Quick check of one object: whether all its lines have exactly the encoder's layout. Pure.

Guarantees: a matching object has one line after the other of the same environment and segment, its
last line is the closing line, and its metadata, if any, agree. Only the numbers of its lines remain
to be checked, which statement 1 of the proof does.

Design: the encoder writes each line with the time first and the place last. A quote inside a value
is escaped, so that the counts of two byte strings show that each line begins and ends in this way.
That is many times faster than a JSON parser. Any other object, also an intact one that another
program has written again, goes to `verify/object_check`, which reads each line and names the fault.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = b'{"time":"'
_PLACE = re.compile(rb',"environment":"([0-9A-Za-z_.-]{1,64})","segment":([1-9]\d{0,17}),"line":([1-9]\d{0,17})}\n\Z')
_CLOSING = re.compile(rb'\{"time":"[^"]*","type":"logferry\.(segment|final)","record":"')
_LOSSES = (b'"type":"logferry.dropped"', b'"type":"platform.logsDropped"')


class Layout(NamedTuple):
    """The place of an object whose lines have the encoder's layout."""

    environment: str
    segment: int
    lines: int
    """Number of lines, with the closing line."""


def layout_of(body: bytes, metadata: Mapping[str, str]) -> Layout | None:
    """Return the place of an object, or None if its lines need the complete check."""
    found = _PLACE.search(body, max(0, len(body) - 256))
    if found is None:
        return None
    environment, segment, last = found[1], found[2], int(found[3])
    place = b',"environment":"%b","segment":%b,"line":' % (environment, segment)
    lines = body.count(b"\n")
    if not (lines == last == body.count(place) == body.count(FIRST) and body.startswith(FIRST)):
        return None
    start = body.rfind(b"\n", 0, -1) + 1
    closing = _CLOSING.match(body, start)
    if closing is None or any(each in body for each in _LOSSES):
        return None
    if _records(body[start:]) != last - 1:
        return None
    layout = Layout(environment.decode(), int(segment), lines)
    return layout if _agrees(layout, metadata, final=closing[1] == b"final") else None


def _records(closing: bytes) -> int | None:
    """Return the number of records in the closing line."""
    try:
        record = json.loads(json.loads(closing)["record"])
        return int(record["records"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _agrees(layout: Layout, metadata: Mapping[str, str], *, final: bool) -> bool:
    """Return whether the metadata name the same place. A copy can have lost them."""
    if not metadata.get("environment"):
        return True
    expected = (layout.environment, str(layout.segment), str(layout.lines - 1), final)
    named = (metadata["environment"], metadata.get("segment"), metadata.get("records"), metadata.get("final") == "true")
    return expected == named
