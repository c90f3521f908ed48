"""The place of an object whose metadata are lost, from its lines. Pure.

Design: user metadata is lost when an object is copied or downloaded. Each line has the environment, the segment and its
own number. The last line of an object (`logferry.segment` or `logferry.final`) has the number of
records, so that an object that was cut at the end of a line is still found. An object without a
line of logferry is foreign.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CLOSING_TYPES = ("logferry.segment", "logferry.final")


@dataclass(frozen=True)
class LinePlace:
    """The place of an object according to its lines. `records` is None without a closing line."""

    environment: str
    segment: int
    records: int | None
    highest_line: int
    first_time: str
    last_time: str
    final: bool


def place_of_lines(lines: Iterable[bytes]) -> LinePlace | None:
    """Return the place of an object, or None if its first line is not a line of logferry."""
    start: tuple[str, int] | None = None
    highest, times, closing = 0, ["", ""], None
    for text in lines:
        line = _parsed(text)
        position = _position(line)
        if position is None:
            break  # the check of the lines reports it, if the first line is one of logferry
        environment, segment, number = position
        start = start or (environment, segment)
        is_closing = line.get("type") in CLOSING_TYPES
        highest = max(highest, number - is_closing)
        time = line.get("time")
        if isinstance(time, str):
            times = [min(times[0] or time, time), max(times[1], time)]
        closing = line if is_closing else None
    if start is None:
        return None
    return LinePlace(
        environment=start[0],
        segment=start[1],
        records=_records(closing) if closing else None,
        highest_line=highest,
        first_time=times[0],
        last_time=times[1],
        final=bool(closing and closing["type"] == "logferry.final"),
    )


def _position(line: Mapping[str, Any]) -> tuple[str, int, int] | None:
    """Return environment, segment and number of a line."""
    environment, segment, number = line.get("environment"), line.get("segment"), line.get("line")
    if not isinstance(environment, str):
        return None
    return (environment, segment, number) if type(segment) is int and type(number) is int else None


def _records(closing: Mapping[str, Any]) -> int | None:
    record = closing.get("record")
    records = _parsed(record).get("records") if isinstance(record, str) else None
    return records if type(records) is int and records >= 0 else None


def _parsed(text: bytes | str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}
