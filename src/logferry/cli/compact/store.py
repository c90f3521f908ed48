"""Writes and conditional deletes under a destination, for `s3://` and `file://`.

Guarantees:
- A reader sees the old or the new object, never a part of one: S3 stores an object as a whole, and a
  file is renamed when it is complete.
- An object is deleted only if it is still the one that was read: its ETag, or its time and size.

Design: `compact` is the only command that writes, so that the sources of `logferry.cli.fetch` have no
method that changes anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from logferry import destination
from logferry.cli.directory_reader import METADATA_SUFFIX
from logferry.cli.stored_objects import DestinationError, reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from logferry.cli.compact.partition import Input

CHUNK_BYTES = 1 << 20


class Store(Protocol):
    """A destination that can be changed. Names are relative to it."""

    async def put(self, name: str, file: Path) -> str:
        """Store a file and return its ETag. Raise DestinationError."""
        ...

    async def sha256(self, name: str) -> str:
        """Read a stored object and return its SHA-256. Raise DestinationError."""
        ...

    async def delete(self, objects: Sequence[Input]) -> list[tuple[str, str]]:
        """Delete objects that are unchanged. Return the names of the others with the reason."""
        ...


@contextlib.asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Yield the store of a destination URL, which has been read before. Raise DestinationError."""
    place = destination.parse(url)
    if place.scheme == "file":
        yield DirectoryStore(Path(place.path))
        return
    from logferry.cli.compact.bucket_store import open_bucket_store  # noqa: PLC0415 - takes 0.3 s

    async with open_bucket_store(place.bucket, place.path) as store:
        yield store


class DirectoryStore:
    """The files of a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, name: str, file: Path) -> str:
        """Store a file under another name, then rename it."""
        path = self._root / name
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _copy(file, part)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            return etag_of(path)
        except OSError as error:
            raise DestinationError(f"cannot write {path}: {error}") from error

    async def sha256(self, name: str) -> str:
        """Read a file and return its SHA-256."""
        try:
            with (self._root / name).open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise DestinationError(f"cannot read {self._root / name}: {error}") from error

    async def delete(self, objects: Sequence[Input]) -> list[tuple[str, str]]:
        """Delete files with unchanged time and size, and their metadata."""
        kept: list[tuple[str, str]] = []
        for each in objects:
            path = self._root / each.name
            try:
                if etag_of(path) != each.etag or path.stat().st_size != each.size:
                    kept.append((each.name, "it has changed since it was read"))
                    continue
                path.unlink()
                path.with_name(path.name + METADATA_SUFFIX).unlink(missing_ok=True)
            except FileNotFoundError:
                continue
            except OSError as error:
                kept.append((each.name, reason_of(error)))
        return kept


def etag_of(path: Path) -> str:
    """Return the time of a file in the form of `logferry.cli.fetch.directory`."""
    return f"{path.stat().st_mtime_ns:x}"


def _copy(source: Path, target: Path) -> None:
    """Copy a file to the disk, so that a rename does not precede its content."""
    with source.open("rb") as opened, target.open("wb") as written:
        while chunk := opened.read(CHUNK_BYTES):
            written.write(chunk)
        written.flush()
        os.fsync(written.fileno())
