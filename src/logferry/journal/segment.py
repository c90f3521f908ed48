"""Segments: one file that becomes exactly one object.

    file    = magic | frame(header, JSON) | frame(body) ...
    name    = <opened, epoch ms>-<environment>-<number>.<state>

Invariants:
- everything the object's key and bytes depend on stands in the header or in the frames, so that the same segment gives
  the same object in whichever life it is encoded;
- the state is the file's ending and changes by rename alone: `open` is appended to, `sealed` waits for upload, `last`
  is sealed and known to be its environment's final one;
- a body is in the file as a whole frame or not at all;
- numbers count from 1 within an environment, without a gap.
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
from logferry.records.internal import loss_body
from logferry.records.model import Header, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"logferry segment 1\n"
"""The version is part of it: a file of another version is left alone."""
OPEN, SEALED, LAST = "open", "sealed", "last"
_NAME = re.compile(r"(?P<opened>\d{13,})-(?P<environment>[0-9a-z]+)-(?P<number>\d{8,})\.(?P<state>open|sealed|last)")


class Segment(NamedTuple):
    """A file of the journal: where it is, what it is, how large it is (bytes)."""

    path: Path
    environment: str
    number: int
    opened_ms: int
    state: str
    size: int

    def __repr__(self) -> str:
        return f"<Segment {self.environment}-{self.number:08d} {self.state}, {self.size} bytes>"

    @property
    def final(self) -> bool:
        """Whether its environment has no later one."""
        return self.state == LAST

    def renamed(self, state: str) -> Segment:
        """Give the file its new state on disk; raises FileNotFoundError when somebody removed it."""
        path = self.path.with_suffix("." + state)
        self.path.rename(path)
        return self._replace(path=path, state=state)


class OpenFile:
    """The file of a segment that is appended to. Where the disk refuses it, its name stands all the same."""

    def __init__(self, directory: Path, header: Header) -> None:
        """Nothing is on disk before `create`."""
        self.header = header
        self.path = directory / f"{header.opened_ms:013d}-{header.origin.environment}-{header.number:08d}.{OPEN}"
        self.size = self.empty_size = 0
        """Bytes: of the whole file, and of its opening alone."""
        self._fd = -1

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self._fd >= 0

    def create(self) -> None:
        """Make the file, and its directory where that is gone. Raises OSError, and then there is no file."""
        opening = _opening(self.header)
        try:
            self._fd = self._make()
            _write(self._fd, opening)
        except OSError:
            self.discard()
            raise
        self.size = self.empty_size = len(opening)

    def append(self, body: bytes) -> None:
        """All of the frame, or none of it and OSError: what a full disk took of it is cut away again."""
        whole = frame.head(body) + body
        try:
            _write(self._fd, whole)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(whole)

    def bodies(self) -> list[bytes]:
        """What has been appended."""
        if not self.exists:
            return []
        with self.path.open("rb") as file:
            header = read_header(file)
            return list(read_bodies(file, header, closed=False))

    def finish(self, state: str) -> Segment:
        """Close and rename it; where somebody emptied /tmp, it is written anew from what we hold open."""
        sealed = self.as_segment(state, size=self.size)
        try:
            self.path.rename(sealed.path)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(os.pread(self._fd, self.size, 0))
            self.path.rename(sealed.path)
        self.close()
        return sealed

    def as_segment(self, state: str, *, size: int) -> Segment:
        """What it is when it is sealed."""
        path, origin = self.path.with_suffix("." + state), self.header.origin
        return Segment(path, origin.environment, self.header.number, self.header.opened_ms, state, size)

    def discard(self) -> None:
        """Close and remove it, where there is one."""
        if self.exists:
            self.close()
            with contextlib.suppress(OSError):
                self.path.unlink()

    def close(self) -> None:
        """Keep the file and let go of it."""
        if self.exists:
            os.close(self._fd)
            self._fd = -1

    def _make(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, flags, 0o600)


def recognise(path: Path) -> Segment | None:
    """The segment in a file; None for what is not ours: another name, no file, or the magic of another version."""
    match = _NAME.fullmatch(path.name)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with path.open("rb") as file:
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


def _opening(header: Header) -> bytes:
    """The bytes a new file begins with."""
    body = json.dumps(header._asdict() | {"origin": header.origin._asdict()}, separators=(",", ":")).encode()
    return MAGIC + frame.head(body) + body


def _write(fd: int, content: bytes) -> None:
    """Raises OSError too where the disk takes only a part."""
    if os.write(fd, content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_header(file: BinaryIO) -> Header:
    """The header of a segment file; `file` then stands before the first body. Raises SegmentLost."""
    if file.read(len(MAGIC)) != MAGIC:
        raise SegmentLost("not a segment of this version")
    body = next(frame.read(file, closed=True), None)
    try:
        fields = json.loads(body) if isinstance(body, bytes) else {}
        return Header(**{**fields, "origin": Origin(**fields["origin"])})
    except (ValueError, TypeError, KeyError) as error:
        raise SegmentLost(f"its header is damaged ({error!r})") from error


def read_bodies(file: BinaryIO, header: Header, *, closed: bool) -> Iterator[bytes]:
    """The bodies after the header; in place of a damaged one a `logferry.damaged` record that counts it."""
    for body in frame.read(file, closed=closed):
        yield loss_body(header, size=body.size) if isinstance(body, frame.CorruptFrame) else body
