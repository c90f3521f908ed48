"""What an earlier life left in the directory, and where this one goes on.

An earlier life is a shipper of this environment that was killed, or an environment before a reset. Its files are sealed
under their own names: ours to be followed by the next number, another's as its last. Nothing is removed here.
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

    Follow = Callable[[str | None, Iterable[bytes]], str | None]


class Left(NamedTuple):
    """The files of earlier lives by what is to be done with them, and how to go on."""

    sealed: list[Segment]
    """To be uploaded, oldest first, our own after all others."""
    empty: list[Segment]
    """Open files that hold nothing: to be removed, once the next open file is there."""
    ended: Segment | None
    """Our own last segment, where a shipper before us had sealed it already."""
    number: int
    """Of the next segment."""
    running: str | None
    """The request that runs, as far as our own open file said."""


def take_over(found: list[Segment], *, environment: str, follow: Follow) -> Left:
    """Seal what nobody appends to any more; `follow` says which request runs after some bodies of our own.

    Another environment's bodies are not followed: what ran there says nothing of here.
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
        adopted, runs = _adopt(left, mine=mine, ended=left.environment in ended, follow=follow if mine else _pass_by)
        running = runs if mine and adopted else running
        (kept if adopted else empty).append(adopted or left)
    own = [s for s in kept if s.environment == environment]
    sealed = [s for s in kept if s not in own] + sorted(own, key=lambda s: s.number)
    # An empty file's number is used again: no object has it.
    reused = [s.number for s in empty if s.environment == environment]
    return Left(
        sealed=sealed,
        empty=empty,
        ended=next((s for s in own if s.state == LAST), None),
        number=max([1, *(s.number + 1 for s in own), *reused]),
        running=running,
    )


def told_in(found: Iterable[Segment]) -> Iterator[Loss]:
    """The losses that segments tell, as far as they can be read."""
    for one in found:
        with contextlib.suppress(SegmentLost, OSError), one.path.open("rb") as file:
            header = segment.read_header(file)
            for body in segment.read_bodies(file, header, closed=False):
                yield from losses.told_by(body)


def _pass_by(_running: str | None, bodies: Iterable[bytes]) -> None:
    for _ in bodies:
        pass


def _adopt(left: Segment, *, mine: bool, ended: bool, follow: Follow) -> tuple[Segment | None, str | None]:
    """Seal an open file, cut at its last whole frame; says which request ran at its end.

    Nothing for an empty one, unless it is the only thing that can tell a reader that an earlier environment ended.
    """
    try:
        with left.path.open("r+b") as file:
            header = segment.read_header(file)
            start = file.tell()
            running = follow(header.request_id, segment.read_bodies(file, header, closed=False))
            end = file.tell()
            file.truncate(end)
    except SegmentLost:
        # A header that was torn when the file was made had nothing behind it; a damaged one is lost when read.
        end, start, running = left.size, 0 if left.size > len(segment.MAGIC) + frame.HEAD_BYTES else left.size, None
    if end == start and (mine or ended or left.number == 1):
        return None, None
    return left.renamed(SEALED if mine else LAST)._replace(size=end), running
