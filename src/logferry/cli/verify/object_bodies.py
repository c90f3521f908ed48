"""Bodies of the objects of a bucket, for the scan, and complete objects with their metadata.

Guarantees:
- Every object is listed once. Markers and compacted files are no objects.
- A body that cannot be read is None. The complete read then names the reason.

Design: the scan needs no metadata. Objects are therefore read through the cache and the concurrent
GETs of `logferry.cli.fetch`, and only those with a fault are read with the AWS SDK.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from logferry.cli.fetch.fetch import open_source
from logferry.cli.fetch.request_usage import check_price
from logferry.cli.fetch.selection import COMPACT, ListRange
from logferry.cli.object_names import is_marker
from logferry.cli.object_reader import open_destination

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.fetch.source import ListedObject, Source
    from logferry.cli.stored_objects import Destination

COMPACTED = f"{COMPACT}/"


@contextlib.asynccontextmanager
async def open_bodies(
    url: str, confirm: Callable[[str], bool] | None
) -> AsyncIterator[tuple[BucketBodies, Destination]]:
    """Yield the bodies of a bucket's prefix, and its reader of complete objects. Raise DestinationError.

    `confirm` answers the question before an expensive read. Without it, such a read raises an error.
    """
    async with open_source(url) as source, open_destination(url) as complete:
        yield BucketBodies(source, confirm), complete


class BucketBodies:
    """The objects under a prefix of a bucket."""

    def __init__(self, source: Source, confirm: Callable[[str], bool] | None) -> None:
        self.source = source
        self.listed: Sequence[ListedObject] = ()
        """All list entries, with those of compacted files."""
        self._confirm = confirm
        self._by_key: dict[str, ListedObject] = {}

    async def keys(self, stored_since: datetime | None, selection: Selection) -> list[str]:
        """Return the key of every object of the functions, or of those stored since a time. Raise DestinationError."""
        self.listed = [each async for page in self.source.objects(ListRange("")) for each in page]
        self._by_key = {
            each.key: each
            for each in self.listed
            if not each.name.startswith(COMPACTED)
            and selection.has_name(each.name)
            and not is_marker(each.name)
            and (stored_since is None or each.stored_at >= stored_since)
        }
        check_price(sum(not self.source.is_cached(each) for each in self._by_key.values()), self._confirm)
        return [*self._by_key]

    async def body(self, key: str) -> bytes | None:
        """Return the stored body of an object, or None if it cannot be read. Raise DestinationError."""
        try:
            path = await self.source.fetch(self._by_key[key])
            return path.read_bytes()
        except (OSError, ValueError):
            return None
