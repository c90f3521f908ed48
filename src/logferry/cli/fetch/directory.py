"""A directory as a source: its files are read in place."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.cli.fetch.source import Folder, ListedObject
from logferry.cli.local_files import METADATA_SUFFIX
from logferry.cli.object_limits import MAX_OBJECT_BYTES
from logferry.cli.stored_objects import DestinationError, check_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from logferry.cli.fetch.request_usage import RequestUsage
    from logferry.cli.fetch.selection import ListRange


class DirectorySource:
    """The files of a directory, without the files of the metadata."""

    is_local = True
    clock_offset = timedelta()

    def __init__(self, root: Path, usage: RequestUsage) -> None:
        if not root.is_dir():
            raise DestinationError(f"cannot read file://{root}: the directory does not exist")
        if not os.access(root, os.R_OK | os.X_OK):
            raise DestinationError(f"cannot read file://{root}: permission denied; check the mode of the directory")
        self.url = f"file://{root}"
        self.usage = usage
        self._root = root

    async def folder(self, prefix: str) -> Folder:
        """Return the direct content of a folder."""
        directory = self._root / prefix
        try:
            found = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except FileNotFoundError:
            return Folder([], [])
        except OSError as error:
            raise self._unreadable(error) from error
        folders = [f"{prefix}{entry.name}/" for entry in found if entry.is_dir()]
        files = [entry.path for entry in found if entry.is_file()]
        return Folder(folders, list(self._entries(files)))

    async def objects(self, listed: ListRange) -> AsyncIterator[Sequence[ListedObject]]:
        """Yield the files under a prefix as one page, in the order of their names."""
        paths = (
            f"{folder}/{name}"  # pathlib takes several times as long
            for folder, _, names in os.walk(self._root / listed.prefix, onerror=self._check_walk)
            for name in names
        )
        entries = sorted(self._entries(paths), key=lambda each: each.name)
        yield [
            each
            for each in entries
            if each.name > listed.start_after and (not listed.stop_at or each.name <= listed.stop_at)
        ]

    def is_cached(self, listed: ListedObject) -> bool:  # noqa: ARG002 - part of the interface
        """Return True, because a file needs no request."""
        return True

    async def fetch(self, listed: ListedObject) -> Path:
        """Return the path of a file."""
        check_size(listed.size, MAX_OBJECT_BYTES)
        return self._root / listed.name

    def _entries(self, paths: Sequence[str] | Iterator[str]) -> Iterator[ListedObject]:
        cut = len(str(self._root).rstrip("/")) + 1
        for path in paths:
            name = path[cut:]
            if name.endswith(METADATA_SUFFIX):
                continue
            try:
                status = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:
                continue  # it was removed after the list
            except OSError as error:
                raise self._unreadable(error) from error
            stored = datetime.fromtimestamp(status.st_mtime, UTC)
            yield ListedObject(name, name, status.st_size, f"{status.st_mtime_ns:x}", stored)

    def _check_walk(self, error: OSError) -> None:
        """Raise the error of a folder, which `os.walk` would leave out."""
        if not isinstance(error, FileNotFoundError):
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> DestinationError:
        return DestinationError(f"cannot read file://{self._root}: {error}; check the mode of the directory")


def is_missing_directory(url: str) -> bool:
    """Return whether a destination is a directory that does not exist. The sink makes it for the first object."""
    scheme, _, path = url.partition("://")
    return scheme == "file" and not Path(path).exists()
