"""The totals that must balance: delivered + waiting + reported lost = accepted, and no record delivered twice.

- Accepted: records of batches that the extension answered with 200.
- Delivered: records that are read back from the destination.
- Waiting: records in complete frames in the spool.
- Reported lost: the counts of `logferry.dropped` records and of the ledger of losses.

A record that the platform delivered again, because it received no response, may be stored twice: the first delivery may
or may not have been stored. A record that was posted under a `logferry.*` type is delivered as the text of a
`logferry.unparsable` record.

The spool is read with separate code, so that a fault of the journal's reader cannot hide itself.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.platform_events import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from support.end_to_end import Arrived
    from support.lambda_stub import BareLambda

MAGIC = b"logferry segment 1\n"
LOSSES_MAGIC = b"logferry losses 1\n"
INTERNAL = 1 << 31
"""Bit of a frame's length that marks an internal batch."""
_FRAME = struct.Struct(">III")
OURS = "logferry."


@dataclass(frozen=True)
class Ledger:
    """Counts of the records by place."""

    accepted: Counter[str]
    repeated: Counter[str]
    delivered: Counter[str]
    waiting: Counter[str]
    reported_lost: int

    @property
    def missing(self) -> Counter[str]:
        """Records that were accepted, and are neither delivered nor waiting."""
        return self.accepted - self.delivered - self.waiting

    @property
    def twice(self) -> Counter[str]:
        """Records that were delivered more often than accepted, without a repeated delivery of the platform."""
        return self.delivered - self.accepted - self.repeated

    def __repr__(self) -> str:
        return (
            f"<Ledger {self.accepted.total()} accepted, {self.delivered.total()} delivered, {self.waiting.total()} "
            f"waiting, {self.reported_lost} reported lost, {self.missing.total()} missing, {self.twice.total()} twice>"
        )


def ledger(platform: BareLambda, objects: Sequence[Arrived], spool: Path) -> Ledger:
    """Return the counts of the records."""
    records = [record for one in objects for record in one.records]
    entries = [
        record["record"] for path in spool.glob("*.lost") for record in _records(path, LOSSES_MAGIC, internal=True)
    ]
    files = [path for path in sorted(spool.glob("*-*-*.*")) if not any(_names(loss, path) for loss in entries)]
    reported = records + [record for path in files for record in _records(path, MAGIC, internal=True)]
    # A kill may leave the ledger next to a segment that reports it.
    losses = entries + [r["record"] for r in reported if kind_of(r) == "logferry.dropped"]
    distinct = {(loss["environment"], loss["segment"], loss["until"]): loss["records"] for loss in losses}
    return Ledger(
        accepted=platform.accepted_records(),
        repeated=platform.repeated_records(),
        delivered=Counter(identity(posted) for record in records if (posted := _as_posted(record))),
        waiting=Counter(identity(record) for path in files for record in _records(path, MAGIC, internal=False)),
        reported_lost=sum(distinct.values()),
    )


def _as_posted(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the posted record of a stored one; None for a record that logferry made."""
    if not kind_of(record).startswith(OURS):
        return record
    if kind_of(record) == "logferry.unparsable" and "text" in record["record"]:
        with contextlib.suppress(ValueError, RecursionError):
            posted: object = json.loads(record["record"]["text"])
            return posted if isinstance(posted, dict) and kind_of(posted).startswith(OURS) else None
    return None


def _names(loss: Mapping[str, Any], path: Path) -> bool:
    """Return whether a file belongs to a lost segment."""
    _, environment, number = path.stem.split("-")
    return bool(environment == loss["environment"] and loss["segment"] <= int(number) <= loss["until"])


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the type of a record, empty if it is not a string."""
    kind = record.get("type")
    return kind if isinstance(kind, str) else ""


def assert_balanced(platform: BareLambda, objects: Sequence[Arrived], spool: Path) -> Ledger:
    """Assert that the totals balance and that the objects are numbered without a gap."""
    stock = ledger(platform, objects, spool)
    assert not stock.twice, (stock, _places(stock.twice, objects))
    lost = stock.missing.total()
    assert lost == stock.reported_lost or (stock.repeated and lost <= stock.reported_lost), (
        stock,
        [key[:120] for key in stock.missing],
    )
    assert_numbered(objects)
    return stock


def _places(keys: Counter[str], objects: Sequence[Arrived]) -> list[tuple[str, str]]:
    """Return the places of records in the objects."""
    return [(f"{r['segment']}-{r['line']}", one.key) for one in objects for r in one.records if keys[identity(r)]]


def assert_numbered(objects: Sequence[Arrived]) -> None:
    """Assert one object for each number of an environment, and numbered lines in each object."""
    numbers = Counter((one.metadata["environment"], int(one.metadata["segment"])) for one in objects)
    assert set(numbers.values()) <= {1}, numbers
    for one in objects:
        number = int(one.metadata["segment"])
        places = [(number, i) for i in range(1, len(one.records) + 1)]
        assert [(r["segment"], r["line"]) for r in one.records] == places
        assert one.metadata["records"] == str(len(one.records))


def gaps(objects: Sequence[Arrived]) -> dict[str, list[int]]:
    """Return the missing numbers below the highest one of each environment."""
    numbers: dict[str, set[int]] = {}
    for one in objects:
        numbers.setdefault(one.metadata["environment"], set()).add(int(one.metadata["segment"]))
    return {name: missing for name, own in numbers.items() if (missing := sorted(set(range(1, max(own) + 1)) - own))}


def finals(objects: Sequence[Arrived]) -> dict[str, list[int]]:
    """Return the numbers of the final objects by environment; only the highest may be final."""
    found: dict[str, list[int]] = {}
    for one in objects:
        found.setdefault(one.metadata["environment"], [])
        if one.metadata.get("final") == "true":
            found[one.metadata["environment"]].append(int(one.metadata["segment"]))
    return found


def records_of_type(objects: Sequence[Arrived], kind: str) -> list[dict[str, Any]]:
    """Return every record of a type."""
    return [record for one in objects for record in one.records if kind_of(record) == kind]


def lines_of(objects: Sequence[Arrived]) -> list[str]:
    """Return the lines of the function."""
    return [str(record["record"]) for record in records_of_type(objects, "function")]


def _records(path: Path, magic: bytes, *, internal: bool) -> Iterator[dict[str, Any]]:
    """Yield the records in a file, those of internal batches or those of the others."""
    content = path.read_bytes()
    if not content.startswith(magic):
        return
    position, header = len(magic), magic == MAGIC
    while position + _FRAME.size <= len(content):
        length = _FRAME.unpack_from(content, position)[0]
        size = length & ~INTERNAL
        body = content[position + _FRAME.size : position + _FRAME.size + size]
        if not size or len(body) < size:
            break
        if not header and bool(length & INTERNAL) == internal:
            yield from json.loads(body)
        header, position = False, position + _FRAME.size + size
