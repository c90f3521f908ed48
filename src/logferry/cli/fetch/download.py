"""Concurrent fetch of listed objects, each of them verified.

Guarantees:
- At most `CONCURRENT_GETS` objects are in memory at a time.
- An unreadable object is returned with its reason, and hides no other one.
- A compressed object is complete and its checksum is correct. DuckDB does not verify it.
- A cancelled fetch leaves no partial file, because the cache renames complete files only.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.cli.fetch.concurrency import gathered
from logferry.cli.fetch.s3_failures import OBJECT_CODES, failure
from logferry.cli.stored_objects import BrokenLinesError, DestinationError, Lines, compression_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from logferry.cli.fetch.source import ListedObject, Source

CONCURRENT_GETS = 64
"""Number of concurrent GETs. It hides S3's latency of about 20 ms."""
_CHUNK_BYTES = 1 << 20
_INLINE_BYTES = 256 << 10
"""Size above which an object is verified in a thread, in bytes."""
_GZIP = 16 + zlib.MAX_WBITS


@dataclass
class Downloaded:
    """The files of the readable objects, and pairs of key and reason of the unreadable ones."""

    files: dict[str, Path]
    unreadable: list[tuple[str, str]]


async def download(
    source: Source, listed: Sequence[ListedObject], update: Callable[[int, int], None] = lambda _done, _total: None
) -> Downloaded:
    """Fetch the objects concurrently. `update` receives the number of finished objects and the total.

    Raise DestinationError if the destination cannot be read, or if access to every object is denied.
    """
    found = Downloaded({}, [])
    waiting = iter(listed)
    done = 0

    async def work() -> None:
        nonlocal done
        for each in waiting:
            try:
                path = await source.fetch(each)
                await _verify(path, each)
            except (OSError, ValueError) as error:
                found.unreadable.append((each.key, reason_of(error)))
            else:
                found.files[each.key] = path
            done += 1
            update(done, len(listed))

    await gathered(work() for _ in range(min(CONCURRENT_GETS, len(listed))))
    denied = OBJECT_CODES["AccessDenied"]
    if listed and len(found.unreadable) == len(listed) and all(reason == denied for _, reason in found.unreadable):
        raise DestinationError(failure(source.url, "AccessDenied", ""))
    found.unreadable.sort()
    return found


async def _verify(path: Path, listed: ListedObject) -> None:
    """Raise ValueError if a file has another size than the object, or damaged gzip data."""
    if listed.name.endswith(".zst"):
        await asyncio.to_thread(_verify_lines, path, listed.name)
        return
    if not listed.name.endswith(".gz"):
        return
    if listed.size <= _INLINE_BYTES:
        verify_gzip(path)
    else:
        await asyncio.to_thread(verify_gzip, path)


def _verify_lines(path: Path, name: str) -> None:
    """Raise ValueError if the lines of a file cannot be decompressed."""
    try:
        for _ in Lines(path.read_bytes(), compression=compression_of(name)):
            pass
    except BrokenLinesError as error:
        raise ValueError(str(error)) from error


def verify_gzip(path: Path) -> None:
    """Raise ValueError if a file is not complete gzip data with correct checksums."""
    with path.open("rb") as file:
        decoder = None
        data = file.read(_CHUNK_BYTES)
        if not data:
            raise ValueError("the object is empty")
        while data:
            decoder = decoder or zlib.decompressobj(_GZIP)
            try:
                _consume(decoder, data)
            except zlib.error as error:
                raise ValueError(f"damaged gzip data: {error}") from error
            data = decoder.unused_data or file.read(_CHUNK_BYTES)
            if decoder.eof:
                decoder = None
        if decoder is not None:
            raise ValueError("truncated gzip data")


def has_place(path: Path, name: str) -> bool:
    """Return whether the first line of a file has environment, segment and line, as each line of logferry."""
    try:
        lines = iter(Lines(path.read_bytes(), compression=compression_of(name)))
        first = json.loads(next(lines, b""))
    except (OSError, ValueError, RecursionError, BrokenLinesError):
        return False
    return isinstance(first, dict) and {"environment", "segment", "line"} <= first.keys()


def _consume(decoder: zlib._Decompress, data: bytes) -> None:
    """Decompress data in pieces, so that an object of zeros does not fill the memory."""
    decoder.decompress(data, _CHUNK_BYTES)
    while decoder.unconsumed_tail:
        decoder.decompress(decoder.unconsumed_tail, _CHUNK_BYTES)
