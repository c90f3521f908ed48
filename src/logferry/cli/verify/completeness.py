"""The proof that nothing is missing and nothing is there twice. Pure: what each object proves in, a report out.

For every environment:

  1. Segments 1 to the highest that is known are all there, or reported lost by a ``logferry.dropped`` record.
  2. The lines of a segment are 1 to ``records``, each once.
  3. No line of a segment is in two objects.
  4. When the highest segment is ``final``, nothing came after it. When it is not, the environment is still open or
     ended without SHUTDOWN, and what it may have held beyond cannot be known from here. That is said, not judged.

A segment that is there and cannot be read is neither missing nor proven.
``platform.logsDropped`` records are the platform's own losses, before anything reached logferry: summed and shown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.cli.verify.object_check import PlatformLoss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.verify.object_check import Examined, Loss


@dataclass(frozen=True)
class EnvironmentReport:
    """What is known of one execution environment. ``ended`` says that its highest segment is its final one."""

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
        """How many segments are neither there nor reported lost."""
        return sum(len(each) for each in self.missing_segments)

    @property
    def proven(self) -> bool:
        """Whether nothing is missing, but for what was reported lost, and nothing is there twice."""
        return not (self.missing or self.missing_lines or self.duplicates)


@dataclass(frozen=True)
class Report:
    """What a whole destination proves. ``unreadable`` pairs keys with reasons."""

    objects: int
    environments: tuple[EnvironmentReport, ...]
    unreadable: tuple[tuple[str, str], ...]
    platform_lost: PlatformLoss

    @property
    def status(self) -> int:
        """The exit status: 0 proven, 1 something is missing or twice, 2 nothing found or not all could be read."""
        if not all(each.proven for each in self.environments):
            return 1
        return 2 if self.unreadable or not self.objects else 0


def judge(objects: Iterable[Examined]) -> Report:
    """Put together what the objects of a destination prove."""
    examined = sorted(objects, key=lambda each: each.key)
    segments: dict[str, dict[int, list[Examined]]] = defaultdict(lambda: defaultdict(list))
    losses: dict[str, dict[range, Loss]] = defaultdict(dict)
    for each in examined:
        if each.place is not None:
            segments[each.place.environment][each.place.segment].append(each)
        for loss in each.losses:
            losses[loss.environment][loss.segments] = loss
    once = [copies[0] for by_number in segments.values() for copies in by_number.values()]
    platform = [loss for each in once for loss in each.platform_losses]
    return Report(
        objects=len(examined),
        environments=tuple(
            _environment(name, segments.get(name, {}), losses.get(name, {}).values())
            for name in sorted({*segments, *losses})
        ),
        unreadable=tuple((each.key, each.unreadable) for each in examined if each.unreadable),
        platform_lost=PlatformLoss(sum(each.records for each in platform), sum(each.bytes for each in platform)),
    )


def _environment(name: str, segments: Mapping[int, Sequence[Examined]], losses: Iterable[Loss]) -> EnvironmentReport:
    # A segment that was reported lost and is there all the same is not lost.
    lost = sorted(
        (loss for loss in losses if not all(number in segments for number in loss.segments)),
        key=lambda loss: loss.segments.start,
    )
    known = [range(number, number + 1) for number in segments] + [loss.segments for loss in lost]
    counts = [_count(copies) for copies in segments.values()]
    places = [each.place for copies in segments.values() for each in copies if each.place is not None]
    highest = max(each.stop for each in known) - 1
    return EnvironmentReport(
        environment=name,
        segments=len(segments),
        records=sum(held for held, _, _ in counts),
        missing_segments=tuple(_gaps(known)),
        missing_lines=sum(missing for _, missing, _ in counts),
        duplicates=sum(twice for _, _, twice in counts),
        losses=tuple(lost),
        lost_segments=sum(len(each.segments) - sum(n in each.segments for n in segments) for each in lost),
        ended=any(place.final and place.segment == highest for place in places),
        first_time=min((place.first_time for place in places if place.first_time), default=""),
        last_time=max((place.last_time for place in places if place.last_time), default=""),
    )


def _count(copies: Sequence[Examined]) -> tuple[int, int, int]:
    """Return how many lines of a segment are there, are missing, and are there again."""
    readable = [each for each in copies if not each.unreadable]
    expected = max((each.place.records for each in readable if each.place), default=0)
    ranges = [numbers for each in readable for numbers in each.lines]
    held = len(ranges[0]) if len(ranges) == 1 else len(set().union(*ranges))
    twice = sum(len(numbers) for numbers in ranges) - held + sum(each.repeated for each in readable)
    return held, expected - held, twice


def _gaps(known: Iterable[range]) -> list[range]:
    """Return what lies between 1 and the highest number and is not known."""
    gaps, expected = [], 1
    for each in sorted(known, key=lambda each: each.start):
        if each.start > expected:
            gaps.append(range(expected, each.start))
        expected = max(expected, each.stop)
    return gaps
