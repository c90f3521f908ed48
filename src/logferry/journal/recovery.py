"""Recovery of the files that an earlier process left in the directory.

An earlier process is a killed shipper of this environment, or an environment before a reset. Its open
files are sealed under their own names. Those of this environment become `sealed`, because further numbers follow. Those
of another environment become `last`.

Guarantees:
- Nothing is removed here.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from logferry.errors import SegmentLost
from logferry.journal import frame, losses, segment
from logferry.journal.segment import LAST, OPEN, SEALED, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logferry.journal.losses import Loss
    from logferry.records.model import Header

    Follow = Callable[[Header, Iterable[bytes]], str | None]


class RecoveredState(NamedTuple):
    """Files of earlier processes by their next step, and the state to continue with."""

    sealed: list[Segment]
    """Segments to upload, oldest first, those of this environment after all others."""
    empty: list[Segment]
    """Open files without a body, to be removed once the next open file exists."""
    ended: Segment | None
    """Last segment of this environment, if a previous shipper process had already sealed it."""
    number: int
    """Number of the next segment."""
    running: str | None
    """Request that runs according to the open file of this environment."""


def recover(found: list[Segment], *, environment: str, follow: Follow) -> RecoveredState:
    """Seal every open file; `follow` takes in the header and the bodies of a segment of this environment.

    Bodies of another environment are not followed: its invocations are not running here.
    """
    found = sorted(found, key=lambda s: (s.opened_ms, s.number))
    ended = {s.environment for s in found if s.state == LAST}
    kept: list[Segment] = []
    empty: list[Segment] = []
    running = None
    for left in found:
        mine = left.environment == environment
        if left.state != OPEN:
            kept.append(left)
            continue
        sealed, runs = _seal_leftover(
            left, mine=mine, ended=left.environment in ended, follow=follow if mine else _skip
        )
        running = runs if mine and sealed else running
        (kept if sealed else empty).append(sealed or left)
    own = [s for s in kept if s.environment == environment]
    sealed_segments = [s for s in kept if s not in own] + sorted(own, key=lambda s: s.number)
    # The number of an empty file is used again: no object has it.
    reused = [s.number for s in empty if s.environment == environment]
    return RecoveredState(
        sealed=sealed_segments,
        empty=empty,
        ended=next((s for s in own if s.state == LAST), None),
        number=max([1, *(s.number + 1 for s in own), *reused]),
        running=running,
    )


def losses_reported_in(found: Iterable[Segment]) -> Iterator[Loss]:
    """Yield the losses that segments report, as far as they can be read."""
    for one in found:
        with contextlib.suppress(SegmentLost, OSError), open(one.path, "rb") as file:
            header = segment.read_header(file)
            for body in segment.read_bodies(file, header, closed=False):
                yield from losses.losses_in(body)


def _skip(_header: Header, bodies: Iterable[bytes]) -> None:
    for _ in bodies:
        pass


def _seal_leftover(left: Segment, *, mine: bool, ended: bool, follow: Follow) -> tuple[Segment | None, str | None]:
    """Seal an open file, cut after its last complete frame; return it and the request that ran at its end.

    Return None for an empty file, unless it is the only evidence that an earlier environment has ended.
    """
    try:
        with open(left.path, "r+b") as file:
            header = segment.read_header(file)
            start = file.tell()
            running = follow(header, segment.read_bodies(file, header, closed=False))
            end = file.tell()
            file.truncate(end)
    except SegmentLost:
        # Two cases: 1. no body follows a header that was torn when the file was created, 2. a segment with a damaged
        # header is counted as lost when it is read.
        end, start, running = left.size, 0 if left.size > len(segment.MAGIC) + frame.HEAD_BYTES else left.size, None
    if end == start and (mine or ended or left.number == 1):
        return None, None
    return left.renamed(SEALED if mine else LAST)._replace(size=end), running
