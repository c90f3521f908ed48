"""The store of a destination URL: a directory or a bucket prefix."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from logferry import destination
from logferry.cli.compact.directory_store import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from logferry.cli.compact.store import Store


@contextlib.asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Yield the store of a destination URL, which has been read before. Raise DestinationError."""
    place = destination.parse_readable(url)
    if place.scheme == "file":
        yield DirectoryStore(Path(place.path))
        return
    from logferry.cli.compact.bucket_store import open_bucket_store  # noqa: PLC0415 - takes 0.3 s

    async with open_bucket_store(place.bucket, place.path) as store:
        yield store
