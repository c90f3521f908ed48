"""Segments: one file that becomes exactly one object.

    file    = magic | frame(header, JSON) | frame(body) ...
    name    = <opened, epoch ms>-<environment>-<number>.<state>

Guarantees:
- The object's key and bytes depend only on the header and the frames. The same segment gives the same object in every
  process that encodes it.
- The state is the file name's suffix and changes only by rename. `open` is appended to, `sealed` waits for upload,
  `last` is sealed and known to be the final segment of its environment.
- Each body in the file is a complete frame. A body that is written in part is removed.
- Numbers count from 1 within an environment, without a gap.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from logferry.errors import SegmentLost
from logferry.journal import frame
from logferry.records.internal import damaged_batch
from logferry.records.model import Header, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"logferry segment 1\n"
"""First bytes of a segment, with its version. A file of another version is left unchanged."""
OPEN, SEALED, LAST = "open", "sealed", "last"
_NAME = re.compile(r"(?P<opened>\d{13,})-(?P<environment>[0-9a-z]+)-(?P<number>\d{8,})\.(?P<state>open|sealed|last)")


class Segment(NamedTuple):
    """File of the journal with its name's fields and its size in bytes."""

    path: str
    environment: str
    number: int
    opened_ms: int
    state: str
    size: int

    def __repr__(self) -> str:
        return f"<Segment {self.environment}-{self.number:08d} {self.state}, {self.size} bytes>"

    @property
    def final(self) -> bool:
        """Whether its environment has no later segment."""
        return self.state == LAST

    def renamed(self, state: str) -> Segment:
        """Rename the file to its new state. Raise FileNotFoundError if the file was removed."""
        path = _with_state(self.path, state)
        os.rename(self.path, path)
        return self._replace(path=path, state=state)


class OpenFile:
    """File of the segment that is appended to. It has a name even if the disk rejects the file."""

    def __init__(self, directory: str, header: Header) -> None:
        """Define the name; `create` makes the file."""
        self.header = header
        self.path = f"{directory}/{header.opened_ms:013d}-{header.origin.environment}-{header.number:08d}.{OPEN}"
        self.size = self.empty_size = 0
        """Size of the complete file and of its header part, in bytes."""
        self._fd = -1

    @property
    def exists(self) -> bool:
        """Whether the file exists."""
        return self._fd >= 0

    def create(self) -> None:
        """Make the file, and its directory if it was removed. Raise OSError, and leave no file then."""
        opening = _opening(self.header)
        try:
            self._fd = self._make()
            _write(self._fd, opening)
        except OSError:
            self.discard()
            raise
        self.size = self.empty_size = len(opening)

    def append(self, *bodies: bytes) -> None:
        """Append complete frames with one write. Raise OSError if the disk rejects it, and cut what it accepted."""
        complete = b"".join(part for body in bodies for part in (frame.head(body), body))
        try:
            _write(self._fd, complete)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(complete)

    def bodies(self) -> list[bytes]:
        """Return the bodies that have been appended."""
        if not self.exists:
            return []
        with open(self.path, "rb") as file:
            header = read_header(file)
            return list(read_bodies(file, header, closed=False))

    def bodies_after(self, offset: int) -> Iterator[bytes]:
        """Yield the bodies behind an earlier `size`, one at a time; all of them for 0, and none without a file."""
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - a generator closes it below
        except OSError:
            return
        with file:
            file.seek(max(offset, self.empty_size))
            for body in frame.read(file, closed=False):
                if not isinstance(body, frame.CorruptFrame):
                    yield body

    def finish(self, state: str) -> Segment:
        """Close and rename the file. If the function emptied /tmp, write it again from the open descriptor."""
        sealed = self.as_segment(state, size=self.size)
        try:
            os.rename(self.path, sealed.path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "wb") as file:
                file.write(os.pread(self._fd, self.size, 0))
            os.rename(self.path, sealed.path)
        self.close()
        return sealed

    def as_segment(self, state: str, *, size: int) -> Segment:
        """Return the segment that the file becomes when it is sealed."""
        path, origin = _with_state(self.path, state), self.header.origin
        return Segment(path, origin.environment, self.header.number, self.header.opened_ms, state, size)

    def discard(self) -> None:
        """Close and remove the file, if it exists."""
        if self.exists:
            self.close()
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def close(self) -> None:
        """Close the file and keep it."""
        if self.exists:
            os.close(self._fd)
            self._fd = -1

    def _make(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            return os.open(self.path, flags, 0o600)


def parse_filename(path: str) -> Segment | None:
    """Return the segment of a file; None for another name, for no regular file, or for another version."""
    match = _NAME.fullmatch(os.path.basename(path))
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as file:
            ours = MAGIC.startswith(file.read(len(MAGIC)))
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if not match or not ours:
        return None
    return Segment(
        path=path,
        environment=match["environment"],
        number=int(match["number"]),
        opened_ms=int(match["opened"]),
        state=match["state"],
        size=size,
    )


def _with_state(path: str, state: str) -> str:
    """Return the path of a segment's file in another state."""
    return f"{path.rpartition('.')[0]}.{state}"


def _opening(header: Header) -> bytes:
    """Return the first bytes of a new file."""
    body = json.dumps(header._asdict() | {"origin": header.origin._asdict()}, separators=(",", ":")).encode()
    return MAGIC + frame.head(body) + body


def _write(fd: int, content: bytes) -> None:
    """Write all of `content`. Raise OSError as well if the disk accepts only a part."""
    if os.write(fd, content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_header(file: BinaryIO) -> Header:
    """Return the header of a segment file and leave `file` at the first body. Raise SegmentLost."""
    if file.read(len(MAGIC)) != MAGIC:
        raise SegmentLost("not a segment of this version")
    body = next(frame.read(file, closed=True), None)
    try:
        fields = json.loads(body) if isinstance(body, bytes) else {}
        return Header(**{**fields, "origin": Origin(**fields["origin"]), "started": tuple(fields["started"])})
    except (ValueError, TypeError, KeyError) as error:
        raise SegmentLost(f"its header is damaged ({error!r})") from error


class Bodies:
    """The bodies of a segment file, read one at a time and as often as needed."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        """Remember the position of `file`, which is at the first body."""
        self._file = file
        self._header = header
        self._first = file.tell()

    def __iter__(self) -> Iterator[bytes]:
        """Read from the first body. Only one iteration may be under way."""
        self._file.seek(self._first)
        return read_bodies(self._file, self._header, closed=True)


def read_bodies(file: BinaryIO, header: Header, *, closed: bool) -> Iterator[bytes]:
    """Yield the bodies after the header; a damaged one is replaced by a `logferry.damaged` record with its size."""
    for body in frame.read(file, closed=closed):
        yield damaged_batch(header, size=body.size) if isinstance(body, frame.CorruptFrame) else body
