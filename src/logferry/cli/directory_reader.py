"""Reader of objects in a directory, for tests without S3 and for downloaded objects.

Design: an object is a file, and its metadata are a JSON object of strings in `<key>.meta.json`.
After a download of the object alone the second file is missing, and the metadata are empty.
"""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

from logferry.cli.local_files import METADATA_SUFFIX, object_names
from logferry.cli.object_limits import MAX_OBJECT_BYTES
from logferry.cli.stored_objects import DestinationError, UnreadableObject, check_size, decode, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from logferry.cli.stored_objects import ReadObject

MAX_METADATA_BYTES = 64 << 10
"""Maximum size of a metadata file, in bytes. S3 allows 2 KB (User Guide, "Working with object
metadata")."""


class Directory:
    """The objects of a directory: each file has its metadata in a second file."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def keys(self, *, stored_since: datetime | None = None) -> list[str]:
        """Return the path of every file. Raise DestinationError."""
        root = str(self._root)
        try:
            return sorted(object_names(root, stored_since=stored_since.timestamp() if stored_since else 0.0))
        except OSError as error:
            raise unreadable(root, error) from error

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        """Return one object, or the reason why it is unreadable."""
        return self.read_now(key)

    def read_now(self, key: str) -> ReadObject | UnreadableObject:
        """Return one object, or the reason why it is unreadable, without an event loop."""
        metadata: Mapping[str, str] = {}
        try:
            metadata = self._metadata_of(key)
            body = _content(self._root / key, MAX_OBJECT_BYTES)
        except (OSError, ValueError, RecursionError) as error:
            return UnreadableObject(key, metadata, reason_of(error))
        return decode(key, metadata, body)

    def _metadata_of(self, key: str) -> Mapping[str, str]:
        """Return the metadata of a file, which are empty after a download of the object alone."""
        path = self._root / f"{key}{METADATA_SUFFIX}"
        return _metadata(_content(path, MAX_METADATA_BYTES)) if path.exists() else {}


def unreadable(root: str, error: OSError) -> DestinationError:
    """Return the error of a directory that cannot be listed, with its remedy."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DestinationError(f"cannot read file://{root}: the directory does not exist")
    return DestinationError(f"cannot read file://{root}: {error}; check the mode of the directory")


def _content(path: Path, most: int) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a named pipe would block
        raise ValueError("it is not a regular file")
    check_size(status.st_size, most)
    return path.read_bytes()


def _metadata(text: bytes) -> dict[str, str]:
    parsed = json.loads(text)
    if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
        raise ValueError("its metadata are not a JSON object of strings")
    return parsed
