"""Sealed segments that wait for upload, and what is discarded of them when the spool is full.

Guarantees:
- A segment leaves by `remove`, the only commit, or it is discarded. A discarded segment is entered in the ledger of
  losses before its file is removed, and a later segment reports it.
- When the spool is full, the oldest segments are discarded, as few as possible. None is discarded if all of them would
  not be enough, and the one in upload is never discarded.
- While a segment that reports losses waits for upload, no further segment reports losses, except the last.

Design: segments in memory, which the disk rejected, wait among those on disk.
"""

from __future__ import annotations

import contextlib
import os
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
    """Sealed segments of a journal, oldest first."""

    def __init__(
        self,
        *,
        ledger: LossLedger,
        memory: MemoryBuffer,
        limit_bytes: int,
        count_records: Callable[[Iterable[bytes]], int],
    ) -> None:
        """Begin without a segment; the arguments are the journal's own."""
        self.segments: list[Segment] = []
        self.ended: Segment | None = None
        """Last segment of this environment, if a previous shipper process had already sealed it."""
        self._ledger = ledger
        self._memory = memory
        self._limit = limit_bytes
        self._count_records = count_records
        self._held: Segment | None = None
        self._reporting_segment: tuple[str, int] | None = None
        """Environment and number of the latest segment that reports losses."""

    # --- upload

    @contextlib.contextmanager
    def holding(self, wanted: Segment) -> Iterator[None]:
        """Protect a segment from being discarded during its upload: it would be both stored and reported lost."""
        self._held = wanted
        try:
            yield
        finally:
            self._held = None

    @contextlib.contextmanager
    def reading(self, wanted: Segment) -> Iterator[tuple[Header, Iterable[bytes]]]:
        """Yield the header and the bodies of a segment, which are read one at a time. Raise SegmentLost."""
        if wanted.path in self._memory.segments:
            yield self._memory.segments[wanted.path]
            return
        try:
            with open(wanted.path, "rb") as file:
                header = segment.read_header(file)
                yield header, segment.Bodies(file, header)
        except OSError as error:
            raise SegmentLost(f"its file cannot be read: {error.strerror}") from error

    def remove(self, done: Segment) -> None:
        """Commit: the segment is stored at the destination."""
        self._memory.segments.pop(done.path, None)
        with contextlib.suppress(OSError):
            os.unlink(done.path)
        self._forget(done)

    def reopen_last(self) -> None:
        """Turn the last segment of a previous shipper process into an ordinary one, because a batch follows it.

        A segment that is being uploaded is not renamed, because the encoder thread would no longer find its file.
        (Before this rule such a segment was both reported lost and delivered.) An obsolete `final` mark is harmless:
        readers use the highest segment number.
        """
        if not self.ended or self.ended == self._held:
            return
        ended, self.ended = self.ended, None
        if ended in self.segments:
            with contextlib.suppress(OSError):
                self.segments[self.segments.index(ended)] = ended.renamed(SEALED)

    def _forget(self, gone: Segment) -> None:
        self.segments = [s for s in self.segments if s.path != gone.path]

    # --- discard

    def bytes_over_limit(self, size: int) -> int:
        """Return the number of bytes by which `size` more exceed the limit, with the ledger of losses included."""
        return sum(s.size for s in self.segments) + self._ledger.size + size - self._limit

    @property
    def discardable(self) -> list[Segment]:
        """Segments that may be discarded."""
        return [s for s in self.segments if s != self._held]

    def discard_oldest(self, missing: int) -> None:
        """Discard as few segments as free `missing` bytes. Raise JournalFull if that is not possible."""
        gone: list[Segment] = []
        lost: list[Loss] = []
        # If all of them are not enough, none is read: the platform delivers the same batch again and again.
        for oldest in self.discardable if missing <= sum(s.size for s in self.discardable) else ():
            gone.append(oldest)
            lost += self._losses_with(oldest, reason=f"the spool is full: LOGFERRY_SPOOL_BYTES={self._limit}")
            # The ledger is never discarded: its growth makes no room.
            if missing <= sum(s.size for s in gone) + self._ledger.size - self._ledger.size_with(lost):
                self.discard(gone, lost)
                return
        raise JournalFull(f"LOGFERRY_SPOOL_BYTES={self._limit} is taken by segments that cannot be discarded")

    def lose(self, gone: Segment, *, reason: str, records: int | None = None) -> None:
        """Discard a segment and enter its number, its records and bytes, and the reason.

        `records` is given if only so many are lost. Their bytes are not known, and losses that the segment reports are
        at the destination.
        """
        if records is None:
            self.discard([gone], self._losses_with(gone, reason=reason))
        else:
            number = gone.number
            self.discard([gone], [Loss(gone.environment, number, number, records=records, bytes=0, reason=reason)])

    def discard(self, gone: Sequence[Segment], lost: Iterable[Loss]) -> None:
        """Enter the losses of some segments. Their files are removed once the ledger is on disk."""
        for one in gone:
            self._forget(one)
        self._ledger.add(lost, files=[s.path for s in gone if not self._memory.segments.pop(s.path, None)])
        self.save_losses()

    def _losses_with(self, gone: Segment, *, reason: str) -> list[Loss]:
        """Return the losses of a segment: its records, and the losses that it would have reported."""
        reported: list[Loss] = []

        def others(bodies: Iterable[bytes]) -> Iterator[bytes]:
            for body in bodies:
                if found := losses.losses_in(body):
                    reported.extend(found)
                else:
                    yield body

        try:
            with self.reading(gone) as (_, bodies):
                records = self._count_records(others(bodies))
        except SegmentLost:
            records = 0
        return [*reported, Loss(gone.environment, gone.number, gone.number, records, gone.size, reason)]

    # --- reports

    def pending_losses(self, *, last: bool) -> tuple[Loss, ...]:
        """Return the losses for the next segment to report; none while another one waits, except in the last.

        With one report at a time, a discarded report returns its losses to the ledger, where neighbours are merged.
        With a report in each segment they would stay separate, and in a long outage their number would grow
        indefinitely.
        """
        entries = self._ledger.entries
        if entries and not last and any((s.environment, s.number) == self._reporting_segment for s in self.segments):
            return ()
        return entries

    def losses_reported(self, *, by: Header) -> None:
        """Clear the ledger: the open segment with that header reports all of it."""
        self._reporting_segment = (by.origin.environment, by.number)
        self.reopen_last()
        self._ledger.clear(self._ledger.entries)
        self.save_losses()

    def save_losses(self) -> None:
        """Write the ledger to disk if it has changed. If the disk rejects it, a later call tries again."""
        try:
            self._ledger.save()
        except OSError as error:
            self._memory.activate(error)
