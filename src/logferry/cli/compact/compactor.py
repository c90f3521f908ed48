"""Compaction of one destination: what is written, in which order, and what is refused.

Guarantees:
- A partition is written only if each of its lines is there once. Otherwise it is refused, the object
  and the fault are named, and the other partitions are compacted.
- The manifest is written after the file, and the file is compared with the lines before and after the
  upload. After a kill at any step the old or the new file is whole, and no raw object has changed.
- A second run without new objects writes nothing. A late object changes one partition.

Design: objects that an existing file contains are not read again. The file gives their rows, which are
proven together with the new ones.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.cli.compact.manifest import Manifest, ParquetFile
from logferry.cli.compact.manifest import parse as parse_manifest
from logferry.cli.compact.parquet_build import ParquetBuild, RefusedError, sha256_of
from logferry.cli.compact.partition import (
    MANIFEST_NAME,
    PARQUET_NAME,
    Input,
    Partition,
    Plan,
    by_partition,
    is_unplaced,
    plan,
    plan_day,
)
from logferry.cli.fetch.download import download
from logferry.cli.fetch.selection import COMPACT, ListRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from logferry.cli.compact.store import Store
    from logferry.cli.fetch.selection import Selection
    from logferry.cli.fetch.source import ListedObject, Source
    from logferry.cli.proof.segment_table import SegmentRow

MAX_DAY_BYTES = 256 << 20
"""Maximum size of the files of a day that are joined to one file, in bytes."""


@dataclass(frozen=True)
class Compacted:
    """A partition with its manifest and the list entries of both files."""

    manifest: Manifest
    parquet: ListedObject
    listed: ListedObject

    @property
    def unfinished(self) -> bool:
        """Whether a run wrote the file and ended before its manifest. The file has the old rows and newer ones."""
        return (self.parquet.etag, self.parquet.size) != (self.manifest.parquet.etag, self.manifest.parquet.size)


@dataclass
class State:
    """The destination as it is: raw objects and compacted files by partition, and damaged manifests."""

    raw: dict[Partition, list[ListedObject]] = field(default_factory=dict)
    files: dict[Partition, Compacted] = field(default_factory=dict)
    unplaced: int = 0
    """Number of objects whose key has no function, date and hour, so that they belong to no partition."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Reason of each folder whose manifest cannot be read, or whose file is missing."""

    def plan(self, partition: Partition, objects: Sequence[ListedObject]) -> Plan | None:
        """Return what has to be done with a partition, or None if its file is up to date."""
        file = self.files.get(partition)
        if file is None:
            return plan(partition, objects, None)
        return plan(partition, objects, file.manifest.inputs, unfinished=file.unfinished)

    def segments(self) -> Iterable[Sequence[SegmentRow]]:
        """Return the rows of all files. A day replaces its hours."""
        return [each.manifest.segments for partition, each in self.files.items() if not self.is_joined(partition)]

    def is_joined(self, partition: Partition) -> bool:
        """Return whether a file of the complete day has replaced the file of an hour."""
        return bool(partition.hour) and partition.day in self.files


@dataclass(frozen=True)
class Written:
    """A written partition: its number of objects and rows, and the size of its file in bytes."""

    plan: Plan
    rows: int
    size: int


@dataclass
class Result:
    """The written partitions, and pairs of each refused one and the reason."""

    written: list[Written] = field(default_factory=list)
    refused: list[tuple[Partition, str]] = field(default_factory=list)


async def list_state(source: Source, selection: Selection) -> State:
    """List a destination and read its manifests. Raise DestinationError."""
    listed = [each async for page in source.objects(ListRange("")) for each in page]
    return await read_state(source, listed, selection)


async def read_state(source: Source, listed: Sequence[ListedObject], selection: Selection) -> State:
    """Read the manifests among the entries of a list. Raise DestinationError."""
    found = State(unplaced=sum(is_unplaced(each) for each in listed))
    for partition, objects in by_partition(listed).items():
        if selection.has_function(partition.function):
            found.raw[partition] = [each for each in objects if not each.name.rpartition("/")[2].startswith(("_", "."))]
    compacted = {each.name: each for each in listed if each.name.startswith(f"{COMPACT}/")}
    manifests = [each for name, each in compacted.items() if name.endswith(f"/{MANIFEST_NAME}")]
    fetched = await download(source, manifests)
    found.damaged = {_folder_of(key, manifests): reason for key, reason in fetched.unreadable}
    for each in manifests:
        if each.key not in fetched.files:
            continue
        folder = _folder_of(each.key, [each])
        parquet = compacted.get(f"{folder}/{PARQUET_NAME}")
        try:
            manifest = parse_manifest(fetched.files[each.key].read_bytes())
        except (OSError, ValueError) as error:
            found.damaged[folder] = str(error)
            continue
        if parquet is None:
            found.damaged[folder] = f"the manifest exists, but {PARQUET_NAME} does not"
        else:
            found.files[manifest.partition] = Compacted(manifest, parquet, each)
    return found


def _folder_of(key: str, manifests: Sequence[ListedObject]) -> str:
    """Return the folder of a manifest, relative to the destination."""
    return next(each.name for each in manifests if each.key == key).removesuffix(f"/{MANIFEST_NAME}")


