"""The backlog: what is sealed and waits for upload, and what of it is given up for the bound of the spool.

Promises:
- a segment leaves by `remove`, the only commit, or is given up: then its loss is in the account before its file goes
  (`losses`), and is told in a segment to come;
- for the bound the oldest go, as many as it takes; none where all of them would not be enough, and never the one in
  upload;
- while a segment that tells losses waits here, no other tells any, unless it is the last.

Segments in memory, which the disk did not take, wait among those on disk.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from logferry.errors import JournalFull, SegmentLost
from logferry.journal import losses, segment
from logferry.journal.losses import Loss
from logferry.journal.segment import SEALED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from logferry.journal.losses import LossLedger
    from logferry.journal.memory_buffer import MemoryBuffer
    from logferry.journal.segment import Segment
    from logferry.records.model import Header


class Backlog:
    """The sealed segments of a journal, oldest first."""

    def __init__(
        self,
        *,
        account: LossLedger,
        memory: MemoryBuffer,
        limit_bytes: int,
        count_records: Callable[[Iterable[bytes]], int],
    ) -> None:
        """Nothing is sealed yet; the arguments are the journal's own."""
        self.segments: list[Segment] = []
        self.ended: Segment | None = None
        """Our own last one, where a shipper before us had sealed it already."""
        self._losses = account
        self._memory = memory
        self._limit = limit_bytes
        self._count_records = count_records
        self._held: Segment | None = None
        self._teller: tuple[str, int] | None = None
        """Environment and number of the latest segment that tells losses."""

    # --- on their way to the sink

    @contextlib.contextmanager
    def holding(self, wanted: Segment) -> Iterator[None]:
        """While it is uploaded a segment is not given up: it would arrive and be counted as lost."""
        self._held = wanted
        try:
            yield
        finally:
            self._held = None

    @contextlib.contextmanager
    def reading(self, wanted: Segment) -> Iterator[tuple[Header, Iterator[bytes]]]:
        """The header and bodies of a segment, one at a time. Raises SegmentLost."""
        if wanted.path in self._memory.segments:
            header, bodies = self._memory.segments[wanted.path]
            yield header, iter(bodies)
            return
        try:
            with wanted.path.open("rb") as file:
                header = segment.read_header(file)
                yield header, segment.read_bodies(file, header, closed=True)
        except OSError as error:
            raise SegmentLost(f"its file cannot be read: {error.strerror}") from error

    def remove(self, done: Segment) -> None:
        """Commit: the segment is stored elsewhere."""
        self._memory.segments.pop(done.path, None)
        with contextlib.suppress(OSError):
            done.path.unlink()
        self._forget(done)

    def unend(self) -> None:
        """Something is accepted after all, behind a segment that a shipper before us had sealed as the last.

        In upload it keeps its name until the next time: the thread that encodes it would not find it, and it was
        entered as lost and delivered all the same. That it may arrive as final does no harm; the highest one counts.
        """
        if not self.ended or self.ended == self._held:
            return
        ended, self.ended = self.ended, None
        if ended in self.segments:
            with contextlib.suppress(OSError):
                self.segments[self.segments.index(ended)] = ended.renamed(SEALED)

    def _forget(self, gone: Segment) -> None:
        self.segments = [s for s in self.segments if s.path != gone.path]

    # --- given up

    def lacking(self, size: int) -> int:
        """How many bytes have to go until so many fit beside what is here and the account of losses."""
        return sum(s.size for s in self.segments) + self._losses.size + size - self._limit

    @property
    def droppable(self) -> list[Segment]:
        """What may be given up."""
        return [s for s in self.segments if s != self._held]

    def drop_oldest(self, lacking: int) -> None:
        """Give up as many segments as it takes until so many bytes are free. Raises JournalFull, and then none is."""
        gone: list[Segment] = []
        lost: list[Loss] = []
        # Where all of them are not enough none is even read: the platform will deliver the same again and again.
        for oldest in self.droppable if lacking <= sum(s.size for s in self.droppable) else ():
            gone.append(oldest)
            lost += self._losses_with(oldest, reason=f"the spool is full: LOGFERRY_SPOOL_BYTES={self._limit}")
            # The account is not given up: what it grows by makes no room.
            if lacking <= sum(s.size for s in gone) + self._losses.size - self._losses.size_with(lost):
                self.give_up(gone, lost)
                return
        raise JournalFull(f"LOGFERRY_SPOOL_BYTES={self._limit} is taken by what cannot be given up")

    def lose(self, gone: Segment, *, reason: str) -> None:
        """Give a segment up and enter that: its number, how many records and bytes, and why."""
        self.give_up([gone], self._losses_with(gone, reason=reason))

    def give_up(self, gone: Sequence[Segment], lost: Iterable[Loss]) -> None:
        """Enter what is lost with some segments; their files go when that is on disk."""
        for one in gone:
            self._forget(one)
        self._losses.add(lost, files=[s.path for s in gone if not self._memory.segments.pop(s.path, None)])
        self.save_losses()

    def _losses_with(self, gone: Segment, *, reason: str) -> list[Loss]:
        """What is lost with a segment: its records, and the losses that it would have told."""
        told: list[Loss] = []

        def others(bodies: Iterable[bytes]) -> Iterator[bytes]:
            for body in bodies:
                if tells := losses.told_by(body):
                    told.extend(tells)
                else:
                    yield body

        try:
            with self.reading(gone) as (_, bodies):
                records = self._count_records(others(bodies))
        except SegmentLost:
            records = 0
        return [*told, Loss(gone.environment, gone.number, gone.number, records, gone.size, reason)]

    # --- and told

    def to_be_told(self, *, last: bool) -> tuple[Loss, ...]:
        """The losses for the next segment to tell: none where one that waits tells of some, unless it is the last.

        One at a time: when that one goes too its losses come back, and those that are neighbours are one again. Told in
        each segment they would lie apart, and in a long outage their number would grow without end.
        """
        account = self._losses.account
        if account and not last and any((s.environment, s.number) == self._teller for s in self.segments):
            return ()
        return account

    def told(self, *, by: Header) -> None:
        """The open segment of that header tells the whole account now."""
        self._teller = (by.origin.environment, by.number)
        self.unend()
        self._losses.clear(self._losses.account)
        self.save_losses()

    def save_losses(self) -> None:
        """Bring the account to disk where that is behind; where the disk refuses it is tried again later."""
        try:
            self._losses.save()
        except OSError as error:
            self._memory.step_in(error)
