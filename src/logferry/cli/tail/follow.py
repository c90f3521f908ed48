"""Which lists a poll needs, which objects are new, and how long to wait. Pure.

Guarantees:
- An object is new once, whatever the lists return.
- A poll has at most two lists for each function: the current hour, and for some minutes the hour
  before.
- An object that is stored late is found, also if its key is before the start of the usual list.

Design: the usual list starts at the keys of `LOOK_BACK` ago, so that it has few entries. Keys have
the time of the first record, and a record can wait until its environment runs again. Every
`WIDE_SECONDS`, a poll therefore starts at the keys of `WIDE_LOOK_BACK` ago. An object that waited
for longer is not found. `logferry logs` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from logferry.cli.fetch.selection import ListRange, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from logferry.cli.fetch.source import ListedObject

LOOK_BACK = timedelta(minutes=2)
"""Age of the oldest key in the usual list. The adaptive policy keeps records up to 60 s."""
WIDE_SECONDS = 30.0
"""Time between two polls with the longer look-back, in seconds."""
WIDE_LOOK_BACK = timedelta(minutes=59)
"""Age of the oldest key in such a poll. Below one hour, it needs at most two lists."""
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 5.0
"""Time between two polls: the first after new objects, and the longest without any."""
MAX_KEYS = 10_000
"""Number of known keys, about 1 MB, after which those of past hours are removed."""
_BACKOFF = 1.3


@dataclass(frozen=True)
class NewObject:
    """An object that no poll has returned before. `late` is the time between first record and storage."""

    listed: ListedObject
    late: timedelta | None


class Follower:
    """State of one `tail`. All times are those of S3's clock.

    Objects that were stored since `since` are shown. Without it, those of the first poll are known and
    not shown.
    """

    def __init__(self, *, since: datetime | None, started: datetime) -> None:
        # S3 returns times in complete seconds.
        self._earliest = (since or started).replace(microsecond=0)
        self._shows = since is not None
        self._seen: set[str] = set()
        self._last_wide: datetime | None = None
        self._wait = MIN_WAIT_SECONDS
        self._forget_at = MAX_KEYS
        self.last_stored: datetime | None = None
        """Time at which the newest listed object was stored."""

    def ranges(self, function: str, now: datetime, *, wide: bool) -> Iterator[ListRange]:
        """Yield the lists of a poll for one function: its hours since the look-back."""
        earliest = now - (WIDE_LOOK_BACK if wide else LOOK_BACK)
        hour = earliest.replace(minute=0, second=0, microsecond=0)
        while hour <= now:
            prefix = f"function={function}/dt={hour:%Y-%m-%d}/hour={hour:%H}/"
            # A name continues after the time, so that an object of the same second is behind this key.
            yield ListRange(prefix, start_after=f"{prefix}{earliest:%H%M%S}" if hour <= earliest else "")
            hour += timedelta(hours=1)

    def is_wide(self, now: datetime) -> bool:
        """Return whether this poll has the longer look-back, and note it."""
        if self._last_wide is not None and (now - self._last_wide).total_seconds() < WIDE_SECONDS:
            return False
        self._last_wide = now
        return True

    def take(self, entries: Iterable[ListedObject], now: datetime) -> list[NewObject]:
        """Return the new objects of a poll, in the order of their keys."""
        found = []
        for each in sorted(entries, key=lambda entry: entry.key):
            self.last_stored = max(self.last_stored or each.stored_at, each.stored_at)
            if each.key in self._seen:
                continue
            self._seen.add(each.key)
            if self._shows and each.stored_at >= self._earliest:
                found.append(NewObject(each, _late(each)))
        self._shows = True
        self._forget(now)
        self._wait = MIN_WAIT_SECONDS if found else min(self._wait * _BACKOFF, MAX_WAIT_SECONDS)
        return found

    @property
    def wait_seconds(self) -> float:
        """The time until the next poll, in seconds."""
        return self._wait

    def _forget(self, now: datetime) -> None:
        """Remove keys of hours that are not listed any more."""
        if len(self._seen) < self._forget_at:
            return
        self._seen = {key for key in self._seen if not _is_before(key, now - 2 * WIDE_LOOK_BACK)}
        self._forget_at = 2 * len(self._seen) + MAX_KEYS


def _is_before(key: str, time: datetime) -> bool:
    place = place_of(key[max(0, key.find("function=")) :])
    return place is not None and place.first_time is not None and place.first_time < time


def _late(listed: ListedObject) -> timedelta | None:
    """Return how late an object was stored, if it is later than the usual list would find it."""
    place = place_of(listed.name)
    if place is None or place.first_time is None:
        return None
    waited = listed.stored_at - place.first_time
    return waited if waited > LOOK_BACK else None
