"""What one object proves. Pure: an object in, its place, its line numbers and the losses it reports out.

Every line says where it belongs: ``environment``, and ``seq``, its segment and its line, both counted from 1. Every
object is one segment; its metadata say which (``environment``, ``segment``), how many records it holds (``records``),
from when to when (``first-time``, ``last-time``), and whether it is its environment's last (``final``).

An object that contradicts itself (a line is no JSON object with a place, or its place is not the one that the metadata
name) is unreadable: it proves nothing but that its segment exists, if its metadata name one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from logferry.cli.objects import UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logferry.cli.objects import ReadObject

_SEQ = re.compile(r"(\d{8,})-(\d{6,})", re.ASCII)


@dataclass(frozen=True)
class Loss:
    """What a ``logferry.dropped`` record says: this segment will never arrive, and so much was in it."""

    environment: str
    segment: int
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
        lines = [_line(number, text, place) for number, text in enumerate(_lines(stored), start=1)]
    except _ContradictionError as contradiction:
        reason = stored.reason if isinstance(stored, UnreadableObject) else str(contradiction)
        return Examined(key=stored.key, place=place, unreadable=reason)
    numbers = sorted({number for number, _ in lines})
    return Examined(
        key=stored.key,
        place=place,
        lines=tuple(_ranges(numbers)),
        repeated=len(lines) - len(numbers),
        losses=tuple(said for _, said in lines if isinstance(said, Loss)),
        platform_losses=tuple(said for _, said in lines if isinstance(said, PlatformLoss)),
    )


def _lines(stored: ReadObject | UnreadableObject) -> tuple[bytes, ...]:
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
    if not text.isdecimal() or int(text) < least:
        raise _ContradictionError(f"its metadata say {name}={text!r}, not a whole number from {least}")
    return int(text)


def _line(number: int, text: bytes, place: Place) -> tuple[int, Loss | PlatformLoss | None]:
    """Return a line's own number, and the loss that it reports, if it does."""
    try:
        line = json.loads(text)
        environment, seq = line["environment"], line["seq"]
        matched = _SEQ.fullmatch(seq)
        if matched is None:
            raise _ContradictionError(f"line {number} has seq {seq!r}, which is no place")
        segment, own = int(matched[1]), int(matched[2])
        said = _loss(line)
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise _ContradictionError(f"line {number} is no record of logferry's: {error!r}") from None
    if (environment, segment) != (place.environment, place.segment):
        raise _ContradictionError(
            f"line {number} belongs to segment {segment} of {environment}, "
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
            segment=int(record["segment"]),
            records=int(record["records"]),
            bytes=int(record["bytes"]),
            reason=str(record.get("reason", "")),
        )
    if kind == "platform.logsDropped" and isinstance(record, dict):
        return PlatformLoss(int(record.get("droppedRecords", 0)), int(record.get("droppedBytes", 0)))
    return None


def _ranges(numbers: Sequence[int]) -> list[range]:
    """Return ascending numbers as ranges: [1, 2, 3, 7] is 1-3 and 7."""
    starts = [after for before, after in pairwise([-1, *numbers]) if after != before + 1]
    ends = [before for before, after in pairwise([*numbers, -1]) if after != before + 1]
    return [range(start, end + 1) for start, end in zip(starts, ends, strict=True)]
