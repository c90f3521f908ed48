"""Completeness of the stored records: the rows of all segments in, a report out.

Guarantees, for every environment:
1. Each segment from 1 to the highest known number is present, or a `logferry.dropped` record
   reports it lost.
2. Each segment has the lines 1 to `records`, each once.
3. No line of a segment is in two objects.
4. If the highest segment is `final`, nothing followed it. Otherwise the environment is still
   running or ended without SHUTDOWN, and later segments cannot be known. The report states this,
   but it is not a fault.

Design: the faults are the rows of `faults.sql`, which DuckDB runs here and which Spark and Athena run
at a larger scale. This module turns completely checked objects into rows, and rows into a report. An
unreadable segment counts neither as missing nor as complete. `platform.logsDropped` records are
losses of the platform before delivery. The report contains their sum.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from logferry.cli.proof.segment_table import SegmentRow, SegmentTable
from logferry.cli.verify.checked_object import NOTHING_PROCESSED, PlatformLoss, Processed
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.proof.segment_table import EnvironmentRow, Fault
    from logferry.cli.verify.checked_object import CheckedObject, Loss
    from logferry.cli.verify.window import Window

ALL_SEGMENTS = range(1, sys.maxsize)


class EnvironmentReport(NamedTuple):
    """The segments and records of one execution environment. `ended`: its highest segment is final."""

    environment: str
    segments: int
    records: int
    missing_segments: tuple[range, ...]
    missing_lines: int
    duplicates: int
    losses: tuple[Loss, ...]
    lost_segments: int
    ended: bool
    first_time: str
    last_time: str

    @property
    def missing(self) -> int:
        """The number of segments that are neither stored nor reported lost."""
        return sum(len(each) for each in self.missing_segments)

    @property
    def complete(self) -> bool:
        """Whether no record is missing or duplicated, except for those reported lost."""
        return not (self.missing or self.missing_lines or self.duplicates)


class FallbackSummary(NamedTuple):
    """The objects of the fallback destination. `different` names the segments whose records differ."""

    destination: str
    objects: int = 0
    copies: int = 0
    different: tuple[tuple[str, int], ...] = ()


class Report(NamedTuple):
    """The result for a destination. `unreadable` has pairs of key and reason."""

    objects: int
    environments: tuple[EnvironmentReport, ...]
    unreadable: tuple[tuple[str, str], ...]
    platform_lost: PlatformLoss
    foreign: tuple[str, ...] = ()
    """Keys of objects that logferry did not write."""
    window: Window = EVERYTHING
    processed: Processed = NOTHING_PROCESSED
    """Sums of the counts in the closing lines, each segment once."""
    kept_segments: int = 0
    """Number of segments that were not read now: of compacted hours, or of earlier runs (`--state`)."""
    names_only: bool = False
    """Whether only the names of the objects were read (`--keys`)."""
    fallback: FallbackSummary | None = None
    """The objects of the fallback destination, if it was read (`--fallback`)."""

    @property
    def status(self) -> int:
        """The exit status: 0 complete, 1 incomplete, 2 without objects or with unreadable ones."""
        if not all(each.complete for each in self.environments) or (self.fallback and self.fallback.different):
            return 1
        return 2 if self.unreadable or not (self.objects or self.kept_segments) else 0


def judge(objects: Iterable[CheckedObject], window: Window = EVERYTHING) -> Report:
    """Return the report for completely checked objects, limited to a window."""
    with SegmentTable() as table:
        return report_of(table, [*objects], window)


def report_of(
    table: SegmentTable,
    objects: Sequence[CheckedObject],
    window: Window = EVERYTHING,
    *,
    all_rows: bool = False,
    names_only: bool = False,
) -> Report:
    """Return the report for the rows of a table and for completely checked objects, limited to a window.

    The rows of the objects are added to the table. With `all_rows`, a window does not limit the segments that are
    verified, but a gap before the first segment of an environment is no fault. With `names_only`, the number of lines
    in a row is that of additional objects.
    """
    checked = sorted(objects, key=lambda each: each.key)
    table.replace(rows_of(checked))
    kept = table.merge_kept()
    if window.is_limited:
        table.limit(EVERYTHING if all_rows or names_only else window)
    covered = table.covered() if window.is_limited else None
    relevant = [each for each in checked if not each.foreign and _is_relevant(each, covered)]
    once = {(each.place.environment, each.place.segment): each for each in reversed(relevant) if each.place}
    platform = [loss for each in once.values() for loss in each.platform_losses]
    return Report(
        objects=table.objects() + sum(each.place is None for each in relevant),
        environments=_environments(table, covered),
        unreadable=tuple((each.key, each.unreadable) for each in relevant if each.unreadable),
        platform_lost=PlatformLoss(sum(each.records for each in platform), sum(each.bytes for each in platform)),
        foreign=tuple(each.key for each in checked if each.foreign),
        window=window,
        kept_segments=kept,
        names_only=names_only,
        processed=_sum(
            [Processed(*table.scanned.counts(limited=covered is not None)), *(each.processed for each in once.values())]
        ),
    )


def rows_of(checked: Iterable[CheckedObject]) -> list[SegmentRow]:
    """Return the rows of completely checked objects, with one row for all copies of a segment."""
    segments: dict[tuple[str, int], list[CheckedObject]] = defaultdict(list)
    for each in checked:
        if each.place is not None:
            segments[text_of(each.place.environment), each.place.segment].append(each)
    rows = [_row(environment, segment, copies) for (environment, segment), copies in segments.items()]
    for (environment, segment), copies in segments.items():
        losses = dict.fromkeys(_text_of_loss(loss) for each in copies for loss in each.losses)
        rows += [SegmentRow(environment, segment, loss) for loss in losses]
    return rows


def text_of(environment: str) -> str:
    """Return a name without lone surrogates, which no table can hold."""
    return environment.encode("utf-8", "backslashreplace").decode()


def _row(environment: str, segment: int, copies: Sequence[CheckedObject]) -> SegmentRow:
    """Return the row of a segment. It has no lines if no copy of the segment is readable."""
    places = [each.place for each in copies if each.place is not None]
    first = min((place.first_time for place in places if place.first_time), default=None)
    last = max((place.last_time for place in places if place.last_time), default=None)
    readable = [each for each in copies if not each.unreadable]
    lines = held = expected = 0
    if readable:
        ranges = [numbers for each in readable for numbers in each.lines]
        distinct = len(ranges[0]) if len(ranges) == 1 else len(set().union(*ranges))
        repeated = sum(len(numbers) for numbers in ranges) - distinct + sum(each.repeated for each in readable)
        held = distinct + 1  # the closing line counts once, although each copy has one
        lines = held + repeated
        expected = max(each.place.records for each in readable if each.place) + 1
    final = int(any(place.final for place in places))
    return SegmentRow(environment, segment, None, lines, held, expected, expected, final, first, last, len(copies))


def _text_of_loss(loss: Loss) -> str:
    fields = {
        "environment": text_of(loss.environment),
        "segment": loss.segments[0],
        "until": loss.segments[-1],
        "records": loss.records,
        "bytes": loss.bytes,
        "reason": text_of(loss.reason),
    }
    return json.dumps(fields)


def _sum(counts: Sequence[Processed]) -> Processed:
    return Processed(*(sum(getattr(each, name) for each in counts) for name in ("filtered", "masked", "failed")))


def _is_relevant(checked: CheckedObject, covered: Mapping[str, range] | None) -> bool:
    if checked.place is None or covered is None:
        return True
    return checked.place.segment in covered.get(text_of(checked.place.environment), range(0))


def _environments(table: SegmentTable, covered: Mapping[str, range] | None) -> tuple[EnvironmentReport, ...]:
    """Return the report of each environment that has segments or losses within the limits."""
    totals = {row.environment: row for row in table.environments()}
    faults: dict[str, list[Fault]] = defaultdict(list)
    for fault in table.faults():
        faults[fault.environment or ""].append(fault)
    losses = _losses(table.losses())
    names = sorted({*totals, *losses} if covered is None else covered)
    if covered is None:  # the totals are those of all segments
        highest = {name: row.highest_segment for name, row in totals.items()}
        final = {name: row.highest_segment for name, row in totals.items() if not row.is_open}
    else:
        highest, final = table.highest_segments(), table.final_segments()
    reports = []
    for name in names:
        numbers = covered[name] if covered is not None else ALL_SEGMENTS
        # A segment that is reported lost, but stored nevertheless, is not lost.
        lost = [(loss, _count_lost(table, loss)) for loss in losses[name] if _overlap(loss.segments, numbers)]
        lost = sorted(((loss, count) for loss, count in lost if count), key=lambda pair: pair[0].segments.start)
        known = max([highest.get(name, 0), *(loss.segments[-1] for loss, _ in lost)])
        reports.append(
            _environment(name, totals.get(name), faults[name], lost, numbers, ended=final.get(name) == known)
        )
    return tuple(reports)


def _losses(texts: Sequence[str]) -> Mapping[str, list[Loss]]:
    """Return the reported losses of each environment."""
    losses: dict[str, list[Loss]] = defaultdict(list)
    if texts:
        from logferry.cli.verify.object_check import loss_of_text  # noqa: PLC0415 - few environments report a loss

        for loss in map(loss_of_text, texts):
            losses[loss.environment].append(loss)
    return losses


def _environment(
    name: str,
    totals: EnvironmentRow | None,
    faults: Iterable[Fault],
    lost: Sequence[tuple[Loss, int]],
    covered: range,
    *,
    ended: bool,
) -> EnvironmentReport:
    gaps, counts = [], {"lines missing": 0, "lines duplicated": 0}
    for fault in faults:
        if fault.fault == "segments missing" and fault.first_segment is not None and fault.last_segment is not None:
            gaps.append(_overlap(range(fault.first_segment, fault.last_segment + 1), covered))
        elif fault.fault in counts:
            counts[fault.fault] += int(fault.amount or 0)
    return EnvironmentReport(
        environment=name,
        segments=totals.segments if totals else 0,
        records=int(totals.records) if totals else 0,
        missing_segments=tuple(gap for gap in gaps if gap),
        missing_lines=counts["lines missing"],
        duplicates=counts["lines duplicated"],
        losses=tuple(loss for loss, _ in lost),
        lost_segments=sum(count for _, count in lost),
        ended=ended,
        first_time=(totals.first_time or "") if totals else "",
        last_time=(totals.last_time or "") if totals else "",
    )


def _overlap(segments: range, covered: range) -> range:
    return range(max(segments.start, covered.start), min(segments.stop, covered.stop))


def _count_lost(table: SegmentTable, loss: Loss) -> int:
    """Return how many segments of a report are not stored."""
    return len(loss.segments) - table.stored_between(loss.environment, loss.segments[0], loss.segments[-1])
