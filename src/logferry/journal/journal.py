"""The journal: a durable queue of segments in one directory.

Promises:
- a body whose `append` has returned survives the death of this process. There is no fsync: what is in the page cache
  outlives a process, and the death of the machine takes /tmp with it, so fsync would buy nothing and cost milliseconds;
- `seal` turns what waits into one immutable segment; `remove` is the only commit. There is no cursor file: the state
  is the set of files, and an open one always exists, so that numbers go on where a killed process left them;
- on opening, what an earlier life left is sealed under its own old name (as that life's last), a torn tail is cut;
- the directory is bounded: when it is full the oldest sealed segment goes, and the loss is recorded in the open one
  before the file is removed. A kill in between can at worst count the same segment's loss twice, under one number.

Not thread-safe; one writer per directory, held by a lock that ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from logferry.errors import JournalFull, SegmentLost
from logferry.journal import frame, segment
from logferry.journal.segment import DROPPED, LAST, OPEN, SEALED, Header, Origin, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

LOCK = "lock"


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
    ) -> None:
        """Open and recover. Raises OSError when the directory cannot be used, BlockingIOError when it is in use.

        The journal does not read bodies; the two functions do: `count_records` says how many records a loss cost,
        `follow` which request is running after some bodies, given the one that ran before them.
        """
        self._directory = directory
        self._origin = origin
        self._limit = limit_bytes
        self._clock_ms = clock_ms
        self._count_records = count_records
        self._follow = follow
        self.running: str | None = None
        """The request that is running as far as the stream has said; the next segment's header will name it."""
        self._held: Segment | None = None
        self._sealed: list[Segment] = []
        self._fd = -1
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._recover()

    def __repr__(self) -> str:
        return f"<Journal {len(self._sealed)} sealed, {self.waiting_bytes} bytes waiting in {self._directory}>"

    @property
    def waiting_bytes(self) -> int:
        """Bytes of bodies in the open segment."""
        return self._size - self._empty_size

    @property
    def sealed(self) -> tuple[Segment, ...]:
        """What waits for upload, oldest first."""
        return tuple(self._sealed)

    @property
    def origin(self) -> Origin:
        """Whose records are being appended."""
        return self._origin

    def append(self, body: bytes) -> None:
        """Store one body; it is accepted when this returns. Raises JournalFull, and then nothing was stored."""
        self._make_room(len(body) + frame.HEAD_BYTES)
        self._write(body)

    def seal(self, *, last: bool = False) -> Segment | None:
        """Close the open segment and open the next.

        Returns what was sealed; None when nothing waits. The last one closes the journal: it is sealed even when it is
        empty, unless it would be the environment's only one, so that a reader finds an end.
        """
        if not self.waiting_bytes and not (last and self._number > 1):
            return None
        sealed = self._finish(LAST if last else SEALED)
        if not last:
            self._open(self._number + 1)
        return sealed

    @contextlib.contextmanager
    def reading(self, wanted: Segment) -> Iterator[tuple[Header, Iterator[bytes]]]:
        """The header and bodies of a sealed segment, one at a time; it is not dropped meanwhile. Raises SegmentLost."""
        self._held = wanted
        try:
            with wanted.path.open("rb") as file:
                header = segment.read_header(file)
                yield header, segment.read_bodies(file, header)
        except FileNotFoundError as error:
            raise SegmentLost(f"{wanted.path} was removed by somebody else") from error
        finally:
            self._held = None

    def remove(self, done: Segment) -> None:
        """Commit: the segment is stored elsewhere."""
        done.path.unlink(missing_ok=True)
        self._sealed.remove(done)

    def lose(self, gone: Segment, *, reason: str) -> None:
        """Give a sealed segment up and record that: its number, how many records and bytes, and why."""
        self._sealed.remove(gone)
        records = self._records_of(gone)
        with contextlib.suppress(FileNotFoundError):
            gone = gone.renamed(DROPPED)
        self._record_loss(gone, records=records, reason=reason)

    def close(self) -> None:
        """Give the directory free; what waits stays."""
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1

    # --- the open segment

    def _open(self, number: int) -> None:
        self._number = number
        header = Header(origin=self._origin, number=number, opened_ms=self._clock_ms(), request_id=self.running)
        self._path = segment.path_for(self._directory, header)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        opening = segment.opening(header)
        self._empty_size = self._size = len(opening)
        os.write(self._fd, opening)

    def _write(self, body: bytes) -> None:
        """All of the frame or none of it: a disk that fills up in the middle is cut back to the last whole frame."""
        parts = frame.head(body) + body
        try:
            written, why = os.write(self._fd, parts), "the disk took only a part"
        except OSError as error:
            written, why = 0, str(error)
        if written < len(parts):
            os.ftruncate(self._fd, self._size)
            raise JournalFull(f"{self._path} cannot grow: {why}")
        self._size += written

    def _finish(self, state: str) -> Segment:
        """The open file, closed and renamed; where somebody emptied /tmp, it is written anew from what we hold open."""
        if not self._path.exists():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(os.pread(self._fd, self._size, 0))
        os.close(self._fd)
        self._fd = -1
        recognised = segment.recognise(self._path)
        if recognised is None:
            raise AssertionError(self._path)
        sealed = recognised.renamed(state)
        self._sealed.append(sealed)
        return sealed

    # --- the bound

    def _make_room(self, size: int) -> None:
        while sum(s.size for s in self._sealed) + self._size + size > self._limit:
            oldest = next((s for s in self._sealed if s != self._held), None)
            if oldest is None:
                if not self.waiting_bytes:
                    raise JournalFull(f"a body of {size} bytes does not fit into LOGFERRY_SPOOL_BYTES={self._limit}")
                self.seal()
                continue
            self.lose(oldest, reason=f"the spool is full: LOGFERRY_SPOOL_BYTES={self._limit}")

    def _records_of(self, gone: Segment) -> int:
        try:
            with self.reading(gone) as (_, bodies):
                return self._count_records(bodies)
        except SegmentLost:
            return 0

    def _record_loss(self, gone: Segment, *, records: int, reason: str) -> None:
        record = {
            "environment": gone.environment,
            "segment": gone.number,
            "records": records,
            "bytes": gone.size,
            "reason": reason,
        }
        self._write(segment.own_body("logferry.dropped", record, at_ms=self._clock_ms()))
        gone.path.unlink(missing_ok=True)

    # --- what an earlier life left

    def _recover(self) -> None:
        found = sorted(
            (s for path in self._directory.iterdir() if (s := segment.recognise(path))),
            key=lambda s: (s.opened_ms, s.number),
        )
        adopted = [(s, self._adopt(s) if s.state == OPEN else s) for s in found]
        kept = [after for _, after in adopted if after]
        empty = [before for before, after in adopted if not after]
        self._sealed = [s for s in kept if not self._is_mine(s) and s.state != DROPPED]
        self._sealed += sorted((s for s in kept if self._is_mine(s) and s.state != DROPPED), key=lambda s: s.number)
        self._open(max([1, *(s.number + 1 for s in kept if self._is_mine(s)), *map(self._own_number, empty)]))
        # Only now, when the next open file is there: a kill in between must not make the numbers begin anew.
        for left in empty:
            if left.path != self._path:
                left.path.unlink()
        for dropped in (s for s in kept if s.state == DROPPED):
            self._record_loss(dropped, records=self._records_of(dropped), reason="the spool was full")

    def _is_mine(self, found: Segment) -> bool:
        return found.environment == self._origin.environment

    def _own_number(self, empty: Segment) -> int:
        """The number of an empty open file of ours is used again: no object has it."""
        return empty.number if self._is_mine(empty) else 0

    def _adopt(self, left: Segment) -> Segment | None:
        """Seal an open file that nobody appends to any more, cut at its last whole frame.

        Nothing for an empty one, unless it is the only thing that can tell a reader that an earlier environment ended.
        """
        mine = self._is_mine(left)
        try:
            with left.path.open("r+b") as file:
                header = segment.read_header(file)
                start = file.tell()
                running = self._follow(header.request_id, segment.read_bodies(file, header))
                end = file.tell()
                file.truncate(end)
        except SegmentLost:
            start = end = 0
        if end == start and (mine or left.number == 1 or not end):
            return None
        if mine:
            self.running = running
        return replace(left.renamed(SEALED if mine else LAST), size=end)
