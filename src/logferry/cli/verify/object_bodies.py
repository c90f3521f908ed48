"""Bodies of the objects of a destination, for the scan, and complete objects with their metadata.

Guarantees:
- Every object is listed once. Markers and compacted files are no objects.
- A body that cannot be read is None. The complete read then names the reason.

Design: the scan needs no metadata. Objects of a bucket are therefore read through the cache and the
concurrent GETs of `logferry.cli.fetch`, and only those with a fault are read with the AWS SDK.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from logferry import destination
from logferry.cli.directory_reader import Directory
from logferry.cli.fetch.fetch import open_source
from logferry.cli.fetch.request_usage import check_price
from logferry.cli.fetch.selection import COMPACT, ListRange, place_of
from logferry.cli.object_names import is_marker
from logferry.cli.object_reader import open_destination

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.fetch.source import ListedObject, Source
    from logferry.cli.stored_objects import Destination

COMPACTED = f"{COMPACT}/"


class Bodies(Protocol):
    """The objects of a destination."""

    source: Source
    listed: Sequence[ListedObject]
    """All list entries, with those of compacted files."""

    async def keys(self, stored_since: datetime | None, selection: Selection) -> list[str]:
        """Return the key of every object of the functions, or of those stored since a time. Raise DestinationError."""
        ...

    async def body(self, key: str) -> bytes | None:
        """Return the stored body of an object, or None if it cannot be read. Raise DestinationError."""
        ...


@contextlib.asynccontextmanager
async def open_bodies(url: str, confirm: Callable[[str], bool] | None) -> AsyncIterator[tuple[Bodies, Destination]]:
    """Yield the bodies of a destination, and its reader of complete objects. Raise DestinationError.

    `confirm` answers the question before an expensive read. Without it, such a read raises an error.
    """
    async with open_source(url) as source, open_destination(url) as complete:
        place = destination.parse_readable(url)
        local = place.scheme == "file"
        yield _DirectoryBodies(source, Path(place.path)) if local else _BucketBodies(source, confirm), complete


class _DirectoryBodies:
    """The files of a directory. A file of metadata without an object is listed too."""

    def __init__(self, source: Source, root: Path) -> None:
        self.source = source
        self.listed: Sequence[ListedObject] = ()
        self._directory = Directory(root)

    async def keys(self, stored_since: datetime | None, selection: Selection) -> list[str]:
        content = await self.source.folder(COMPACTED)
        if content.folders:
            self.listed = [each async for page in self.source.objects(ListRange(COMPACTED)) for each in page]
        found = await self._directory.keys(stored_since=stored_since)
        return [key for key in found if _is_selected(key, selection)]

    async def body(self, key: str) -> bytes | None:
        return self._directory.body(key)


class _BucketBodies:
    """The objects under a prefix of a bucket."""

    def __init__(self, source: Source, confirm: Callable[[str], bool] | None) -> None:
        self.source = source
        self.listed: Sequence[ListedObject] = ()
        self._confirm = confirm
        self._by_key: dict[str, ListedObject] = {}

    async def keys(self, stored_since: datetime | None, selection: Selection) -> list[str]:
        self.listed = [each async for page in self.source.objects(ListRange("")) for each in page]
        self._by_key = {
            each.key: each
            for each in self.listed
            if _is_selected(each.name, selection)
            and not is_marker(each.name)
            and (stored_since is None or each.stored_at >= stored_since)
        }
        check_price(sum(not self.source.is_cached(each) for each in self._by_key.values()), self._confirm)
        return [*self._by_key]

    async def body(self, key: str) -> bytes | None:
        try:
            path = await self.source.fetch(self._by_key[key])
            return path.read_bytes()
        except (OSError, ValueError):
            return None


def _is_selected(name: str, selection: Selection) -> bool:
    """Return whether an object is raw, and of a selected function or of another key template."""
    place = place_of(name) if selection.function != "*" else None
    return not name.startswith(COMPACTED) and (place is None or selection.has_function(place.function))
