"""Selection of objects by function and time, and the lists that find them. Pure.

Guarantees:
- An object with a record in the selection is selected, with one exception: a record can be in an
  object of a later hour (`platform.report` after a freeze). `--until` can exclude such an object.
- An unknown place or time never excludes an object.

Design: the default key has function, date, hour and the time of the first record. Its lexical order
is the order of time, so a list can start after a key. The time of the last record is not in the
key. It is not later than the time at which S3 stored the object, which each list entry contains.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from logferry.cli.verify.window import EVERYTHING, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPACT = "compact"
"""Folder of the compacted hours, relative to the destination."""
CLOCK_TOLERANCE = timedelta(minutes=2)
"""Largest difference between the clock of the platform, which sets the times of records, and that
of S3."""
MAX_DAY_LISTS = 32
"""Largest number of days that are listed concurrently. More days of a function are one list."""

_PLACE = re.compile(r"function=([^/]*)/dt=(\d{4}-\d\d-\d\d)/hour=(\d\d)/(?:.*/)?([^/]+)", re.ASCII | re.DOTALL)
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)Z-", re.ASCII)
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Place:
    """Function, date and hour of an object by its key, and the time of its first record."""

    function: str
    dt: str
    hour: str
    first_time: datetime | None


@dataclass(frozen=True)
class ListRange:
    """One list: keys under a prefix, after `start_after`, up to `stop_at` (both may be empty)."""

    prefix: str
    start_after: str = ""
    stop_at: str = ""


@dataclass(frozen=True)
class Selection:
    """The objects of functions whose names match a glob, with records in a time window."""

    function: str = "*"
    window: Window = EVERYTHING

    @property
    def literal_function(self) -> str:
        """The name of the only function, or an empty string for a glob."""
        return "" if _GLOB.search(self.function) else self.function

    def has_function(self, name: str) -> bool:
        """Return whether the name of a function matches."""
        return fnmatch.fnmatchcase(name, self.function)

    def has_name(self, name: str) -> bool:
        """Return whether an object is of a selected function. One of another key template is."""
        place = place_of(name) if self.function != "*" else None
        return place is None or self.has_function(place.function)

    def may_contain(self, place: Place | None, stored_at: datetime) -> bool:
        """Return whether an object with this place can have selected records."""
        since, until = self.window.since, self.window.until
        if since is not None and stored_at < since - CLOCK_TOLERANCE:
            return False
        if place is None:
            return True
        if until is not None and place.first_time is not None and place.first_time > until:
            return False
        return self.has_function(place.function)


def place_of(name: str) -> Place | None:
    """Return the place of a key relative to the destination, or None for another template."""
    match = _PLACE.fullmatch(name)
    if match is None:
        return None
    function, dt, hour, file = match.groups()
    time = _TIME.match(file)
    return Place(function, dt, hour, _first_time(dt, time) if time else None)


def ranges_of_function(folder: str, window: Window, *, now: datetime) -> Iterator[ListRange]:
    """Yield the lists of one function whose keys begin with `folder`, such as `function=orders/`.

    Without a limit, the complete folder is one list.
    """
    since = window.since - CLOCK_TOLERANCE if window.since else None
    until = window.until
    # 1. The first day is unknown: one list.
    if since is None:
        yield ListRange(folder, stop_at=_stop(folder, until))
        return
    last = (until or now + timedelta(days=1)).date()
    days = (last - since.date()).days + 1
    # 2. Many days: one list that starts in the first hour.
    if days > MAX_DAY_LISTS:
        yield ListRange(folder, start_after=_start(folder, since), stop_at=_stop(folder, until))
        return
    # 3. A list for each day.
    for number in range(days):
        prefix = f"{folder}dt={since.date() + timedelta(days=number)}/"
        start = _start(folder, since) if number == 0 else ""
        yield ListRange(prefix, start_after=start, stop_at=_stop(folder, until))


def _start(folder: str, since: datetime) -> str:
    """Return the key before the hour of a time. An object has records of one hour."""
    return f"{folder}dt={since:%Y-%m-%d}/hour={since:%H}/"


def _stop(folder: str, until: datetime | None) -> str:
    """Return the key after the last object of an hour. The time in the name is compared later."""
    return f"{folder}dt={until:%Y-%m-%d}/hour={until:%H}0" if until else ""


def _first_time(dt: str, time: re.Match[str]) -> datetime | None:
    try:
        return datetime.strptime(f"{dt}{time[1]}{time[2]}{time[3]}", "%Y-%m-%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
