"""Partitions of a destination: the objects of a function and an hour, and what has to be done with them. Pure.

Guarantees:
- A partition is left alone until its hour has been over for the grace period, because objects can be
  late.
- The same inputs give the same hash, whatever the order of the list is.

Design: an object that the manifest names and that is no longer listed was deleted after its proof, so
it stays an input. A day that has one file is one partition.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from logferry.cli.fetch.selection import COMPACT, place_of
from logferry.cli.object_names import is_marker, looks_like_logferry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.fetch.source import ListedObject

PARQUET_NAME = "logs.parquet"
MANIFEST_NAME = "_manifest.json"


class Input(NamedTuple):
    """An object of a partition: its name relative to the destination, its ETag and its size in bytes."""

    name: str
    etag: str
    size: int


@dataclass(frozen=True, order=True)
class Partition:
    """A function and an hour (two digits), or a complete day if `hour` is empty."""

    function: str
    dt: str
    hour: str

    def __str__(self) -> str:
        """Return the partition for messages."""
        return f"{self.function} {self.dt}" + (f" {self.hour}:00" if self.hour else "")

    @property
    def folder(self) -> str:
        """The folder of its Parquet file and its manifest, relative to the destination."""
        hour = f"/hour={self.hour}" if self.hour else ""
        return f"{COMPACT}/function={self.function}/dt={self.dt}{hour}"

    @property
    def day(self) -> Partition:
        """The day of the partition."""
        return Partition(self.function, self.dt, "")

    def is_over(self, now: datetime, grace: timedelta) -> bool:
        """Return whether the hour or the day ended at least `grace` ago."""
        length = timedelta(hours=1) if self.hour else timedelta(days=1)
        try:
            begin = datetime.fromisoformat(f"{self.dt}T{self.hour or '00'}:00").replace(tzinfo=UTC)
        except ValueError:  # a day that does not exist, in a key of another program
            return False
        return now >= begin + length + grace


@dataclass(frozen=True)
class Plan:
    """The work for one partition. `new` are the objects that its file does not contain."""

    partition: Partition
    inputs: tuple[Input, ...]
    new: tuple[ListedObject, ...]
    based_on: tuple[Partition, ...] = ()
    """Partitions whose Parquet files contain the other inputs."""
    replacing: frozenset[str] = frozenset()
    """Names of new objects whose segments the existing file can already contain."""

    @property
    def hash(self) -> str:
        """The hash of the inputs."""
        return inputs_hash(self.inputs)


def by_partition(listed: Iterable[ListedObject]) -> dict[Partition, list[ListedObject]]:
    """Return the objects of each function and hour. Objects of another key template belong to none."""
    found: dict[Partition, list[ListedObject]] = defaultdict(list)
    for each in listed:
        place = None if each.name.startswith(f"{COMPACT}/") else place_of(each.name)
        if place is not None:
            found[Partition(place.function, place.dt, place.hour)].append(each)
    return dict(found)


def is_unplaced(listed: ListedObject) -> bool:
    """Return whether an object of logferry has another key template than the default, which has the partition."""
    return not is_marker(listed.name) and place_of(listed.name) is None and looks_like_logferry(listed.name)


def inputs_hash(inputs: Iterable[Input]) -> str:
    """Return the SHA-256 of the sorted inputs."""
    lines = sorted(f"{each.name}\t{each.etag}\t{each.size}\n" for each in inputs)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def plan(
    partition: Partition, listed: Sequence[ListedObject], known: Sequence[Input] | None, *, unfinished: bool = False
) -> Plan | None:
    """Return what has to be done with a partition, or None if its file is up to date.

    `known` has the inputs of the existing file, if there is one. `unfinished` is a file whose manifest is older.
    """
    old = {each.name: each for each in known or ()}
    inputs = old | {each.name: Input(each.name, each.etag, each.size) for each in listed}
    new = tuple(each for each in listed if old.get(each.name) != inputs[each.name])
    if not new and not unfinished:
        return None
    replacing = frozenset(each.name for each in new if unfinished or each.name in old)
    return Plan(partition, tuple(sorted(inputs.values())), new, () if known is None else (partition,), replacing)


def plan_day(day: Partition, hours: Mapping[Partition, Sequence[Input]]) -> Plan:
    """Return the plan that joins the files of the hours of a day."""
    inputs = tuple(sorted(each for hour in hours.values() for each in hour))
    return Plan(day, inputs, (), tuple(sorted(hours)))
