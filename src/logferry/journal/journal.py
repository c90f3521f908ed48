"""The journal: a durable queue of segments in one directory.

Promises:
- a body whose `append` has returned survives the death of this process. There is no fsync: what is in the page cache
  outlives a process, and the death of the machine takes /tmp with it, so fsync would buy nothing and cost milliseconds;
- `seal` turns what waits into one immutable segment; `remove` is the only commit. There is no cursor file: the state
  is the set of files, and an open one always exists, so that numbers go on where a killed process left them;
- on opening, what an earlier life left is sealed under its own old name (as that life's last), a torn tail is cut;
- the directory is bounded: when it is full the oldest sealed segments go, and their loss is told in the next segment
  (`backlog`). A segment never grows beyond a quarter of the bound, so that no more than that goes at once. Where
  nothing is left to give up, `append` refuses;
- where the disk takes nothing (full, not writable) bodies wait in a small memory instead and are shipped from there;
  that is complained of, because they would not survive a kill. When it is full too, `append` refuses.

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
from logferry.records.internal import loss_body
from logferry.records.model import Header, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

SEGMENTS_AT_LEAST = 4
"""In a full spool: no segment grows beyond this share of the bound."""


class Journal:
    """The segments of one environment, and those an earlier one left behind."""

    def __init__(
        self,
        directory: Path,
        *,
        origin: Origin,
        limit_bytes: int,
        clock_ms: Callable[[], int],
        count_records: Callable[[Iterable[bytes]], int],
        follow: Callable[[str | None, Iterable[bytes]], str | None],
        complain: Callable[[str], None],
    ) -> None:
        """Open and recover. Raises BlockingIOError when the directory is another's.

        The journal does not read bodies; the two functions do: `count_records` says how many records a loss cost,
        `follow` which request is running after some bodies, given the one that ran before them. `complain` is told,
        once, that the disk takes nothing.
        """
        self._directory = directory
        self._origin = origin
        self._limit = limit_bytes
        self._clock_ms = clock_ms
        self._follow = follow
        self.running: str | None = None
        """The request that is running as far as the stream has said; the next segment's header will name it."""
        self._memory = MemoryBuffer(directory, complain=complain)
        self._losses = LossLedger(directory, origin.environment)
        self._backlog = Backlog(
            account=self._losses, memory=self._memory, limit_bytes=limit_bytes, count_records=count_records
        )
        self._ended = False
        """Whether the last segment is sealed and none is open."""
        self._next_number = 0
        self._lock = -1
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            damaged = self._losses.read(path for path in directory.iterdir() if losses.recognise(path))
            found = [s for path in directory.iterdir() if (s := segment.recognise(path))]
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
        """Bytes that wait to be sealed, on disk and in memory."""
        on_disk = 0 if self._ended else self._file.size - self._file.empty_size
        return on_disk + self._memory.waiting_bytes

    @property
    def sealed(self) -> tuple[Segment, ...]:
        """What waits for upload, oldest first."""
        return tuple(self._backlog.segments)

    @property
    def origin(self) -> Origin:
        """Whose records are being appended."""
        return self._origin

    def append(self, body: bytes) -> None:
        """Store one body; it is accepted when this returns. Raises JournalFull, and then nothing was stored."""
        if self._ended:
            self._open_after_end()
        size_on_disk = frame.HEAD_BYTES + len(body)
        if size_on_disk + self._file.empty_size > self._limit:
            raise JournalFull(f"{len(body)} bytes do not fit into LOGFERRY_SPOOL_BYTES={self._limit}")
        if self.waiting_bytes >= self._limit // SEGMENTS_AT_LEAST:
            self.seal()
        self._make_room(size_on_disk)
        self._backlog.unend()
        self._settle()
        if self._memory.bodies or not self._write(body):
            self._memory.add(body)

    def seal(self, *, last: bool = False) -> Segment | None:
        """Close the open segment and open the next; losses that no segment tells yet are told in it.

        Returns what was sealed; None when nothing waits. The last one closes the journal: it is sealed even when it is
        empty, unless it would be the environment's only one, so that a reader finds exactly one end.
        """
        if self._ended:
            return None
        self._settle()
        self._tell(last=last)
        if not self.waiting_bytes and not (last and self._file.header.number > 1 and not self._backlog.ended):
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
        if last:
            self._ended, self._next_number = True, self._file.header.number + 1
        return sealed

    def _open_after_end(self) -> None:
        """Open one more segment for records that arrive after the last one was sealed."""
        self._ended = False
        self._open(self._next_number)

    def renew(self, environment: str) -> None:
        """Go on as another environment, with what waits: a snapshot's clones must not share a name and numbers.

        What is sealed keeps its name: it is the same in every clone, and so is its object.
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
        """While it is uploaded a segment is not given up: it would arrive and be counted as lost."""
        return self._backlog.holding(wanted)

    def reading(self, wanted: Segment) -> AbstractContextManager[tuple[Header, Iterator[bytes]]]:
        """The header and bodies of a sealed segment, one at a time. Raises SegmentLost."""
        return self._backlog.reading(wanted)

    def remove(self, done: Segment) -> None:
        """Commit: the segment is stored elsewhere."""
        self._backlog.remove(done)

    def lose(self, gone: Segment, *, reason: str) -> None:
        """Give a sealed segment up and enter that: its number, how many records and bytes, and why."""
        self._backlog.lose(gone, reason=reason)

    def close(self) -> None:
        """Give the directory free; what waits stays."""
        self._file.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    # --- the open segment

    def _open(self, number: int) -> None:
        """Begin the segment of that number; where the disk refuses its file, bodies wait in memory."""
        header = Header(origin=self._origin, number=number, opened_ms=self._clock_ms(), request_id=self.running)
        self._file = OpenFile(self._directory, header)
        try:
            self._file.create()
        except OSError as error:
            self._memory.step_in(error)

    def _write(self, body: bytes) -> bool:
        """Whether the disk took it."""
        if not self._file.exists:
            return False
        try:
            self._file.append(body)
        except OSError as error:
            self._memory.step_in(error)
            return False
        return True

    def _settle(self) -> None:
        """Bring to disk what could not be written before: the account of losses, bodies in memory."""
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
        if self._file.exists and not waiting and self._losses.may_be_told:
            self._memory.in_use = False

    def _make_room(self, size: int) -> None:
        """Give up what is oldest until `size` bytes fit. Raises JournalFull."""
        lacking = self._backlog.lacking(self._file.size + size)
        if lacking <= 0:
            return
        if lacking > sum(s.size for s in self._backlog.droppable):
            self.seal()  # what is open is the oldest then
            lacking = self._backlog.lacking(self._file.size + size)
        self._backlog.drop_oldest(lacking)

    def _tell(self, *, last: bool) -> None:
        """Write what is lost into the open segment; in memory only where nothing of it has ever been on disk."""
        lost = self._backlog.to_be_told(last=last)
        if not lost:
            return
        body = losses.report(lost, at_ms=self._clock_ms())
        if not (self._losses.may_be_told and self._write(body)):
            if not (self._losses.is_of_memory and self._memory.in_use):
                return
            self._memory.bodies.append(body)
        self._backlog.told(by=self._file.header)

    def _seal_memory(self, state: str) -> Segment:
        """Make a segment of what the disk does not take."""
        self._file.discard()
        sealed = self._file.as_segment(state, size=self._memory.waiting_bytes)
        self._memory.seal(sealed.path, self._file.header)
        self._backlog.segments.append(sealed)
        return sealed

    # --- what an earlier life left

    def _recover(self, found: list[Segment], *, damaged: int) -> None:
        gone = [s for s in found if self._losses.names(s)]
        found = [s for s in found if s not in gone]
        if self._losses.account:
            self._losses.clear(recovery.told_in(found))
        left = recovery.take_over(found, environment=self._origin.environment, follow=self._follow)
        self._backlog.segments, self._backlog.ended, self.running = left.sealed, left.ended, left.running
        self._open(max(left.number, self._losses.highest(self._origin.environment) + 1))
        # Only now, when the next open file is there: a kill in between must not make the numbers begin anew.
        for empty in left.empty:
            if empty.path != self._file.path:
                empty.path.unlink()
        if damaged:
            self._write(loss_body(self._file.header, size=damaged))
        self._losses.add((), files=[s.path for s in gone])
        self._backlog.save_losses()
