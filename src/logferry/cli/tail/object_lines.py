"""Lines of one object, parsed without DuckDB.

Guarantees: a damaged object, or a line without the columns of logferry, raises `ValueError` with the
reason. Lines of another program have no environment and are left out.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from logferry.cli.logs.line_format import LogLine
from logferry.cli.stored_objects import BrokenLinesError, Lines, compression_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_lines(path: Path, name: str) -> Iterator[LogLine]:
    """Yield the lines of an object. Raise ValueError if it is damaged or of another program."""
    try:
        lines = Lines(path.read_bytes(), compression=compression_of(name))
        columns = [json.loads(text) for text in lines]
    except (OSError, BrokenLinesError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged lines: {error}") from error
    function = _function_of(name, columns)
    for each in columns:
        if isinstance(each, dict) and "environment" in each:
            yield _line(each, function)


def _function_of(name: str, columns: list[Any]) -> str:
    """Return the function of an object from its key, or from its closing line."""
    match = re.search(r"(?:^|/)function=([^/]+)/", name)
    if match:
        return match[1]
    try:
        return str(json.loads(columns[-1]["record"])["function"])
    except (IndexError, KeyError, TypeError, ValueError):
        return ""


def _line(columns: dict[str, Any], function: str) -> LogLine:
    try:
        return LogLine(
            time=datetime.fromisoformat(columns["time"]),
            function=function,
            environment=columns["environment"],
            segment=columns["segment"],
            line=columns["line"],
            kind=columns.get("type", ""),
            request_id=columns.get("requestId", ""),
            message=columns.get("message"),
            record=columns.get("record"),
            event=columns.get("event"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no line of logferry: {error!r}") from error
