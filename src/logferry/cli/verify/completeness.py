"""Completeness of the stored records: the results of all objects in, a report out. Pure.

Guarantees, for every environment:
1. Each segment from 1 to the highest known number is present, or a `logferry.dropped` record
   reports it lost.
2. Each segment has the lines 1 to `records`, each once.
3. No line of a segment is in two objects.
4. If the highest segment is `final`, nothing followed it. Otherwise the environment is still
   running or ended without SHUTDOWN, and later segments cannot be known. The report states this,
   but it is not a fault.

Design: an unreadable segment counts neither as missing nor as complete. `platform.logsDropped`
records are losses of the platform before delivery. The report contains their sum.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.cli.verify.object_check import NOTHING_PROCESSED, PlatformLoss, Processed
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.verify.object_check import CheckedObject, Loss
    from logferry.cli.verify.window import Window


@dataclass(frozen=True)
class EnvironmentReport:
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


@dataclass(frozen=True)
class Report:
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

    @property
    def status(self) -> int:
        """The exit status: 0 complete, 1 incomplete, 2 without objects or with unreadable ones."""
        if not all(each.complete for each in self.environments):
            return 1
        return 2 if self.unreadable or not self.objects else 0


def judge(objects: Iterable[CheckedObject], window: Window = EVERYTHING) -> Report:
    """Return the report for the checked objects of a destination, limited to a window."""
    checked = sorted(objects, key=lambda each: each.key)
    segments: dict[str, dict[int, list[CheckedObject]]] = defaultdict(lambda: defaultdict(list))
    losses: dict[str, dict[range, Loss]] = defaultdict(dict)
    for each in checked:
        if each.place is not None:
            segments[each.place.environment][each.place.segment].append(each)
        for loss in each.losses:
            losses[loss.environment][loss.segments] = loss
    covered = {name: _covered(segments.get(name, {}), window) for name in sorted({*segments, *losses})}
    relevant = [each for each in checked if not each.foreign and _is_relevant(each, covered)]
    once = {(each.place.environment, each.place.segment): each for each in reversed(relevant) if each.place}
    platform = [loss for each in once.values() for loss in each.platform_losses]
    return Report(
        objects=len(relevant),
        environments=tuple(
            _environment(name, segments.get(name, {}), losses.get(name, {}).values(), numbers)
            for name, numbers in covered.items()
            if numbers
        ),
        unreadable=tuple((each.key, each.unreadable) for each in relevant if each.unreadable),
        platform_lost=PlatformLoss(sum(each.records for each in platform), sum(each.bytes for each in platform)),
        foreign=tuple(each.key for each in checked if each.foreign),
        window=window,
        processed=Processed(
            *(sum(getattr(each.processed, name) for each in once.values()) for name in ("filtered", "masked", "failed"))
        ),
    )


def _covered(segments: Mapping[int, Sequence[CheckedObject]], window: Window) -> range:
    """Return the segment numbers to verify: all, or those between the first and last in the window."""
    if not window.is_limited:
        return range(1, sys.maxsize)
    inside = [
        number
        for number, copies in segments.items()
        if any(each.place and window.overlaps(each.place.first_time, each.place.last_time) for each in copies)
    ]
    return range(min(inside), max(inside) + 1) if inside else range(0)


def _is_relevant(checked: CheckedObject, covered: Mapping[str, range]) -> bool:
    return checked.place is None or checked.place.segment in covered[checked.place.environment]


def _environment(
    name: str, every: Mapping[int, Sequence[CheckedObject]], losses: Iterable[Loss], covered: range
) -> EnvironmentReport:
    segments = {number: copies for number, copies in every.items() if number in covered}
    # A segment that is reported lost, but stored nevertheless, is not lost.
    lost = sorted(
        (
            loss
            for loss in losses
            if loss.segments.start < covered.stop
            and loss.segments.stop > covered.start
            and not all(number in segments for number in loss.segments)
        ),
        key=lambda loss: loss.segments.start,
    )
    known = [range(number, number + 1) for number in segments] + [loss.segments for loss in lost]
    counts = [_count(copies) for copies in segments.values()]
    places = [each.place for copies in segments.values() for each in copies if each.place is not None]
    highest = max([*every, *(loss.segments[-1] for loss in lost)])
    return EnvironmentReport(
        environment=name,
        segments=len(segments),
        records=sum(held for held, _, _ in counts),
        missing_segments=tuple(_gaps(known, start=covered.start)),
        missing_lines=sum(missing for _, missing, _ in counts),
        duplicates=sum(duplicated for _, _, duplicated in counts),
        losses=tuple(lost),
        lost_segments=sum(len(each.segments) - sum(n in each.segments for n in segments) for each in lost),
        ended=any(each.place.final for each in every.get(highest, ()) if each.place is not None),
        first_time=min((place.first_time for place in places if place.first_time), default=""),
        last_time=max((place.last_time for place in places if place.last_time), default=""),
    )


def _count(copies: Sequence[CheckedObject]) -> tuple[int, int, int]:
    """Return the numbers of present, missing and duplicated lines of a segment."""
    readable = [each for each in copies if not each.unreadable]
    expected = max((each.place.records for each in readable if each.place), default=0)
    ranges = [numbers for each in readable for numbers in each.lines]
    held = len(ranges[0]) if len(ranges) == 1 else len(set().union(*ranges))
    duplicated = sum(len(numbers) for numbers in ranges) - held + sum(each.repeated for each in readable)
    return held, expected - held, duplicated


def _gaps(known: Iterable[range], *, start: int) -> list[range]:
    """Return the unknown numbers between a start and the highest known number."""
    gaps, expected = [], start
    for each in sorted(known, key=lambda each: each.start):
        if each.start > expected:
            gaps.append(range(expected, each.start))
        expected = max(expected, each.stop)
    return gaps