def plans(state: State, selection: Selection, *, now: datetime, grace: timedelta) -> list[Plan]:
    """Return what has to be written, without days. Pure."""
    found: dict[Partition, list[ListedObject]] = {}
    for partition, objects in state.raw.items():
        unit = partition.day if partition.day in state.files else partition
        if partition.is_over(now, grace) and _is_selected(partition, selection):
            found.setdefault(unit, []).extend(objects)
    made = (state.plan(partition, objects) for partition, objects in sorted(found.items()))
    return [each for each in made if each is not None]


def day_plans(state: State, *, now: datetime, grace: timedelta) -> list[Plan]:
    """Return the days whose files of hours can be joined. Pure.

    A day is over, all its raw objects are in the files, and these are small together.
    """
    days: dict[Partition, dict[Partition, Compacted]] = {}
    for partition, each in state.files.items():
        if partition.hour and partition.day not in state.files:
            days.setdefault(partition.day, {})[partition] = each
    found = []
    for day, hours in sorted(days.items()):
        hours_of_day = [hour for hour in state.raw if hour.day == day]
        if not day.is_over(now, grace) or any(state.plan(hour, state.raw[hour]) for hour in hours_of_day):
            continue
        if sum(each.parquet.size for each in hours.values()) <= MAX_DAY_BYTES:
            found.append(plan_day(day, {hour: each.manifest.inputs for hour, each in hours.items()}))
    return found


class Compactor:
    """Writes partitions of a destination."""

    def __init__(self, source: Source, store: Store, state: State) -> None:
        self._source = source
        self._store = store
        self._state = state

    async def write(self, todo: Sequence[Plan], update: Callable[[int, int], None]) -> Result:
        """Write the partitions one after the other. Raise DestinationError if writing fails."""
        result = Result()
        for number, each in enumerate(todo, 1):
            try:
                self._check_manifest(each.partition)
                result.written.append(await self._write(each))
            except RefusedError as error:
                result.refused.append((each.partition, str(error)))
            update(number, len(todo))
        return result

    async def remove_joined(self) -> int:
        """Remove the files of hours that a day has replaced, and return their number. Raise DestinationError."""
        joined = [each for partition, each in self._state.files.items() if self._state.is_joined(partition)]
        # The manifest goes first, so that no manifest is left without its file.
        for listed in [*(each.listed for each in joined), *(each.parquet for each in joined)]:
            await self._store.delete([Input(listed.name, listed.etag, listed.size)])
        return len(joined)

    def _check_manifest(self, partition: Partition) -> None:
        """Raise RefusedError for a damaged manifest: it does not state which raw objects have been deleted."""
        folder = partition.folder
        if reason := self._state.damaged.get(folder):
            raise RefusedError(f"{folder}: {reason}; restore it, or delete it if all raw objects exist")

    async def _write(self, todo: Plan) -> Written:
        base = [self._state.files[partition].parquet for partition in todo.based_on]
        fetched = await download(self._source, [*todo.new, *base])
        if fetched.unreadable:
            key, reason = fetched.unreadable[0]
            raise RefusedError(f"{key}: {reason}")
        names = {str(fetched.files[each.key]): each.name for each in todo.new}
        with tempfile.TemporaryDirectory(prefix="logferry-compact-") as folder:
            files = _Files(Path(folder))
            with ParquetBuild(Path(folder)) as build, _naming_objects(names):
                build.load_objects([Path(path) for path in names])
                replacing = [path for path, name in names.items() if name in todo.replacing]
                for each in base:
                    build.load_file(fetched.files[each.key], replacing=replacing)
                segments = build.prove()
                rows = build.write(files.parquet)
            parquet = await self._put(todo.partition, files, rows)
            files.write_manifest(Manifest(todo.partition, todo.inputs, parquet, tuple(segments)))
            await self._store.put(f"{todo.partition.folder}/{MANIFEST_NAME}", files.manifest)
        return Written(todo, rows, parquet.size)

    async def _put(self, partition: Partition, files: _Files, rows: int) -> ParquetFile:
        """Store the Parquet file, read it back and compare. Raise RefusedError."""
        name = f"{partition.folder}/{PARQUET_NAME}"
        size, expected = files.size, sha256_of(files.parquet)
        etag = await self._store.put(name, files.parquet)
        if await self._store.sha256(name) != expected:
            raise RefusedError(f"{name} was read back with another content than it was written with")
        return ParquetFile(size, expected, etag, rows)


class _Files:
    """The local files of one partition."""

    def __init__(self, folder: Path) -> None:
        self.parquet = folder / PARQUET_NAME
        self.manifest = folder / MANIFEST_NAME

    @property
    def size(self) -> int:
        """The size of the Parquet file, in bytes."""
        return self.parquet.stat().st_size

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest."""
        self.manifest.write_bytes(manifest.dump())


@contextlib.contextmanager
def _naming_objects(names: Mapping[str, str]) -> Iterator[None]:
    """Replace the paths in the reason of a refusal by the names of the objects."""
    try:
        yield
    except RefusedError as error:
        text = str(error)
        for path, name in names.items():
            text = text.replace(path, name)
        raise RefusedError(text) from error


def _is_selected(partition: Partition, selection: Selection) -> bool:
    since, until = selection.window.since, selection.window.until
    at = f"{partition.dt}T{partition.hour or '00'}"
    return (since is None or at >= f"{since:%Y-%m-%dT%H}") and (until is None or at <= f"{until:%Y-%m-%dT%H}")
