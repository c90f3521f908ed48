"""Lists of a destination: the raw objects and the compacted hours of a selection.

Guarantees:
- With the default key, only the folders of the selected functions and days are listed. Objects of
  another key template are listed completely.
- The raw objects of an hour with a manifest are returned with that hour, and not among the others.
- Markers (`_SUCCESS`) are ignored. Objects of other programs, by their name, are returned
  separately.

Design: lists are sequential pages, so the days of a function are listed concurrently.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from logferry.cli.fetch.compacted_hours import CompactedHour, RawObject, compacted_hours
from logferry.cli.fetch.concurrency import gathered
from logferry.cli.fetch.selection import COMPACT, ListRange, place_of, ranges_of_function
from logferry.cli.object_names import is_marker, looks_like_logferry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.fetch.source import ListedObject, Source

CONCURRENT_LISTS = 16
MAX_SPLIT_FUNCTIONS = 16
"""Largest number of functions whose days are listed separately when no time limits them."""

_FUNCTION = re.compile(r"function=([^/]*)/")
_LINES_SUFFIXES = (".ndjson", ".ndjson.gz", ".ndjson.zst", ".json", ".json.gz", ".jsonl", ".jsonl.gz", ".gz")


@dataclass
class Listing:
    """Result of the lists. `foreign` has the names of objects that logferry did not write."""

    raw: list[RawObject] = field(default_factory=list)
    compacted: list[CompactedHour] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


async def list_selection(
    source: Source,
    selection: Selection,
    *,
    raw_only: bool = False,
    now: datetime | None = None,
    update: Callable[[int], None] = lambda _: None,
) -> Listing:
    """Return the objects of a selection. `update` receives the number of listed objects.

    With `raw_only`, compacted hours are ignored and all raw objects are returned.
    Raise DestinationError.
    """
    limit = asyncio.Semaphore(CONCURRENT_LISTS)
    now = now or datetime.now(UTC)
    run = _Lists(source, selection, now, limit, update)
    found = await run.raw()
    compacted = [] if raw_only else await run.compacted()
    return _without_compacted(found, compacted, selection)


class _Lists:
    """The lists of one selection."""

    def __init__(
        self,
        source: Source,
        selection: Selection,
        now: datetime,
        limit: asyncio.Semaphore,
        update: Callable[[int], None],
    ) -> None:
        self._source = source
        self._selection = selection
        self._now = now
        self._limit = limit
        self._update = update
        self._listed = 0
        self._has_compacted = True
        self._direct: Sequence[ListedObject] = ()

    async def raw(self) -> list[ListedObject]:
        """Return the objects outside the folder of compacted hours."""
        # 1. One function with the default key.
        literal = self._selection.literal_function
        if literal and (found := await self._function(f"function={literal}/")):
            return found
        # 2. Several functions, or another key template.
        root = await self._folder("")
        self._has_compacted = f"{COMPACT}/" in root
        wanted = [folder for folder in root if self._is_wanted(folder) and folder != f"function={literal}/"]
        direct = self._direct
        return [*direct, *await self._gather([self._function(folder) for folder in wanted])]

    async def compacted(self) -> list[ListedObject]:
        """Return the Parquet files and manifests of the selected functions."""
        if not self._has_compacted:
            return []
        if literal := self._selection.literal_function:
            return await self._function(f"{COMPACT}/function={literal}/")
        folders = [
            each for each in await self._folder(f"{COMPACT}/") if self._is_wanted(each.removeprefix(f"{COMPACT}/"))
        ]
        return await self._gather([self._function(folder) for folder in folders])

    def _is_wanted(self, folder: str) -> bool:
        function = _FUNCTION.fullmatch(folder)
        if function:
            return self._selection.has_function(function[1])
        return folder != f"{COMPACT}/" and not is_marker(folder.removesuffix("/"))

    async def _folder(self, prefix: str) -> Sequence[str]:
        content = await self._source.folder(prefix)
        self._direct = content.objects
        return content.folders

    async def _function(self, folder: str) -> list[ListedObject]:
        """Return the objects of one function, or of another folder of the destination."""
        window = self._selection.window
        if not _FUNCTION.search(folder):
            return await self._one(ListRange(folder))
        ranges = list(ranges_of_function(folder, window, now=self._now))
        if len(ranges) == 1 and not ranges[0].start_after and not self._source.is_local:
            ranges = await self._days(ranges[0])
        return await self._gather([self._one(each) for each in ranges])

    async def _days(self, complete: ListRange) -> list[ListRange]:
        """Return a list for each day of a function, if one function is selected."""
        if not self._selection.literal_function:
            return [complete]
        days = (await self._source.folder(complete.prefix)).folders
        return [
            ListRange(day, stop_at=complete.stop_at) for day in days if not complete.stop_at or day <= complete.stop_at
        ]

    async def _one(self, listed: ListRange) -> list[ListedObject]:
        found: list[ListedObject] = []
        async with self._limit:
            async for page in self._source.objects(listed):
                found += page
                self._listed += len(page)
                self._update(self._listed)
        return found

    @staticmethod
    async def _gather(lists: Iterable[Coroutine[Any, Any, list[ListedObject]]]) -> list[ListedObject]:
        return [each for found in await gathered(lists) for each in found]


def _without_compacted(
    found: Sequence[ListedObject], compacted: Sequence[ListedObject], selection: Selection
) -> Listing:
    """Return the listing: compacted hours, and the raw objects of all other hours."""
    listing = Listing(compacted=compacted_hours(compacted, selection))
    hours = {(each.function, each.dt, each.hour): each for each in listing.compacted}
    for each in found:
        if is_marker(each.name):
            continue
        if not each.name.endswith(_LINES_SUFFIXES) and not looks_like_logferry(each.name):
            listing.foreign.append(each.name)
            continue
        place = place_of(each.name)
        if not selection.may_contain(place, each.stored_at):
            continue
        hour = place and (
            hours.get((place.function, place.dt, place.hour)) or hours.get((place.function, place.dt, ""))
        )
        (hour or listing).raw.append(RawObject(each, place))
    listing.raw.sort(key=lambda each: each.listed.key)
    return listing
