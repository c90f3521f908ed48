"""Objects of records that are selected and masked, for tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.options import records as table
from logferry.options.records import RecordOptions
from logferry.records.encoder import encode
from logferry.records.model import Header, Origin
from logferry.records.object_key import DEFAULT_KEY
from logferry.records.processing import Processing
from support.format_1 import read_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from logferry.records.model import StoredObject

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
TIME = "2026-11-21T02:26:24.357Z"
ALL = frozenset({"platform", "function", "extension"})
ORIGIN = Origin("0a1b2c", function="orders", version="$LATEST", region="eu-west-1", concurrent=False)
HEADER = Header(origin=ORIGIN, number=7, opened_ms=1_795_227_984_357, request_id=None, started=(A,))


def options(rules: Mapping[str, str]) -> RecordOptions:
    """Return the options of these settings, with defaults for all others. Raise ValueError for an invalid one."""
    assert rules.keys() <= {row.name for row in table.SETTINGS}
    parsed = {row.name: row.parse(rules.get(row.name, row.default)) for row in table.SETTINGS}
    return table.read(parsed)


def encoded(
    bodies: Iterable[bytes],
    rules: Mapping[str, str] | RecordOptions,
    *,
    header: Header = HEADER,
    types: frozenset[str] = ALL,
    min_batch_bytes: int = 0,
    final: bool = False,
) -> StoredObject:
    """Return the object of a segment with these settings, given as texts or as options."""
    chosen = rules if isinstance(rules, RecordOptions) else options(rules)
    return encode(
        header,
        list(bodies),
        final=final,
        key=DEFAULT_KEY,
        compress=False,
        types=types,
        make_lines=(chosen.processing or Processing()).make_lines,
        min_batch_bytes=min_batch_bytes,
    )


def event(record: Any, kind: str = "function", time: str = TIME) -> dict[str, Any]:
    """Return an event of the platform."""
    return {"time": time, "type": kind, "record": record}


def batch(*events: Any) -> bytes:
    """Return a batch as the platform writes it; a text is a line of the function."""
    found = [each if isinstance(each, dict) else event(each) for each in events]
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def records_of(stored: StoredObject) -> list[Any]:
    """Return the records of an object without their place."""
    return [record["record"] for record in read_object(stored.body, stored.metadata)[0]]


def closing_of(stored: StoredObject) -> dict[str, Any]:
    """Return the closing record of an object."""
    return read_object(stored.body, stored.metadata)[1]
