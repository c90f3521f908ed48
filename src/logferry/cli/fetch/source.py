"""Interface of a destination that is listed and fetched, and the values of both. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from logferry.cli.fetch.request_usage import RequestUsage
    from logferry.cli.fetch.selection import ListRange


@dataclass(frozen=True)
class ListedObject:
    """One entry of a list. `name` is relative to the destination, `key` is complete."""

    name: str
    key: str
    size: int
    etag: str
    stored_at: datetime


@dataclass(frozen=True)
class Folder:
    """The direct content of a folder: names of folders with a final slash, and objects."""

    folders: Sequence[str]
    objects: Sequence[ListedObject]


class Source(Protocol):
    """A bucket prefix or a directory. Names and prefixes are relative to it."""

    url: str
    """The destination without a final slash."""
    is_local: bool
    """Whether the objects are files of this machine, which are read in place."""
    usage: RequestUsage
    clock_offset: timedelta
    """S3's clock minus that of this machine, according to the last response."""

    async def folder(self, prefix: str) -> Folder:
        """Return the direct content of a folder (`prefix` ends with a slash or is empty)."""
        ...

    def objects(self, listed: ListRange) -> AsyncIterator[Sequence[ListedObject]]:
        """Yield the entries of a list in pages, in the order of their keys. Raise DestinationError."""
        ...

    def is_cached(self, listed: ListedObject) -> bool:
        """Return whether the file of an object is on this machine."""
        ...

    async def fetch(self, listed: ListedObject) -> Path:
        """Return the file of an object. Raise ValueError with the reason if it is unreadable."""
        ...
