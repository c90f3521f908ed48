"""Frames: how bodies lie one after another in a segment file.

    frame   = mark (1 bit) and length (31) | crc32 of the body (u32) | crc32 of the eight bytes before (u32) | body

All big-endian; the mark says that the body is a delivery of our own.

Invariants:
- a frame is whole or it is not there;
- an empty body is not a frame, so a run of zero bytes (a hole left by a crashed file system) never looks like frames;
- a torn tail and a damaged frame are told apart. A tail that ends too early was never answered 200, so cutting it
  loses nothing. A frame whose head is sound and whose body is not was accepted, and its loss must be counted; that is
  what the head's own checksum is for: with it the reader knows where the next frame starts.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from logferry.records.internal import InternalBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct(">II")
_CHECK = struct.Struct(">I")
HEAD_BYTES = _HEAD.size + _CHECK.size
_OWN = 1 << 31
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Far above a delivery (Telemetry API: at most 2 x maxBytes and some metadata); what claims more is not a head."""


class CorruptFrame(NamedTuple):
    """A frame whose body no longer matches its checksum: `size` bytes were accepted and are lost."""

    size: int


def head(body: bytes) -> bytes:
    """The twelve bytes that go before `body`."""
    start = _HEAD.pack(len(body) | (_OWN if isinstance(body, InternalBatch) else 0), zlib.crc32(body))
    return start + _CHECK.pack(zlib.crc32(start))


def read(file: BinaryIO, *, closed: bool) -> Iterator[bytes | CorruptFrame]:
    """Frames from where `file` stands; it then stands behind the last one, at what is a torn tail.

    A `closed` file was sealed with whole frames only, so a torn tail is damage there. A marked body comes as `Own`.
    One body at a time is in memory.
    """
    size, position = os.fstat(file.fileno()).st_size, file.tell()
    while (left := size - position) > 0:
        length, checksum, own = _read_head(file)
        if length and length <= left - HEAD_BYTES:
            body = file.read(length)
            position += HEAD_BYTES + length
            if zlib.crc32(body) != checksum:
                yield CorruptFrame(length)
            else:
                yield InternalBatch(body) if own else body
        elif closed or (not length and left >= HEAD_BYTES):
            position = file.seek(size)
            yield CorruptFrame(left)
        else:
            file.seek(position)
            return


def _read_head(file: BinaryIO) -> tuple[int, int, bool]:
    """Length and checksum of the next body, and whether it is our own; length 0 where no sound head stands."""
    raw = file.read(HEAD_BYTES)
    if len(raw) < HEAD_BYTES or _CHECK.unpack_from(raw, _HEAD.size)[0] != zlib.crc32(raw[: _HEAD.size]):
        return 0, 0, False
    marked, checksum = _HEAD.unpack_from(raw)
    length = marked & ~_OWN
    return (length, checksum, marked != length) if length <= MAX_BODY_BYTES else (0, 0, False)
