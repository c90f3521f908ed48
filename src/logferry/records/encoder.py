"""Segment to object: key, body, metadata. Pure: the same segment always gives the same key and the same bytes.

Guarantees:
- A repeated upload overwrites its object. After an ambiguous failure (a lost response, a freeze in the middle of a
  request) the same PUT creates no duplicate.
- The last line of each object is `logferry.segment` or `logferry.final`. Its number is the number of records plus one.
- Memory is bounded by the compressed size: bodies are read one at a time and compressed as they come.

Design: there is no clock and no random number here, and the gzip header carries no time. The object has no
Content-Encoding: some readers decode by it, some by the name, and some do both.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from logferry.records import decoder
from logferry.records.fast_path import MIN_BATCH_BYTES
from logferry.records.internal import FINAL, SEGMENT, closing_record
from logferry.records.lines import Lines
from logferry.records.model import StoredObject, iso
from logferry.records.object_key import render_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logferry.records import fast_path
    from logferry.records.model import Header
    from logferry.records.zstd_packing import Packer, Packing

BLOCK_CHARACTERS = 64 * 1024
"""Size of a block that is compressed at once, in characters. A batch of a hundred thousand short records does not
become as many lines in memory, and a block that stays in the processor's cache is faster."""
GZIP_LEVEL = 1
"""Compression level: 3.1 times smaller instead of 3.3 at level 6, for a third of the CPU time."""
GZIP_TYPE = "application/gzip"
_GZIP_WINDOW = 31


def _plain_lines(header: Header, types: frozenset[str], _bodies: Iterable[bytes]) -> Lines:
    return Lines(header, types)


def encode(
    header: Header,
    bodies: Iterable[bytes],
    *,
    final: bool,
    key: str,
    compress: bool,
    types: frozenset[str],
    make_lines: Callable[[Header, frozenset[str], Iterable[bytes]], Lines] = _plain_lines,
    packing: Packing | None = None,
    fallback: bool = False,
    min_batch_bytes: int = MIN_BATCH_BYTES,
) -> StoredObject:
    """Return the object of a segment. `types` are the platform's record types to keep.

    `compress` chooses gzip, and `packing` is given for another compression.
    `fallback` marks the object in its metadata and in its closing line, for the fallback destination.
    `make_lines` is given if records are selected, masked or extended (`processing`). It may iterate over `bodies` too.
    `min_batch_bytes` is set only in tests, as in `decoder.Reader`; the bytes do not depend on it.
    """
    lines = make_lines(header, types, bodies)
    packer: Packer | None = packing.make() if packing else None
    if compress and not packing:
        packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    found = decoder.read_all(bodies, min_batch_bytes=min_batch_bytes)
    blocks = _blocks(_all_lines(lines, found, header, final=final, fallback=fallback))
    parts = [packer.compress(block) if packer else block for block in blocks]
    if packer:
        parts.append(packer.flush())
    opened = iso(header.opened_ms)
    return StoredObject(
        key=render_key(key, header, lines.key_time, lines.key_request_id),
        body=b"".join(parts),
        metadata={
            "format": lines.FORMAT,
            "environment": header.origin.environment,
            "segment": str(header.number),
            "records": str(lines.records),
            "first-time": lines.earliest or opened,
            "last-time": lines.latest or opened,
        }
        | {name: str(number) for name, number in lines.counts().items()}
        | ({"fallback": "true"} if fallback else {})
        | ({"final": "true"} if final else {}),
        content_type=packing.content_type if packing else GZIP_TYPE if compress else lines.CONTENT_TYPE,
    )


def _all_lines(
    lines: Lines,
    found: Iterable[decoder.Event | fast_path.RecordRun],
    header: Header,
    *,
    final: bool,
    fallback: bool,
) -> Iterator[str]:
    """Yield the lines of the records and the closing line."""
    yield from lines.of(found)
    opened = iso(header.opened_ms)
    first, last = lines.earliest or opened, lines.latest or opened
    more = lines.closing_members() | ({"fallback": True} if fallback else {})
    record = closing_record(header, records=lines.records, first=first, last=last, more=more)
    yield lines.closing(FINAL if final else SEGMENT, record)


def _blocks(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield the same text in fewer pieces, encoded."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= BLOCK_CHARACTERS:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
