"""Objects of the fallback destination in a verification of both destinations.

Guarantees:
- A segment that is in the fallback destination alone is verified like one of the first destination.
- A segment in both destinations with the same records is a copy, which is no fault. The object of the first
  destination counts. It is a fault if the records differ.
- Each object of the fallback destination is read completely, and from the first destination those with a copy.

Design: a shipper that receives no response stores the segment in the fallback destination too, so that it is never
lost and possibly in both. The key is the same under both prefixes. The closing lines differ, because that of the
fallback destination has the mark, so the lines before them are compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry import destination
from logferry.cli.fetch.directory import is_missing_directory
from logferry.cli.fetch.request_usage import check_price
from logferry.cli.fetch.selection import COMPACT
from logferry.cli.object_names import segment_in
from logferry.cli.object_reader import open_destination, read_all
from logferry.cli.stored_objects import BrokenLinesError, DestinationError, ReadObject
from logferry.cli.verify.checked_object import CheckedObject
from logferry.cli.verify.completeness import FallbackSummary, text_of
from logferry.cli.verify.object_check import check_object

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.stored_objects import Destination, UnreadableObject

Segment = tuple[str, int]


@dataclass(frozen=True)
class _Object:
    """A completely checked object, with a digest of its lines before the closing line, or None if it is damaged."""

    checked: CheckedObject
    digest: bytes | None

    @property
    def segment(self) -> Segment | None:
        return _segment_of(self.checked)


async def check_fallback(
    first: str,
    fallback: str,
    checked: Sequence[CheckedObject],
    *,
    intact: Collection[Segment],
    selection: Selection,
    stored_since: datetime | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> tuple[FallbackSummary, list[CheckedObject]]:
    """Return a summary, and the objects that are checked in addition. Raise DestinationError.

    `checked` has the objects in the first destination that were checked completely, and `intact` the segments of all
    others there.
    """
    url = fallback.rstrip("/")
    found = await _read_fallback(fallback, selection, stored_since, confirm)
    checked_keys = {each.key for each in checked}
    in_first = {*intact, *map(_segment_of, checked)}
    in_both = {name: each for name, each in found.items() if each.segment and each.segment in in_first}
    originals = await _read_originals(first, in_both)
    further: list[CheckedObject] = []
    copies, different = 0, set()
    for name, each in found.items():
        key, original = f"{url}/{name}", originals.get(name)
        # 1. A segment of the fallback destination alone. 2. A damaged copy, which proves nothing about the segment.
        # 3. A copy that cannot be compared. 4. A copy. 5. An object with other records, or one that replaces a damaged
        # original. Then both are judged together.
        if name not in in_both:
            further.append(each.checked._replace(key=key))
        elif each.checked.unreadable:
            further.append(CheckedObject(key, None, unreadable=each.checked.unreadable))
        elif original is None:
            reason = "its segment is in the first destination too, under a key that does not name it"
            further.append(CheckedObject(key, None, unreadable=reason))
        elif original.digest == each.digest and original.segment == each.segment:
            copies += 1
        else:
            further.append(each.checked._replace(key=key))
            further += [] if original.checked.key in checked_keys else [original.checked]
            if each.segment and not original.checked.unreadable:
                different.add(each.segment)
    return FallbackSummary(url, len(found), copies, tuple(sorted(different))), further


async def _read_fallback(
    url: str, selection: Selection, stored_since: datetime | None, confirm: Callable[[str], bool] | None
) -> dict[str, _Object]:
    """Return the objects of the fallback destination by name. A directory that does not exist has none yet."""
    if is_missing_directory(url):
        return {}
    async with open_destination(url) as opened:
        keys = [key for key in await opened.keys(stored_since=stored_since) if is_selected(_name(url, key), selection)]
        if _parsed(url).scheme != "file":
            check_price(len(keys), confirm)
        return await _read(opened, url, keys)


async def _read_originals(url: str, in_both: dict[str, _Object]) -> dict[str, _Object]:
    """Return the objects of the first destination by the names of their copies."""
    if not in_both:
        return {}
    async with open_destination(url) as opened:
        names = {_name(url, key): key for key in await opened.keys()}
        by_segment = {segment_in(name): key for name, key in names.items()}
        # The key is the same, unless a person has changed LOGFERRY_KEY in the meantime.
        wanted = {name: names.get(name) or by_segment.get(each.segment) for name, each in in_both.items()}
        read = await _read(opened, url, [*{key for key in wanted.values() if key}])
        return {name: read[_name(url, key)] for name, key in wanted.items() if key}


async def _read(opened: Destination, url: str, keys: Sequence[str]) -> dict[str, _Object]:
    found: dict[str, _Object] = {}

    def take(stored: ReadObject | UnreadableObject) -> None:
        checked = check_object(stored)
        if not checked.foreign:
            found[_name(url, stored.key)] = _Object(checked, _digest(stored))

    await read_all(opened, keys, take)
    return dict(sorted(found.items()))


def is_selected(name: str, selection: Selection) -> bool:
    """Return whether an object is raw, and of a selected function or of another key template."""
    return not name.startswith(f"{COMPACT}/") and selection.has_name(name)


def _digest(stored: ReadObject | UnreadableObject) -> bytes | None:
    """Return a digest of all lines but the last one."""
    if not isinstance(stored, ReadObject):
        return None
    digest = hashlib.sha256()
    last: bytes | None = None
    try:
        for line in stored.lines:
            if last is not None:
                digest.update(last + b"\n")
            last = line
    except BrokenLinesError:
        return None
    return digest.digest()


def _segment_of(checked: CheckedObject) -> Segment | None:
    place = checked.place
    return (text_of(place.environment), place.segment) if place else None


def _name(url: str, key: str) -> str:
    """Return a key relative to its destination."""
    place = _parsed(url)
    return key.removeprefix(f"{place.path}/") if place.scheme != "file" and place.path else key


def _parsed(url: str) -> destination.Destination:
    try:
        return destination.parse_readable(url)
    except ValueError as error:
        raise DestinationError(f"{url!r} is not a valid destination: {error}") from error
