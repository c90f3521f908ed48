"""Objects in text and in OTLP/JSON as lines of format 1, so that one check serves all formats. Pure.

Design: a log record of OTLP/JSON has its number. Scope and resource have the place of the object. Text has no numbers,
so its records count as present if the closing line is there. A text can contain any line, so a report of a loss in it
proves nothing and is left out: the lost segments count as missing.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from logferry.cli.stored_objects import BrokenLinesError, ReadObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OTLP = b'{"resourceLogs":['
_TEXT = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+Z ")
_CLOSING = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+Z (logferry\.(?:segment|final)) (\{.*\})")
_LOSSES = ("logferry.dropped", "platform.logsDropped")


def in_format_1(stored: ReadObject) -> ReadObject:
    """Return an object with lines of format 1. One that is in format 1, or unknown, is returned as it is."""
    try:
        first = next(iter(stored.lines), b"")
    except BrokenLinesError:
        return stored
    if first.startswith(_OTLP):
        return replace(stored, lines=_Converted(stored.lines, _from_otlp))
    if _TEXT.match(first):
        return replace(stored, lines=_Converted(stored.lines, _from_text))
    return stored


class _Converted:
    """Lines that are converted in each iteration."""

    def __init__(self, lines: Iterable[bytes], convert: Any) -> None:
        self._lines = lines
        self._convert = convert

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._convert(self._lines)
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise BrokenLinesError(f"it is not an object of logferry: {error!r}") from None


def _from_otlp(lines: Iterable[bytes]) -> Iterator[bytes]:
    found: list[tuple[int, str, str]] = []
    last = b""
    for text in lines:
        if text.startswith(b'{"timeUnixNano"'):
            record = json.loads(text.removesuffix(b","))
            attributes = _attributes(record["attributes"])
            kind = attributes["logferry.type"]
            found.append((int(attributes["logferry.line"]), kind, record["body"]["stringValue"]))
        last = text
    # The last line closes the log records, the scope and the resource, which the first one has opened.
    logs = json.loads(b'{"":[{"":[{"":[' + last)[""][0]
    scope, resource = (_attributes(each["attributes"]) for each in (logs[""][0]["scope"], logs["resource"]))
    place = {"environment": resource["faas.instance"], "segment": int(scope["logferry.segment"])}
    for number, kind, body in found:
        content = {"record": body} if kind in _LOSSES else {}
        yield json.dumps({"type": kind, **content, **place, "line": number}).encode()
    yield _closing(
        "logferry.final" if scope["logferry.final"] else "logferry.segment", scope["logferry.closing"], place
    )


def _attributes(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in attributes}


def _from_text(lines: Iterable[bytes]) -> Iterator[bytes]:
    last = b""
    for text in lines:
        last = text
    closing = _CLOSING.fullmatch(last)
    if closing is None:
        raise BrokenLinesError("it has no closing line: the object was cut")
    record = json.loads(closing[2])
    place = {"environment": record["environment"], "segment": record["segment"]}
    for number in range(1, record["records"] + 1):
        yield json.dumps({**place, "line": number}).encode()
    yield _closing(closing[1].decode(), closing[2].decode(), place)


def _closing(kind: str, record: str, place: dict[str, Any]) -> bytes:
    time = json.loads(record)["last"]
    number = json.loads(record)["records"] + 1
    return json.dumps({"time": time, "type": kind, "record": record, **place, "line": number}).encode()
