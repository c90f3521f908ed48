"""A strict reader of object format 1, with code that is independent of the encoder and of `logferry verify`.

It restores the delivered event from each line: `message`, `record` or `event` become `record` again, so that tests
compare stored records with posted ones.
"""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS: dict[str, type] = {
    "time": str,
    "type": str,
    "message": str,
    "record": str,
    "event": str,
    "requestId": str,
    "requestIdSource": str,
    "environment": str,
    "segment": int,
    "line": int,
}
"""Columns of a line with their types, in the order in which they appear."""
VALUES = ("message", "record", "event")
OURS = ("requestId", "requestIdSource", "environment", "segment", "line")
CLOSING = ("logferry.segment", "logferry.final")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


def refuse(constant: str) -> None:
    """Raise ValueError for a constant that is not JSON."""
    raise ValueError(constant)


def pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object; a duplicate key fails."""
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def read_line(text: str) -> dict[str, Any]:
    """Return the columns of a line. A line that is not exactly of format 1 fails."""
    line = json.loads(text, parse_constant=refuse, object_pairs_hook=pairs_once)
    assert isinstance(line, dict)
    assert [name for name in COLUMNS if name in line] == list(line), line
    assert all(type(value) is COLUMNS[name] for name, value in line.items()), line
    assert len([name for name in VALUES if name in line]) == 1, line
    assert {"time", "environment", "segment", "line"} <= line.keys(), line
    assert _TIME.fullmatch(line["time"]), line
    for value in line.values():
        str(value).encode()  # a lone surrogate fails
    assert line.get("requestIdSource") in (["record", "inferred"] if "requestId" in line else [None]), line
    return line


def read_lines(body: bytes) -> list[dict[str, Any]]:
    """Return the columns of all lines of an object, with the closing line."""
    text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    assert text.endswith(b"\n")
    return [read_line(line.decode()) for line in text[:-1].split(b"\n")]


def read_object(body: bytes, metadata: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the restored records of an object and its closing record. A contradiction fails."""
    *lines, last = read_lines(body)
    closing = json.loads(last["record"])
    assert last["type"] == ("logferry.final" if metadata.get("final") == "true" else "logferry.segment")
    assert metadata["format"] == "1"
    assert str(len(lines)) == metadata["records"] == str(closing["records"])
    assert last["line"] == len(lines) + 1
    assert (closing["first"], closing["last"]) == (metadata["first-time"], metadata["last-time"])
    assert not [line for line in lines if line.get("type") in CLOSING]
    return [restored(line) for line in lines], closing


def restored(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the delivered event of a line, with the columns of logferry added."""
    ours = {
        name: line[name] for name in ("requestId", "requestIdSource", "environment", "segment", "line") if name in line
    }
    if "event" in line:
        event = json.loads(line["event"], parse_int=number)
        return {**event, **ours}
    record = line["message"] if "message" in line else json.loads(line["record"], parse_int=number)
    return {"time": line["time"], "type": line["type"], "record": record, **ours}


def number(digits: str) -> float:
    """Return an integer, or a float beyond the limit of Python's `int()`."""
    return int(digits) if len(digits) < 4300 else float(digits)
