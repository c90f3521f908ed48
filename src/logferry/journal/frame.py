"""Frames, the format of the bodies in a segment file.

    frame   = mark (1 bit) and length (31) | crc32 of the body (u32) | crc32 of the eight bytes before (u32) | body

All integers are big-endian. The mark identifies an internal batch.

Guarantees:
- A body is returned only from a complete frame with valid checksums.
- An empty body is not a frame, so a run of zero bytes (a hole left by a crashed file system) never looks like frames.
- A torn tail is distinguished from a damaged frame. The batch of a torn tail was never answered with 200, so cutting
  it loses nothing. A frame with a valid head and a damaged body was accepted, and its loss must be counted.

Design: the checksum of the head identifies the next frame even if a body is damaged.
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
_INTERNAL = 1 << 31
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Largest body of a frame, in bytes. A batch is far smaller (Telemetry API: at most 2 x maxBytes and some metadata), so
a larger length is not a head."""


class CorruptFrame(NamedTuple):
    """Frame whose body does not match its checksum: `size` accepted bytes are lost."""

    size: int


def head(body: bytes) -> bytes:
    """Return the twelve bytes that precede `body`."""
    start = _HEAD.pack(len(body) | (_INTERNAL if isinstance(body, InternalBatch) else 0), zlib.crc32(body))
    return start + _CHECK.pack(zlib.crc32(start))


def read(file: BinaryIO, *, closed: bool) -> Iterator[bytes | CorruptFrame]:
    """Yield the bodies from the position of `file` on, one at a time, and leave `file` behind the last frame.

    A `closed` file was sealed with complete frames only, so a torn tail in it is damage. A marked body is returned as
    `InternalBatch`.
    """
    size, position = os.fstat(file.fileno()).st_size, file.tell()
    while (left := size - position) > 0:
        length, checksum, internal = _read_head(file)
        # Three cases: 1. a complete frame, 2. damage up to the end of the file, 3. a torn tail.
        if length and length <= left - HEAD_BYTES:
            body = file.read(length)
            position += HEAD_BYTES + length
            if zlib.crc32(body) != checksum:
                yield CorruptFrame(length)
            else:
                yield InternalBatch(body) if internal else body
        elif closed or (not length and left >= HEAD_BYTES):
            position = file.seek(size)
            yield CorruptFrame(left)
        else:
            file.seek(position)
            return


def _read_head(file: BinaryIO) -> tuple[int, int, bool]:
    """Return length, checksum and mark of the next body; length 0 if there is no valid head."""
    raw = file.read(HEAD_BYTES)
    if len(raw) < HEAD_BYTES or _CHECK.unpack_from(raw, _HEAD.size)[0] != zlib.crc32(raw[: _HEAD.size]):
        return 0, 0, False
    marked, checksum = _HEAD.unpack_from(raw)
    length = marked & ~_INTERNAL
    return (length, checksum, marked != length) if length <= MAX_BODY_BYTES else (0, 0, False)
