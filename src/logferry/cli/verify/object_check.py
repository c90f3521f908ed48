"""What one object proves. Pure: an object in, its place, its line numbers and the losses it reports out.

Every line says where it belongs: ``environment``, and ``seq``, its segment and its line, both counted from 1. Every
object is one segment; its metadata say which (``environment``, ``segment``), how many records it holds (``records``),
from when to when (``first-time``, ``last-time``), and whether it is its environment's last (``final``).

An object that contradicts itself (a line is no JSON object with a place, or its place is not the one that the metadata
name) is unreadable: it proves nothing but that its segment exists, if its metadata name one. A function may log what it
likes, numbers of ten thousand digits among them; what must be a number here has ``MAX_DIGITS`` at most.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from logferry.cli.object_reader import BrokenLinesError, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.object_reader import ReadObject

MAX_DIGITS = 18
"""More than anybody counts to, and what a range of Python can be long."""
SHOWN = 80
"""Characters of a wrong value in a message."""

_SEQ = re.compile(rf"(\d{{8,{MAX_DIGITS}}})-(\d{{6,{MAX_DIGITS}}})", re.ASCII)
_WHOLE = re.compile(rf"\d{{1,{MAX_DIGITS}}}", re.ASCII)


@dataclass(frozen=True)
class Loss:
    """What a ``logferry.dropped`` record says: these segments will never arrive, and so much was in them."""

    environment: str
    segments: range
    records: int
    bytes: int
    reason: str


@dataclass(frozen=True)
class PlatformLoss:
    """What a ``platform.logsDropped`` record says (Telemetry API schema reference)."""

    records: int
    bytes: int


@dataclass(frozen=True)
class Place:
    """What an object's metadata say of it. The times are as the platform wrote them, or empty."""

    environment: str
    segment: int
    records: int
    first_time: str
    last_time: str
    final: bool


@dataclass(frozen=True)
class Examined:
    """What one object proves. ``lines`` are the line numbers it holds, ``repeated`` how many of them came again."""

    key: str
    place: Place | None
    lines: tuple[range, ...] = ()
    repeated: int = 0
    losses: tuple[Loss, ...] = ()
    platform_losses: tuple[PlatformLoss, ...] = ()
    unreadable: str = ""


class _ContradictionError(Exception):
    """An object does not prove what it should; the message says where it fails."""


def examine(stored: ReadObject | UnreadableObject) -> Examined:
    """Return what one object proves, so small that the proofs of a whole bucket fit in memory."""
    place = None
    try:
        place = _place(stored.metadata)
        runs, said = _read(_lines(stored), place)
    except (_ContradictionError, BrokenLinesError) as error:
        reason = stored.reason if isinstance(stored, UnreadableObject) else str(error)
        return Examined(key=stored.key, place=place, unreadable=reason)
    lines = runs if len(runs) == 1 else _ranges(sorted({number for run in runs for number in run}))
    return Examined(
        key=stored.key,
        place=place,
        lines=tuple(lines),
        repeated=sum(map(len, runs)) - sum(map(len, lines)),
        losses=tuple(loss for loss in said if isinstance(loss, Loss)),
        platform_losses=tuple(loss for loss in said if isinstance(loss, PlatformLoss)),
    )


def _read(lines: Iterable[bytes], place: Place) -> tuple[list[range], list[Loss | PlatformLoss]]:
    """Return the lines' own numbers, in runs as they stand, and the losses that they report."""
    runs: list[range] = []
    losses: list[Loss | PlatformLoss] = []
    for position, text in enumerate(lines, start=1):
        number, said = _line(position, text, place)
        if runs and number == runs[-1].stop:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
        if said:
            losses.append(said)
    return runs, losses


def _lines(stored: ReadObject | UnreadableObject) -> Iterable[bytes]:
    if isinstance(stored, UnreadableObject):
        raise _ContradictionError(stored.reason)
    return stored.lines


def _place(metadata: Mapping[str, str]) -> Place:
    environment = metadata.get("environment", "")
    if not environment:
        raise _ContradictionError("its metadata name no environment: not an object of logferry's?")
    return Place(
        environment=environment,
        segment=_whole(metadata, "segment", least=1),
        records=_whole(metadata, "records", least=0),
        first_time=metadata.get("first-time", ""),
        last_time=metadata.get("last-time", ""),
        final=metadata.get("final") == "true",
    )


def _whole(metadata: Mapping[str, str], name: str, *, least: int) -> int:
    text = metadata.get(name, "")
    if not _WHOLE.fullmatch(text) or int(text) < least:
        raise _ContradictionError(f"its metadata say {name}={text[:SHOWN]!r}, not a whole number from {least}")
    return int(text)


def _line(number: int, text: bytes, place: Place) -> tuple[int, Loss | PlatformLoss | None]:
    """Return a line's own number, and the loss that it reports, if it does."""
    try:
        line = json.loads(text, parse_constant=_refuse, parse_int=_number)
        environment, seq = line["environment"], line["seq"]
        matched = _SEQ.fullmatch(seq)
        if matched is None:
            raise _ContradictionError(f"line {number} has seq {seq[:SHOWN]!r}, which is no place")
        segment, own = int(matched[1]), int(matched[2])
        said = _loss(line)
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise _ContradictionError(f"line {number} is no record of logferry's: {error!r}") from None
    if (environment, segment) != (place.environment, place.segment):
        raise _ContradictionError(
            f"line {number} belongs to segment {segment} of {str(environment)[:SHOWN]}, "
            f"the object to segment {place.segment} of {place.environment}"
        )
    if not 1 <= own <= place.records:
        raise _ContradictionError(f"line {number} is numbered {own}, of {place.records} records by the metadata")
    return own, said


def _loss(line: Mapping[str, Any]) -> Loss | PlatformLoss | None:
    kind, record = line.get("type"), line.get("record")
    if kind == "logferry.dropped" and isinstance(record, dict):
        return Loss(
            environment=str(record["environment"]),
            segments=_segments(record),
            records=_amount(record["records"]),
            bytes=_amount(record["bytes"]),
            reason=str(record.get("reason", "")),
        )
    if kind == "platform.logsDropped" and isinstance(record, dict):
        said = (record.get("droppedRecords"), record.get("droppedBytes"))
        return PlatformLoss(*(_amount(value) if _is_amount(value) else 0 for value in said))
    return None


def _segments(record: Mapping[str, Any]) -> range:
    """Return which segments a report of a loss names; one alone where it has no ``until``, as earlier ones had none."""
    first = _amount(record["segment"])
    last = _amount(record.get("until", first))
    if not 1 <= first <= last:
        raise ValueError(f"{first} to {last} are no segments")
    return range(first, last + 1)


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _amount(value: Any) -> int:
    """Return what counts something of ours. Raises ValueError for anything else."""
    if not _is_amount(value):
        raise ValueError(f"{str(value)[:SHOWN]} counts nothing")
    return int(value)


def _number(digits: str) -> float:
    """Return an integer; beyond what anybody counts to as a float, for int() refuses 4,300 digits."""
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _ranges(numbers: Sequence[int]) -> list[range]:
    """Return ascending numbers as ranges: [1, 2, 3, 7] is 1-3 and 7."""
    starts = [after for before, after in pairwise([-1, *numbers]) if after != before + 1]
    ends = [before for before, after in pairwise([*numbers, -1]) if after != before + 1]
    return [range(start, end + 1) for start, end in zip(starts, ends, strict=True)]
