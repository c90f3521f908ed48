"""The journal: a durable queue of segments in one directory.

Promises:
- a body whose `append` has returned survives the death of this process. There is no fsync: what is in the page cache
  outlives a process, and the death of the machine takes /tmp with it, so fsync would buy nothing and cost milliseconds;
- `seal` turns what waits into one immutable segment; `remove` is the only commit. There is no cursor file: the state
  is the set of files, and an open one always exists, so that numbers go on where a killed process left them;
- on opening, what an earlier life left is sealed under its own old name (as that life's last), a torn tail is cut;
- the directory is bounded: when it is full the oldest sealed segments go, as many as it takes, and their loss is in the
  account before they do (`losses`), which is told in the next segment. A segment never grows beyond a quarter of the
  bound, so that no more than that goes at once. Where nothing is left to give up, `append` refuses;
- where the disk takes nothing (full, not writable) bodies wait in a small memory instead and are shipped from there;
  that is complained of, because they would not survive a kill. When it is full too, `append` refuses.

Not thread-safe; one writer per directory, held by a lock that ends with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from logferry.errors import JournalFull, SegmentLost
from logferry.journal import frame, losses, recovery, segment
from logferry.journal.losses import Loss, Losses
from logferry.journal.memory import Memory
from logferry.journal.segment import LAST, SEALED, Header, Origin, Segment
from logferry.journal.sibling import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
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
        self._count_records = count_records
        self._follow = follow
        self.running: str | None = None
        """The request that is running as far as the stream has said; the next segment's header will name it."""
        self._complain = complain
        self._memory = Memory()
        self._held: Segment | None = None
        self._sealed: list[Segment] = []
        self._ended: Segment | None = None
        self._losses = Losses(directory, origin.environment)
        self._teller: tuple[str, int] | None = None
        """Environment and number of the latest segment that tells losses."""
        self._fd = self._lock = -1
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
        return f"<Journal {len(self._sealed)} sealed, {self.waiting_bytes} bytes waiting in {self._directory}>"

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be sealed, on disk and in memory."""
        return self._size - self._empty_size + self._memory.waiting_bytes

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
        if _size_on_disk(body) + self._empty_size > self._limit:
            raise JournalFull(f"{len(body)} bytes do not fit into LOGFERRY_SPOOL_BYTES={self._limit}")
        if self.waiting_bytes >= self._limit // SEGMENTS_AT_LEAST:
            self.seal()
        self._make_room(_size_on_disk(body))
        self._unend()
        self._settle()
        if self._memory.bodies or not self._write(body):
            self._memory.add(body)

    def seal(self, *, last: bool = False) -> Segment | None:
        """Close the open segment and open the next; losses that no segment tells yet are told in it.

        Returns what was sealed; None when nothing waits. The last one closes the journal: it is sealed even when it is
        empty, unless it would be the environment's only one, so that a reader finds exactly one end.
        """
        self._settle()
        self._tell(last=last)
        if not self.waiting_bytes and not (last and self._number > 1 and not self._ended):
            if last:
                self._discard_open()
            return None
        in_memory = bool(self._memory.bodies) or self._fd < 0
        if self._size > self._empty_size or not in_memory:
            sealed = self._finish(LAST if last and not in_memory else SEALED)
            if in_memory or not last:
                self._open(self._number + 1)
        if in_memory:
            sealed = self._keep_in_memory(LAST if last else SEALED)
            if not last:
                self._open(self._number + 1)
        return sealed

    def renew(self, environment: str) -> None:
        """Go on as another environment, with what waits: a snapshot's clones must not share a name and numbers.

        What is sealed keeps its name: it is the same in every clone, and so is its object.
        """
        old, bodies = (self._path, self._fd), self._memory.bodies
        if self._fd >= 0:
            with self._path.open("rb") as file:
                header = segment.read_header(file)
                bodies = [*segment.read_bodies(file, header, closed=False), *bodies]
        self._memory.bodies = []
        self._origin = self._origin._replace(environment=environment)
        self._ended = None
        self._open(1)
        for body in bodies:
            if not self._write(body):
                self._memory.add(body)
        if old[1] >= 0:
            os.close(old[1])
            old[0].unlink(missing_ok=True)

    @contextlib.contextmanager
    def holding(self, wanted: Segment) -> Iterator[None]:
        """While it is uploaded a segment is not dropped: it would arrive and be counted as lost."""
        self._held = wanted
        try:
            yield
        finally:
            self._held = None

    @contextlib.contextmanager
    def reading(self, wanted: Segment) -> Iterator[tuple[Header, Iterator[bytes]]]:
        """The header and bodies of a sealed segment, one at a time. Raises SegmentLost."""
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

    def lose(self, gone: Segment, *, reason: str) -> None:
        """Give a sealed segment up and enter that: its number, how many records and bytes, and why."""
        self._give_up([gone], self._losses_with(gone, reason=reason))

    def close(self) -> None:
        """Give the directory free; what waits stays."""
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1

    def _forget(self, gone: Segment) -> None:
        self._sealed = [s for s in self._sealed if s.path != gone.path]

    # --- the open segment

    def _open(self, number: int) -> None:
        """Begin the file of that number; where the disk refuses there is none, and bodies wait in memory."""
        self._number = number
        self._header = Header(origin=self._origin, number=number, opened_ms=self._clock_ms(), request_id=self.running)
        self._path = segment.path_for(self._directory, self._header)
        self._size = self._empty_size = 0
        opening = segment.opening(self._header)
        try:
            self._fd = self._create()
            if os.write(self._fd, opening) < len(opening):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - as the kernel would have said
        except OSError as error:
            self._discard_open()
            self._note_trouble(error)
        else:
            self._size = self._empty_size = len(opening)

    def _create(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o600)

    def _discard_open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _write(self, body: bytes) -> bool:
        """All of the frame or none of it: a disk that fills up in the middle is cut back to the last whole frame."""
        if self._fd < 0:
            return False
        parts = frame.head(body) + body
        try:
            if os.write(self._fd, parts) < len(parts):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - as the kernel would have said
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            self._note_trouble(error)
            return False
        self._size += len(parts)
        return True

    def _note_trouble(self, error: OSError) -> None:
        if not self._memory.in_use:
            self._memory.in_use = True
            self._complain(f"{self._directory} takes nothing: {error.strerror}; records wait in memory until it does")

    def _settle(self) -> None:
        """Bring to disk what could not be written before: the account of losses, bodies in memory."""
        if self._fd < 0:
            if not self._memory.in_use:
                return
            self._open(self._number)
        self._save_losses()
        waiting = self._memory.bodies
        while waiting and self._write(waiting[0]):
            del waiting[0]
        if self._fd >= 0 and not self._memory.bodies and self._losses.may_be_told:
            self._memory.in_use = False

    def _finish(self, state: str) -> Segment:
        """The open file, closed and renamed; where somebody emptied /tmp, it is written anew from what we hold open."""
        sealed = self._as_segment(state, size=self._size)
        try:
            self._path.rename(sealed.path)
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(os.pread(self._fd, self._size, 0))
            self._path.rename(sealed.path)
        os.close(self._fd)
        self._fd = -1
        self._sealed.append(sealed)
        return sealed

    def _keep_in_memory(self, state: str) -> Segment:
        """A segment that the disk does not take."""
        self._discard_open()
        sealed = self._as_segment(state, size=self._memory.waiting_bytes)
        self._memory.seal(sealed.path, self._header)
        self._sealed.append(sealed)
        return sealed

    def _as_segment(self, state: str, *, size: int) -> Segment:
        return Segment(
            path=self._path.with_suffix("." + state),
            environment=self._origin.environment,
            number=self._number,
            opened_ms=self._header.opened_ms,
            state=state,
            size=size,
        )

    def _unend(self) -> None:
        """Something is accepted after all, behind a segment that a shipper before us had sealed as the last."""
        ended, self._ended = self._ended, None
        if ended in self._sealed:
            with contextlib.suppress(OSError):
                self._sealed[self._sealed.index(ended)] = ended.renamed(SEALED)

    # --- the bound, and what is given up for it

    def _make_room(self, size: int) -> None:
        """Give up the oldest segments, as many as it takes until `size` bytes fit; none where all are not enough."""
        if self._lacking(size) <= 0:
            return
        if self._lacking(size) > sum(s.size for s in self._droppable):
            self.seal()  # what is open is the oldest then
        lacking = self._lacking(size)
        gone: list[Segment] = []
        lost: list[Loss] = []
        # Where all of them are not enough none is even read: the platform will deliver the same again and again.
        for oldest in self._droppable if lacking <= sum(s.size for s in self._droppable) else ():
            gone.append(oldest)
            lost += self._losses_with(oldest, reason=f"the spool is full: LOGFERRY_SPOOL_BYTES={self._limit}")
            # The account is not given up: what it grows by makes no room.
            if lacking <= sum(s.size for s in gone) + self._losses.size - self._losses.size_with(lost):
                self._give_up(gone, lost)
                return
        raise JournalFull(f"LOGFERRY_SPOOL_BYTES={self._limit} is taken by what cannot be given up")

    @property
    def _droppable(self) -> list[Segment]:
        return [s for s in self._sealed if s != self._held]

    def _lacking(self, size: int) -> int:
        """How many bytes have to go until so many fit."""
        return sum(s.size for s in self._sealed) + self._size + self._losses.size + size - self._limit

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

    def _give_up(self, gone: Sequence[Segment], lost: Iterable[Loss]) -> None:
        for one in gone:
            self._forget(one)
        self._losses.add(lost, files=[s.path for s in gone if not self._memory.segments.pop(s.path, None)])
        self._save_losses()

    def _save_losses(self) -> None:
        try:
            self._losses.save()
        except OSError as error:
            self._note_trouble(error)

    def _tell(self, *, last: bool) -> None:
        """Write what is lost into the open segment, unless one that waits tells of losses already.

        One at a time: when that one goes too its losses come back, and those that are neighbours are one again. Told in
        each segment they would lie apart, and in a long outage their number would grow without end.
        """
        waits = any((s.environment, s.number) == self._teller for s in self._sealed)
        if not self._losses.account or (waits and not last):
            return
        body = losses.report(self._losses.account, at_ms=self._clock_ms())
        if not (self._losses.may_be_told and self._write(body)):
            if not (self._losses.is_of_memory and self._memory.in_use):
                return
            self._memory.bodies.append(body)
        self._teller = (self._origin.environment, self._number)
        self._unend()
        self._losses.clear(self._losses.account)
        self._save_losses()

    # --- what an earlier life left

    def _recover(self, found: list[Segment], *, damaged: int) -> None:
        gone = [s for s in found if self._losses.names(s)]
        found = [s for s in found if s not in gone]
        if self._losses.account:
            self._losses.clear(recovery.told_in(found))
        left = recovery.take_over(found, environment=self._origin.environment, follow=self._follow)
        self._sealed, self._ended, self.running = left.sealed, left.ended, left.running
        self._open(max(left.number, self._losses.highest(self._origin.environment) + 1))
        # Only now, when the next open file is there: a kill in between must not make the numbers begin anew.
        for empty in left.empty:
            if empty.path != self._path:
                empty.path.unlink()
        if damaged:
            self._write(segment.loss_body(self._header, size=damaged))
        self._losses.add((), files=[s.path for s in gone])
        self._save_losses()


def _size_on_disk(body: bytes) -> int:
    """Bytes that a body takes in a segment."""
    return frame.HEAD_BYTES + len(body)
