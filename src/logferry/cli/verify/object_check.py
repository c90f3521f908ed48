"""Check of one object: its segment, its line numbers, and the losses that it reports. Pure.

Design: each line names its place: `environment`, `segment` and `line`, both counted from 1. Each
object is one segment. Its metadata name the segment (`environment`, `segment`), the number of
records (`records`), their time range (`first-time`, `last-time`), and the last segment of an
environment (`final`). The last line is `logferry.segment` or `logferry.final`; its number is
`records` plus one, and it is not a record. An object without it was cut at the end of a line.
Its record counts the records that the settings have filtered, masked, or failed to mask.

An object that contradicts itself is unreadable: a line is not a JSON object with a place, or the
place differs from the metadata. Such an object proves that its segment exists, if its metadata name
it, and nothing else. A function can log any value, such as numbers of ten thousand digits. Numbers
of logferry itself have `MAX_DIGITS` at most.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from logferry.cli.object_names import looks_like_logferry
from logferry.cli.stored_objects import BrokenLinesError, ReadObject, UnreadableObject
from logferry.cli.verify.checked_object import NOTHING_PROCESSED, CheckedObject, Loss, Place, PlatformLoss, Processed
from logferry.cli.verify.line_place import CLOSING_TYPES, place_of_lines
from logferry.cli.verify.other_formats import in_format_1
from logferry.records.bounded_json import integer_parser, refuse_constant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


MAX_DIGITS = 18
"""Maximum number of digits of a count. The length of a Python range has the same limit."""
SHOWN = 80
"""Maximum number of characters of an invalid value in a message."""

_integer = integer_parser(MAX_DIGITS)
_WHOLE = re.compile(rf"\d{{1,{MAX_DIGITS}}}", re.ASCII)


class _ContradictionError(Exception):
    """An object contradicts itself; the message names the line or the metadata."""


def check_object(stored: ReadObject | UnreadableObject) -> CheckedObject:
    """Return the result for one object. It is small enough to keep those of a bucket in memory."""
    place = None
    if isinstance(stored, ReadObject):
        stored = in_format_1(stored)
    try:
        place = _place(stored.metadata) if _has_metadata(stored) else _place_from_lines(stored)
        if place is None:
            return CheckedObject(key=stored.key, place=None, foreign=True)
        runs, losses, processed = _read(_lines(stored), place)
        _check_counts(stored.metadata, processed)
    except (_ContradictionError, BrokenLinesError) as error:
        reason = stored.reason if isinstance(stored, UnreadableObject) else str(error)
        return CheckedObject(key=stored.key, place=place, unreadable=reason)
    lines = runs if len(runs) == 1 else _ranges(sorted({number for run in runs for number in run}))
    return CheckedObject(
        key=stored.key,
        place=place,
        lines=tuple(lines),
        repeated=sum(map(len, runs)) - sum(map(len, lines)),
        losses=tuple(loss for loss in losses if isinstance(loss, Loss)),
        platform_losses=tuple(loss for loss in losses if isinstance(loss, PlatformLoss)),
        processed=processed,
    )


def _read(lines: Iterable[bytes], place: Place) -> tuple[list[range], list[Loss | PlatformLoss], Processed]:
    """Return the line numbers as runs in their order, the reported losses, and the counts of the closing line."""
    runs: list[range] = []
    losses: list[Loss | PlatformLoss] = []
    closed = False
    processed = NOTHING_PROCESSED
    for position, text in enumerate(lines, start=1):
        if closed:
            raise _ContradictionError(f"line {position} follows the closing line")
        number, counts, loss = _line(position, text, place)
        if counts:
            closed, processed = True, counts
            continue
        if runs and number == runs[-1].stop:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
        if loss:
            losses.append(loss)
    if not closed:
        raise _ContradictionError("it has no closing line: the object was cut at the end of a line")
    return runs, losses, processed


def _check_counts(metadata: Mapping[str, str], processed: Processed) -> None:
    """Raise _ContradictionError if the metadata state another number than the closing line."""
    for name, number in processed._asdict().items():
        if name in metadata and _whole(metadata, name, least=0) != number:
            raise _ContradictionError(f"its metadata have {name}={metadata[name]}, its closing line has {number}")


def _lines(stored: ReadObject | UnreadableObject) -> Iterable[bytes]:
    if isinstance(stored, UnreadableObject):
        raise _ContradictionError(stored.reason)
    return stored.lines


def _has_metadata(stored: ReadObject | UnreadableObject) -> bool:
    return bool(stored.metadata.get("environment")) or isinstance(stored, UnreadableObject)


def _place_from_lines(stored: ReadObject | UnreadableObject) -> Place | None:
    """Return the place of an object without metadata, or None if logferry did not write it."""
    try:
        found = place_of_lines(_lines(stored))
    except BrokenLinesError:
        if looks_like_logferry(stored.key):
            raise
        return None
    if found is None and looks_like_logferry(stored.key):
        raise _ContradictionError("it has neither metadata nor lines of logferry")
    if found is None:
        return None
    return Place(
        environment=found.environment,
        segment=found.segment,
        records=found.highest_line if found.records is None else found.records,
        first_time=found.first_time,
        last_time=found.last_time,
        final=found.final,
    )


def _place(metadata: Mapping[str, str]) -> Place:
    environment = metadata.get("environment", "")
    if not environment:
        raise _ContradictionError("its metadata name no environment")
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
        raise _ContradictionError(
            f"its metadata have {name}={text[:SHOWN]!r}, which is not a whole number of at least {least}"
        )
    return int(text)


def _line(number: int, text: bytes, place: Place) -> tuple[int, Processed | None, Loss | PlatformLoss | None]:
    """Return the number in a line, the counts of the closing line, and the loss that it reports."""
    try:
        line = json.loads(text, parse_constant=refuse_constant, parse_int=_integer)
        environment, segment, own = line["environment"], _amount(line["segment"]), _amount(line["line"])
        closing = _processed(line) if line.get("type") in CLOSING_TYPES else None
        loss = _loss(line)
    except (TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
        raise _ContradictionError(f"line {number} is not a line of logferry: {error!r}") from None
    if (environment, segment) != (place.environment, place.segment):
        raise _ContradictionError(
            f"line {number} is of segment {segment} of {str(environment)[:SHOWN]}, "
            f"the object is of segment {place.segment} of {place.environment}"
        )
    if own != place.records + 1 if closing else not 1 <= own <= place.records:
        raise _ContradictionError(f"line {number} has the number {own}, the metadata have records={place.records}")
    return own, closing, loss


def _processed(line: Mapping[str, Any]) -> Processed:
    record = json.loads(line.get("record", "{}"), parse_constant=refuse_constant, parse_int=_integer)
    return Processed(*(_amount(record.get(name, 0)) for name in ("filtered", "masked", "failed")))


def _loss(line: Mapping[str, Any]) -> Loss | PlatformLoss | None:
    kind = line.get("type")
    if kind not in ("logferry.dropped", "platform.logsDropped") or "record" not in line:
        return None
    if kind == "logferry.dropped":
        return loss_of_text(line["record"])
    record = json.loads(line["record"], parse_constant=refuse_constant, parse_int=_integer)
    if isinstance(record, dict):
        values = (record.get("droppedRecords"), record.get("droppedBytes"))
        return PlatformLoss(*(_amount(value) if _is_amount(value) else 0 for value in values))
    return None


def loss_of_text(text: str) -> Loss:
    """Return the content of a `logferry.dropped` record. Raise an error of JSON or its types if it is invalid."""
    record = json.loads(text, parse_constant=refuse_constant, parse_int=_integer)
    return Loss(
        environment=str(record["environment"]),
        segments=_segments(record),
        records=_amount(record["records"]),
        bytes=_amount(record["bytes"]),
        reason=str(record.get("reason", "")),
    )


def _segments(record: Mapping[str, Any]) -> range:
    """Return the segments in a report of a loss. A report without `until` names one segment."""
    first = _amount(record["segment"])
    last = _amount(record.get("until", first))
    if not 1 <= first <= last:
        raise ValueError(f"{first} to {last} is not a range of segments")
    return range(first, last + 1)


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _amount(value: Any) -> int:
    """Return a count. Raise ValueError for any other value."""
    if not _is_amount(value):
        raise ValueError(f"{str(value)[:SHOWN]} is not a count")
    return int(value)


def _ranges(numbers: Sequence[int]) -> list[range]:
    """Return ascending numbers as ranges: [1, 2, 3, 7] is 1-3 and 7."""
    starts = [after for before, after in pairwise([-1, *numbers]) if after != before + 1]
    ends = [before for before, after in pairwise([*numbers, -1]) if after != before + 1]
    return [range(start, end + 1) for start, end in zip(starts, ends, strict=True)]
