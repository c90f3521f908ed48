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
    plan,
    plan_day,
)
from logferry.cli.fetch.download import download
from logferry.cli.fetch.selection import COMPACT, ListRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
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


@dataclass
class State:
    """The destination as it is: raw objects and compacted files by partition, and damaged manifests."""

    raw: dict[Partition, list[ListedObject]] = field(default_factory=dict)
    files: dict[Partition, Compacted] = field(default_factory=dict)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    @property
    def inputs(self) -> dict[Partition, Sequence[Input]]:
        """The inputs of each file."""
        return {partition: each.manifest.inputs for partition, each in self.files.items()}

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
    """What a run has done, or would do. `refused` has pairs of partition and reason."""

    written: list[Written] = field(default_factory=list)
    refused: list[tuple[Partition, str]] = field(default_factory=list)


async def read_state(source: Source, selection: Selection) -> State:
    """List a destination and read its manifests. Raise DestinationError."""
    raw = [each async for page in source.objects(ListRange("")) for each in page]
    found = State()
    for partition, objects in by_partition(raw).items():
        if selection.has_function(partition.function):
            found.raw[partition] = [each for each in objects if not each.name.rpartition("/")[2].startswith(("_", "."))]
    compacted = {each.name: each for each in raw if each.name.startswith(f"{COMPACT}/")}
    manifests = [each for name, each in compacted.items() if name.endswith(f"/{MANIFEST_NAME}")]
    fetched = await download(source, manifests)
    found.damaged += fetched.unreadable
    for each in manifests:
        if each.key not in fetched.files:
            continue
        parquet = compacted.get(each.name.removesuffix(MANIFEST_NAME) + PARQUET_NAME)
        try:
            manifest = parse_manifest(fetched.files[each.key].read_bytes())
        except (OSError, ValueError) as error:
            found.damaged.append((each.key, str(error)))
            continue
        # A file that differs from its manifest was written by a run that ended before the manifest.
        if parquet and (parquet.etag, parquet.size) == (manifest.parquet.etag, manifest.parquet.size):
            found.files[manifest.partition] = Compacted(manifest, parquet, each)
    return found


def plans(state: State, selection: Selection, *, now: datetime, grace: timedelta) -> list[Plan]:
    """Return what has to be written, without days. Pure."""
    found: dict[Partition, list[ListedObject]] = {}
    for partition, objects in state.raw.items():
        unit = partition.day if partition.day in state.files else partition
        if partition.is_over(now, grace) and _is_selected(partition, selection):
            found.setdefault(unit, []).extend(objects)
    made = (plan(partition, objects, state.inputs) for partition, objects in sorted(found.items()))
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
        if not day.is_over(now, grace) or any(plan(hour, state.raw[hour], state.inputs) for hour in hours_of_day):
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

    async def _write(self, todo: Plan) -> Written:
        base = [self._state.files[partition].parquet for partition in todo.based_on]
        fetched = await download(self._source, [*todo.new, *base])
        if fetched.unreadable:
            key, reason = fetched.unreadable[0]
            raise RefusedError(f"{key}: {reason}")
        names = {str(fetched.files[each.key]): each.name for each in todo.new}
        with tempfile.TemporaryDirectory(prefix="logferry-compact-") as folder:
            file = Path(folder, PARQUET_NAME)
            rows, segments = _build(Path(folder), file, [fetched.files[e.key] for e in todo.new], [fetched.files[e.key] for e in base], names)
            name = f"{todo.partition.folder}/{PARQUET_NAME}"
            written = sha256_of(file)
            etag = await self._store.put(name, file)
            if await self._store.sha256(name) != written:
                raise RefusedError(f"{name} was read back with another content than it was written with")
            size = file.stat().st_size
            manifest = Manifest(todo.partition, todo.inputs, ParquetFile(size, written, etag, rows), tuple(segments))
            path = Path(folder, MANIFEST_NAME)
            path.write_bytes(manifest.dump())
            await self._store.put(f"{todo.partition.folder}/{MANIFEST_NAME}", path)
        return Written(todo, rows, size)


def _build(
    folder: Path, file: Path, new: Sequence[Path], base: Sequence[Path], names: Mapping[str, str]
) -> tuple[int, list[SegmentRow]]:
    """Build the file of a partition and return its number of rows and its segments."""
    try:
        with ParquetBuild(folder) as build:
            build.load_objects(new)
            for each in base:
                build.load_file(each)
            segments = build.prove()
            return build.write(file), segments
    except RefusedError as error:
        text = str(error)
        for path, name in names.items():
            text = text.replace(path, name)
        raise RefusedError(text) from error


def _is_selected(partition: Partition, selection: Selection) -> bool:
    since, until = selection.window.since, selection.window.until
    at = f"{partition.dt}T{partition.hour or '00'}"
    return (since is None or at >= f"{since:%Y-%m-%dT%H}") and (until is None or at <= f"{until:%Y-%m-%dT%H}")
