"""The account that must balance: delivered + waiting + reported lost = accepted, and nothing delivered twice.

Accepted is what the extension answered 200. Delivered is what can be read back from the destination, waiting is what
stands in whole frames in the spool, reported lost is what `logferry.dropped` records and the account of losses count.
What the platform had to deliver again because no answer came may stand there twice, for nobody can know whether the
first was stored; anything else may not. A record that was posted under a type of logferry's own is delivered as the
text of a `logferry.unparsable` record.

The spool is read here by hand, so that a mistake in the journal's own reader cannot agree with itself.
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
OWN = 1 << 31
"""The bit of a frame's length that marks a delivery of logferry's own."""
_FRAME = struct.Struct(">III")
OURS = "logferry."


@dataclass(frozen=True)
class Ledger:
    """Where the records are."""

    accepted: Counter[str]
    repeated: Counter[str]
    delivered: Counter[str]
    waiting: Counter[str]
    reported_lost: int

    @property
    def missing(self) -> Counter[str]:
        """Accepted, and neither delivered nor waiting."""
        return self.accepted - self.delivered - self.waiting

    @property
    def twice(self) -> Counter[str]:
        """Delivered more often than they were accepted, and never delivered again by the platform."""
        return self.delivered - self.accepted - self.repeated

    def __repr__(self) -> str:
        return (
            f"<Ledger {self.accepted.total()} accepted, {self.delivered.total()} delivered, {self.waiting.total()} "
            f"waiting, {self.reported_lost} reported lost, {self.missing.total()} missing, {self.twice.total()} twice>"
        )


def ledger(platform: BareLambda, objects: Sequence[Arrived], spool: Path) -> Ledger:
    """Take stock."""
    records = [record for one in objects for record in one.records]
    account = [record["record"] for path in spool.glob("*.lost") for record in _records(path, LOSSES_MAGIC, own=True)]
    files = [path for path in sorted(spool.glob("*-*-*.*")) if not any(_names(loss, path) for loss in account)]
    told = records + [record for path in files for record in _records(path, MAGIC, own=True)]
    # A kill in the middle may leave the account beside a segment that tells it.
    losses = account + [r["record"] for r in told if kind_of(r) == "logferry.dropped"]
    distinct = {(loss["environment"], loss["segment"], loss["until"]): loss["records"] for loss in losses}
    return Ledger(
        accepted=platform.accepted_records(),
        repeated=platform.repeated_records(),
        delivered=Counter(identity(posted) for record in records if (posted := _as_posted(record))),
        waiting=Counter(identity(record) for path in files for record in _records(path, MAGIC, own=False)),
        reported_lost=sum(distinct.values()),
    )


def _as_posted(record: dict[str, Any]) -> dict[str, Any] | None:
    """What was posted of what arrived; nothing where it is logferry's own word, or no record was posted."""
    if not kind_of(record).startswith(OURS):
        return record
    if kind_of(record) == "logferry.unparsable" and "text" in record["record"]:
        with contextlib.suppress(ValueError, RecursionError):
            posted: object = json.loads(record["record"]["text"])
            return posted if isinstance(posted, dict) and kind_of(posted).startswith(OURS) else None
    return None


def _names(loss: Mapping[str, Any], path: Path) -> bool:
    """Whether a file is of a segment that is lost."""
    _, environment, number = path.stem.split("-")
    return bool(environment == loss["environment"] and loss["segment"] <= int(number) <= loss["until"])


def kind_of(record: Mapping[str, Any]) -> str:
    """A record's type; empty where it has none that is a string."""
    kind = record.get("type")
    return kind if isinstance(kind, str) else ""


def assert_balanced(platform: BareLambda, objects: Sequence[Arrived], spool: Path) -> Ledger:
    """The account balances, and a reader of the objects can see that nothing is missing."""
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
    """In which objects records are."""
    return [(r["seq"], one.key) for one in objects for r in one.records if keys[identity(r)]]


def assert_numbered(objects: Sequence[Arrived]) -> None:
    """One object for each number of an environment; each line is numbered within it."""
    numbers = Counter((one.metadata["environment"], int(one.metadata["segment"])) for one in objects)
    assert set(numbers.values()) <= {1}, numbers
    for one in objects:
        number = int(one.metadata["segment"])
        assert [r["seq"] for r in one.records] == [f"{number:08d}-{i:06d}" for i in range(1, len(one.records) + 1)]
        assert one.metadata["records"] == str(len(one.records))


def gaps(objects: Sequence[Arrived]) -> dict[str, list[int]]:
    """The numbers that are missing below an environment's highest, by environment."""
    numbers: dict[str, set[int]] = {}
    for one in objects:
        numbers.setdefault(one.metadata["environment"], set()).add(int(one.metadata["segment"]))
    return {name: missing for name, own in numbers.items() if (missing := sorted(set(range(1, max(own) + 1)) - own))}


def finals(objects: Sequence[Arrived]) -> dict[str, list[int]]:
    """The numbers that call themselves final, by environment; and only the highest should."""
    found: dict[str, list[int]] = {}
    for one in objects:
        found.setdefault(one.metadata["environment"], [])
        if one.metadata.get("final") == "true":
            found[one.metadata["environment"]].append(int(one.metadata["segment"]))
    return found


def records_of_type(objects: Sequence[Arrived], kind: str) -> list[dict[str, Any]]:
    """Every record of a type."""
    return [record for one in objects for record in one.records if kind_of(record) == kind]


def lines_of(objects: Sequence[Arrived]) -> list[str]:
    """The function's own lines."""
    return [str(record["record"]) for record in records_of_type(objects, "function")]


def _records(path: Path, magic: bytes, *, own: bool) -> Iterator[dict[str, Any]]:
    """The records in a file's deliveries: of those that are logferry's own, or of the others."""
    content = path.read_bytes()
    if not content.startswith(magic):
        return
    position, header = len(magic), magic == MAGIC
    while position + _FRAME.size <= len(content):
        length = _FRAME.unpack_from(content, position)[0]
        size = length & ~OWN
        body = content[position + _FRAME.size : position + _FRAME.size + size]
        if not size or len(body) < size:
            break
        if not header and bool(length & OWN) == own:
            yield from json.loads(body)
        header, position = False, position + _FRAME.size + size
