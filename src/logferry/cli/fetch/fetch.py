"""Fetch of a selection: list, ask before an expensive read, and fetch what is not in the cache.

Guarantees:
- The result has a file for each readable object, and the reason of each unreadable one.
- Objects of `file://` destinations are read in place.
- An object is read once: from the Parquet file whose manifest names it, or as a raw object.
- An object of the fallback destination is read unless the first destination has a readable one of the same name.
- An error of the destination raises `DestinationError` with one sentence and its remedy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logferry import destination
from logferry.cli.fetch.cache import Cache, cache_folder
from logferry.cli.fetch.directory import DirectorySource, is_missing_directory
from logferry.cli.fetch.download import download, has_place
from logferry.cli.fetch.listing import list_selection
from logferry.cli.fetch.manifests import read_manifests
from logferry.cli.fetch.request_usage import RequestUsage, check_price
from logferry.cli.fetch.selection import Selection
from logferry.cli.object_names import looks_like_logferry
from logferry.cli.stored_objects import DestinationError, check_bucket
from logferry.settings_validation import aws_mistakes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from logferry.cli.fetch.compacted_hours import CompactedHour, RawObject
    from logferry.cli.fetch.listing import Listing
    from logferry.cli.fetch.source import Source


@dataclass(frozen=True)
class FetchedObject:
    """A raw object and its local file."""

    raw: RawObject
    path: Path


@dataclass(frozen=True)
class FetchedHour:
    """A compacted hour: the local Parquet file and the parsed manifest."""

    hour: CompactedHour
    path: Path
    manifest: Mapping[str, Any]


@dataclass
class Fetched:
    """The files of a selection. `unreadable` has pairs of key and reason."""

    url: str
    selection: Selection
    usage: RequestUsage
    objects: list[FetchedObject] = field(default_factory=list)
    compacted: list[FetchedHour] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    clock_offset: timedelta = timedelta()
    """S3's clock minus that of this machine."""
    late: int = 0
    """Raw objects that were stored after the compaction of their hour, and that are read raw."""

    @property
    def bytes(self) -> int:
        """The stored size of the read files, in bytes."""
        return sum(each.raw.listed.size for each in self.objects) + sum(
            each.hour.parquet.size for each in self.compacted
        )


@dataclass(frozen=True)
class Dialogue:
    """How a fetch talks to the terminal: a confirmation, and the progress of lists and GETs."""

    confirm: Callable[[str], bool] | None = None
    """Function that asks a question. None means that an expensive read raises an error."""
    listed: Callable[[int], None] = lambda _: None
    fetched: Callable[[int, int], None] = lambda _done, _total: None


@contextlib.asynccontextmanager
async def open_source(url: str, usage: RequestUsage | None = None) -> AsyncIterator[Source]:
    """Yield the source of a destination URL. Raise DestinationError."""
    usage = usage or RequestUsage()
    try:
        place = destination.parse_readable(url)
    except ValueError as error:
        raise DestinationError(f"{url!r} is not a valid destination: {error}") from error
    check_bucket(url, place.bucket)
    if mistakes := [*aws_mistakes(place, os.environ)]:
        raise DestinationError(f"cannot read {url}: {'; '.join(mistakes)}")
    if place.scheme == "file":
        yield DirectorySource(Path(place.path), usage)
        return
    from logferry.cli.fetch.bucket import open_bucket  # noqa: PLC0415 - takes 0.5 s

    cache = Cache(cache_folder(), place.bucket)
    try:
        async with open_bucket(place.bucket, place.path, cache=cache, usage=usage) as bucket:
            yield bucket
    finally:
        await asyncio.to_thread(cache.trim)


def fetch(
    url: str,
    selection: Selection | None = None,
    *,
    dialogue: Dialogue | None = None,
    raw_only: bool = False,
    fallback: str = "",
) -> Fetched:
    """Return the files of a selection (default: of the complete destination).

    With `raw_only`, compacted hours are read from their raw objects. `fallback` is the fallback destination, whose raw
    objects are read too. Raise DestinationError.
    """
    return asyncio.run(
        _fetch(url, selection or Selection(), dialogue or Dialogue(), raw_only=raw_only, fallback=fallback)
    )


async def _fetch(url: str, selection: Selection, dialogue: Dialogue, *, raw_only: bool, fallback: str) -> Fetched:
    usage = RequestUsage()
    async with open_source(url, usage) as source:
        listing = await list_selection(source, selection, raw_only=raw_only, update=dialogue.listed)
        fetched = await fetch_listing(source, listing, selection, dialogue)
    if fallback and not is_missing_directory(fallback):
        await _add_fallback(fetched, fallback, dialogue)
    return fetched


async def _add_fallback(fetched: Fetched, url: str, dialogue: Dialogue) -> None:
    """Add the objects of the fallback destination that the first destination does not have. Raise DestinationError."""
    known = {each.raw.listed.name for each in fetched.objects}
    known |= {name for each in fetched.compacted for name, _etag, _size in each.manifest["objects"]}
    async with open_source(url, fetched.usage) as source:
        listing = await list_selection(source, fetched.selection, raw_only=True, update=dialogue.listed)
        listing.raw = [each for each in listing.raw if each.listed.name not in known]
        second = await fetch_listing(source, listing, fetched.selection, dialogue)
    fetched.objects += second.objects
    fetched.unreadable += second.unreadable
    fetched.foreign += second.foreign


async def fetch_listing(
    source: Source, listing: Listing, selection: Selection, dialogue: Dialogue | None = None
) -> Fetched:
    """Fetch what a listing contains. Raise DestinationError."""
    dialogue = dialogue or Dialogue()
    _check_price(source, listing, dialogue)
    fetched = Fetched(source.url, selection, source.usage, foreign=listing.foreign, clock_offset=source.clock_offset)
    manifests = await read_manifests(source, listing)
    fetched.unreadable += manifests.unreadable
    fetched.late = manifests.late
    hours, raw = manifests.hours, manifests.raw
    wanted = [each.listed for each in raw] + [each.parquet for each, _ in hours]
    done = await download(source, wanted, dialogue.fetched)
    fetched.unreadable += done.unreadable
    raw = [each for each in raw if not _is_foreign(each, done.files, fetched.foreign)]
    fetched.objects = [
        FetchedObject(each, done.files[each.listed.key]) for each in raw if each.listed.key in done.files
    ]
    fetched.compacted = [
        FetchedHour(each, done.files[each.parquet.key], manifest)
        for each, manifest in hours
        if each.parquet.key in done.files
    ]
    return fetched


def _is_foreign(raw: RawObject, files: Mapping[str, Path], foreign: list[str]) -> bool:
    """Return whether another program wrote an object, and note its name.

    A name in the form of the default key is sufficient. Otherwise, the first line decides.
    """
    path = files.get(raw.listed.key)
    if path is None or looks_like_logferry(raw.listed.name) or has_place(path, raw.listed.name):
        return False
    foreign.append(raw.listed.name)
    return True


def _check_price(source: Source, listing: Listing, dialogue: Dialogue) -> None:
    """Ask before an expensive read. Raise ExpensiveReadError."""
    if source.is_local:
        return
    wanted = [each.listed for each in listing.raw]
    wanted += [file for each in listing.compacted for file in (each.parquet, each.manifest)]
    check_price(sum(not source.is_cached(each) for each in wanted), dialogue.confirm)
