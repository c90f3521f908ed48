"""The journal: a durable queue of segments in one directory.

Guarantees:
- A body whose `append` has returned survives the death of this process.
- `seal` turns the accepted bodies into one immutable segment, and `remove` is the only commit.
- On opening, the files of an earlier process are sealed under their own names (as the last segment of that
  environment), and a torn tail is cut.
- A segment without stored records is not sealed. There are two exceptions: a limit, and the last segment of an
  environment that has earlier ones, because a reader must find exactly one end.
- A segment holds records of one hour of the clock (UTC): a batch of another hour seals the open segment first. A
  segment is never sealed between the two halves of a cut record.
- The directory is bounded. When it is full, the oldest sealed segments are discarded, and the next segment reports
  their loss (`backlog`). If nothing can be discarded, `append` refuses the body.
- If the disk rejects writes (full, not writable), bodies wait in a small memory buffer and are shipped from there. The
  journal warns, because they would not survive a kill. When the buffer is full as well, `append` refuses the body.

Design: there is no fsync. The page cache survives a process, and /tmp does not survive the machine, so fsync would only
cost milliseconds. There is no cursor file: the state is the set of files. An open file always exists, so that numbers
continue after a kill. A segment never exceeds a quarter of the limit, so that no more than a quarter is discarded at
once.

Not thread-safe; one writer per directory, held by a lock that ends with the process.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from logferry.errors import JournalFull
from logferry.journal import frame, losses, recovery, segment
from logferry.journal.backlog import Backlog
from logferry.journal.losses import LossLedger
from logferry.journal.memory_buffer import MemoryBuffer
from logferry.journal.orphans import LOCK
from logferry.journal.segment import LAST, SEALED, OpenFile, Segment
from logferry.records import timestamps
from logferry.records.internal import damaged_batch, invoke_batch
from logferry.records.model import Header, Origin
from logferry.records.started_requests import StartedRequests, valid_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

SEGMENTS_AT_LEAST = 4
"""Number of segments in a full spool: no segment grows beyond this share of the limit."""


class Journal:
    """Segments of one environment, and those that an earlier one left."""

    def __init__(
        self,
        directory: str,
        *,
        origin: Origin,
        limit_bytes: int,
        clock_ms: Callable[[], int],
        count_records: Callable[[Iterable[bytes]], int],
        follow: Callable[[Header, Iterable[bytes]], str | None],
        warn: Callable[[str], None],
        started: StartedRequests | None = None,
        is_omitted: Callable[[bytes], bool] = lambda _: False,
        segment_bytes: int | None = None,
    ) -> None:
        """Open the directory and recover. Raise BlockingIOError if another process holds the directory.

        The journal does not read bodies. `count_records` returns the number of records of a loss. `follow` takes in the
        header and the bodies of a leftover segment, and returns the request that runs after them. `warn` is called once
        when the disk rejects writes. `started` are the requests that have started, for the headers of segments.
        `is_omitted` returns whether all records of a batch are left out of the object: such batches alone are not
        sealed, because an object without records would result. `segment_bytes` is the size of a segment beyond which
        no batch is added to it.
        """
        self._directory = directory
        self._origin = origin
        self._limit = limit_bytes
        self._segment_bytes = limit_bytes if segment_bytes is None else segment_bytes
        self._clock_ms = clock_ms
        self._follow = follow
        self.running: str | None = None
        """Request that is running according to the stream. The header of the next segment holds it."""
        self.has_partial_record = False
        """Whether the last batch ended in a cut record."""
        self._started = StartedRequests() if started is None else started
        self._is_omitted = is_omitted
        self._has_records = False
        """Whether the open segment has a batch whose records are stored."""
        self._announced: list[str] = []
        """Requests of INVOKE events that the open segment does not name yet."""
        self._hour = 0
        """Hour of the open segment, in hours since the epoch."""
        self._memory = MemoryBuffer(directory, warn=warn)
        self._ledger = LossLedger(directory, origin.environment)
        self._backlog = Backlog(
            ledger=self._ledger, memory=self._memory, limit_bytes=limit_bytes, count_records=count_records
        )
        self._ended = False
        """Whether the last segment is sealed and none is open."""
        self._next_number = 0
        self._lock = -1
        try:
            os.makedirs(directory, exist_ok=True)
            self._lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            paths = [f"{directory}/{name}" for name in os.listdir(directory)]
            damaged = self._ledger.read(path for path in paths if losses.is_ledger(path))
            found = [s for path in paths if (s := segment.parse_filename(path))]
        except BlockingIOError:
            os.close(self._lock)
            raise
        except OSError:
            found, damaged = [], 0
        self._recover(found, damaged=damaged)

    def __repr__(self) -> str:
        return f"<Journal {len(self.sealed)} sealed, {self.waiting_bytes} bytes waiting in {self._directory}>"

    @property
    def waiting_bytes(self) -> int:
        """Size of the bodies that are not sealed, in bytes; 0 if an object without records would result."""
        return self._open_bytes if self._has_records else 0

    @property
    def _open_bytes(self) -> int:
        on_disk = 0 if self._ended else self._file.size - self._file.empty_size
        return on_disk + self._memory.waiting_bytes

    @property
    def sealed(self) -> tuple[Segment, ...]:
        """Segments that wait for upload, oldest first."""
        return tuple(self._backlog.segments)

    @property
    def origin(self) -> Origin:
        """Origin of the records that are appended."""
        return self._origin

    @property
    def directory(self) -> str:
        """Directory of the journal."""
        return self._directory

    @property
    def open_header(self) -> Header:
        """Header of the open segment, or of the last one after the end."""
        return self._file.header

    @property
    def open_size(self) -> int:
        """Size of the open segment on disk, in bytes. It identifies a place for `open_bodies`."""
        return self._file.size

    def now_ms(self) -> int:
        """Return the time of the journal's clock, in epoch milliseconds."""
        return self._clock_ms()

    def open_bodies(self, *, after: int = 0) -> Iterator[bytes]:
        """Yield the bodies of the open segment behind an earlier `open_size`, then those in memory."""
        if not self._ended:
            yield from self._file.bodies_after(after)
            yield from tuple(self._memory.bodies)

    def append(self, body: bytes) -> None:
        """Store one body, which is accepted when this method returns. Raise JournalFull if nothing was stored."""
        if self._ended:
            self._open_after_end()
        self._enter_hour(body)
        bodies = (*(invoke_batch(each, at_ms=self._clock_ms()) for each in self._announced), body)
        size_on_disk, open_bytes = sum(frame.HEAD_BYTES + len(each) for each in bodies), self._open_bytes
        if size_on_disk + self._file.empty_size > self._limit:
            raise JournalFull(f"{len(body)} bytes do not fit into LOGFERRY_SPOOL_BYTES={self._limit}")
        is_full = open_bytes >= self._limit // SEGMENTS_AT_LEAST or open_bytes + size_on_disk > self._segment_bytes
        if open_bytes and is_full and not self.has_partial_record:
            self._has_records = True
            self.seal()
        self._make_room(size_on_disk)
        self._backlog.reopen_last()
        self._settle()
        if self._memory.bodies or not self._write(*bodies):
            self._memory.add(*bodies)
        self._has_records = self._has_records or not self._is_omitted(body)
        self._announced.clear()

    def announce(self, request_id: str) -> None:
        """Note the request of an INVOKE event: the next batch is stored behind a note that the request has started."""
        if valid_id(request_id):
            self._started.add(request_id)
            self._announced.append(request_id)

    def seal(self, *, last: bool = False) -> Segment | None:
        """Close the open segment and open the next one. The closed segment reports the losses of the ledger.

        Return the sealed segment, or None if there was nothing to seal. The last one closes the journal. It is sealed
        even without stored records, unless it is the only one of the environment, so that a reader finds exactly one
        end.
        """
        if self._ended:
            return None
        self._settle()
        self._report_losses(last=last)
        needs_end = last and self._file.header.number > 1 and not self._backlog.ended
        if not self.waiting_bytes and not needs_end:
            if last:
                self._file.discard()
                self._ended, self._next_number = True, self._file.header.number
            return None
        in_memory = bool(self._memory.bodies) or not self._file.exists
        if self._file.size > self._file.empty_size or not in_memory:
            sealed = self._file.finish(LAST if last and not in_memory else SEALED)
            self._backlog.segments.append(sealed)
            if in_memory or not last:
                self._open(self._file.header.number + 1)
        if in_memory:
            sealed = self._seal_memory(LAST if last else SEALED)
            if not last:
                self._open(self._file.header.number + 1)
        self._has_records = False
        if last:
            self._ended, self._next_number = True, self._file.header.number + 1
        return sealed

    def _open_after_end(self) -> None:
        """Open one more segment for records that arrive after the last one was sealed."""
        self._ended = False
        self._open(self._next_number)

    def renew(self, environment: str) -> None:
        """Continue as another environment with the bodies that wait: the clones of a snapshot must not share numbers.

        Sealed segments keep their names: they are the same in every clone, and so are their objects.
        """
        old = self._file
        bodies = [*old.bodies(), *self._memory.bodies]
        self._memory.bodies = []
        self._origin = self._origin._replace(environment=environment)
        self._backlog.ended = None
        self._open(1)
        for body in bodies:
            if not self._write(body):
                self._memory.add(body)
        old.discard()

    def holding(self, wanted: Segment) -> AbstractContextManager[None]:
        """Protect a segment from being discarded during its upload: it would be both stored and reported lost."""
        return self._backlog.holding(wanted)

    def reading(self, wanted: Segment) -> AbstractContextManager[tuple[Header, Iterable[bytes]]]:
        """Open the header and the bodies of a sealed segment, read one at a time. Raise SegmentLost."""
        return self._backlog.reading(wanted)

    def remove(self, done: Segment) -> None:
        """Commit: the segment is stored at the destination."""
        self._backlog.remove(done)

    def lose(self, gone: Segment, *, reason: str, records: int | None = None) -> None:
        """Discard a sealed segment and enter its number, its records and bytes, and the reason.

        With `records`, only so many of its records are lost, and the others are stored at the destination.
        """
        self._backlog.lose(gone, reason=reason, records=records)

    # --- the open segment

    def _open(self, number: int) -> None:
        """Begin the segment of that number. If the disk rejects its file, bodies wait in memory."""
        header = Header(
            origin=self._origin,
            number=number,
            opened_ms=self._clock_ms(),
            request_id=self.running,
            started=self._started.newest(),
        )
        self._announced = [each for each in self._announced if each not in header.started]
        self._file = OpenFile(self._directory, header)
        try:
            self._file.create()
        except OSError as error:
            self._memory.activate(error)

    def _enter_hour(self, body: bytes) -> None:
        """Seal the open segment if the batch belongs to a later hour, or if the clock was set back."""
        now_ms = self._clock_ms()
        hour = timestamps.hour_of(body, now_ms=now_ms)
        if hour <= self._hour <= now_ms // timestamps.HOUR_MS:
            return
        # Two cases: 1. an empty segment, whose header may be hours or weeks old, is opened again,
        # 2. a segment with records is sealed, but not between the halves of a cut record.
        if not self._open_bytes:
            if hour != self._file.header.opened_ms // timestamps.HOUR_MS:
                self._open_again()
        elif self.has_partial_record:
            return
        else:
            self.seal()
        self._hour = hour

    def _open_again(self) -> None:
        """Replace the open file, which holds no body, by one with a current header."""
        old = self._file
        self._open(old.header.number)
        if self._file.exists:
            old.discard()
        else:
            self._file = old

    def _write(self, *bodies: bytes) -> bool:
        """Write bodies to disk and return whether the disk accepted them."""
        if not self._file.exists:
            return False
        try:
            self._file.append(*bodies)
        except OSError as error:
            self._memory.activate(error)
            return False
        return True

    def _settle(self) -> None:
        """Write to disk what it rejected before: the ledger of losses, bodies in memory."""
        if not self._file.exists:
            if not self._memory.in_use:
                return
            self._open(self._file.header.number)
        self._backlog.save_losses()
        if not self._memory.in_use:
            return
        waiting = self._memory.bodies
        while waiting and self._write(waiting[0]):
            del waiting[0]
        if self._file.exists and not waiting and self._ledger.is_durable:
            self._memory.in_use = False

    def _make_room(self, size: int) -> None:
        """Discard the oldest segments until `size` bytes fit. Raise JournalFull."""
        missing = self._backlog.bytes_over_limit(self._file.size + size)
        if missing <= 0:
            return
        if missing > sum(s.size for s in self._backlog.discardable):
            self._has_records = True
            self.seal()  # the open segment is the oldest then
            missing = self._backlog.bytes_over_limit(self._file.size + size)
        self._backlog.discard_oldest(missing)

    def _report_losses(self, *, last: bool) -> None:
        """Write the losses into the open segment; into memory only if nothing of them was ever on disk."""
        lost = self._backlog.pending_losses(last=last)
        if not lost:
            return
        body = losses.report(lost, at_ms=self._clock_ms())
        if not (self._ledger.is_durable and self._write(body)):
            if not (self._ledger.is_of_memory and self._memory.in_use):
                return
            self._memory.bodies.append(body)
        self._has_records = True
        self._backlog.losses_reported(by=self._file.header)

    def _seal_memory(self, state: str) -> Segment:
        """Make a segment of the bodies that the disk rejected."""
        self._file.discard()
        sealed = self._file.as_segment(state, size=self._memory.waiting_bytes)
        self._memory.seal(sealed.path, self._file.header)
        self._backlog.segments.append(sealed)
        return sealed

    # --- recovery

    def _recover(self, found: list[Segment], *, damaged: int) -> None:
        gone = [s for s in found if self._ledger.contains(s)]
        found = [s for s in found if s not in gone]
        if self._ledger.entries:
            self._ledger.clear(recovery.losses_reported_in(found))
        left = recovery.recover(found, environment=self._origin.environment, follow=self._follow)
        self._backlog.segments, self._backlog.ended, self.running = left.sealed, left.ended, left.running
        self._open(max(left.number, self._ledger.highest(self._origin.environment) + 1))
        # The next open file exists now: a kill in between must not make the numbers begin again.
        for empty in left.empty:
            if empty.path != self._file.path:
                os.unlink(empty.path)
        if damaged:
            self._has_records = self._write(damaged_batch(self._file.header, size=damaged))
        self._ledger.add((), files=[s.path for s in gone])
        self._backlog.save_losses()
