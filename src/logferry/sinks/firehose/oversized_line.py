"""Shortening of a line that exceeds the size of a data record of Firehose. Pure.

Guarantees:
- The result has at most the given size, ends with a line break if the line did, and is UTF-8.
- A line of object format 1 stays one: its text is shortened, and becomes `message`, because a part of a JSON text is no
  JSON. All other columns are kept, so the line keeps its place.
- `truncatedBytes` states how many bytes of the text are missing. Any other line ends with a text that states it.

Design: Firehose joins the records of several producers in any order, so parts of a line would not become one line
again. Only a record of a megabyte gets here, for example an event of that size, or 256 KiB of control characters.
"""

from __future__ import annotations

import json
from typing import Any

COLUMN = "truncatedBytes"
_TEXTS = ("message", "record", "event")
_LONGEST_ESCAPE = len("\\u0000")


def shortened(line: bytes, limit: int) -> bytes:
    """Return a line with at most `limit` bytes, which is at least 1,000, and a mark."""
    end = b"\n" if line.endswith(b"\n") else b""
    try:
        columns = json.loads(line)
        name = max((name for name in _TEXTS if name in columns), key=lambda name: len(columns[name]))
        return _of_format_1(columns, name, limit - len(end)) + end
    except (ValueError, TypeError, RecursionError):
        return _of_text(line.removesuffix(b"\n"), limit - len(end)) + end


def _of_format_1(columns: dict[str, Any], name: str, limit: int) -> bytes:
    """Return the line with as much of its text as fits. Raise ValueError if the other columns are too large."""
    text = columns[name].encode(errors="replace")
    # The message is where the text was, so that the columns keep their order.
    kept: dict[str, Any] = {("message" if each == name else each): value for each, value in columns.items()}
    room = limit - len(_json(kept | {"message": "", COLUMN: len(text)}))
    if room < 0:
        raise ValueError("the other columns are too large")
    start = _prefix(_json(text.decode())[1:-1], room)
    return _json(kept | {"message": start, COLUMN: len(text) - len(start.encode())})


def _prefix(escaped: bytes, room: int) -> str:
    """Return the text whose JSON form is the first bytes of another one, without the last escape if it is cut."""
    cut = escaped[:room].decode(errors="ignore")
    for end in range(len(cut), len(cut) - _LONGEST_ESCAPE, -1):
        try:
            return str(json.loads(f'"{cut[:end]}"'))
        except ValueError:
            continue
    return ""


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _of_text(line: bytes, limit: int) -> bytes:
    """Return the first bytes of a line that is not of format 1."""
    mark = f" [{len(line)} bytes, truncated by logferry]".encode()
    return line[: limit - len(mark)].decode(errors="ignore").encode() + mark
