"""Writes and conditional deletes in a directory.

Guarantees:
- A reader sees the old or the new file, never a part of one: a file is renamed when it is complete.
- A file is deleted only if its time and its size are those that were read.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from logferry.cli.compact.store import CHUNK_BYTES
from logferry.cli.local_files import METADATA_SUFFIX
from logferry.cli.stored_objects import DestinationError, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from logferry.cli.compact.partition import Input


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
