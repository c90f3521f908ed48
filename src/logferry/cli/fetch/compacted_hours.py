"""Parquet files with their manifests in a list of the folder `compact/`. Pure.

Guarantees:
- A Parquet file without a manifest is ignored, because its compaction has not ended.
- The file of a complete day replaces those of its hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logferry.cli.fetch.selection import COMPACT

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from logferry.cli.fetch.selection import Place, Selection
    from logferry.cli.fetch.source import ListedObject

_COMPACTED = re.compile(
    rf"{COMPACT}/function=([^/]*)/dt=(\d{{4}}-\d\d-\d\d)/(?:hour=(\d\d)/)?(logs\.parquet|_manifest\.json)", re.ASCII
)


@dataclass(frozen=True)
class RawObject:
    """A listed object with lines, and its place by its key."""

    listed: ListedObject
    place: Place | None


@dataclass(frozen=True)
class CompactedHour:
    """The Parquet file and the manifest of an hour of a function. `hour` is empty for a complete day."""

    function: str
    dt: str
    hour: str
    parquet: ListedObject
    manifest: ListedObject
    raw: list[RawObject] = field(default_factory=list, compare=False)
    """Raw objects of the hour that still exist. Those that the manifest does not name are late."""


def compacted_hours(entries: Iterable[ListedObject], selection: Selection) -> list[CompactedHour]:
    """Return the hours that have a Parquet file and a manifest, limited to the window."""
    files: dict[tuple[str, str, str], dict[str, ListedObject]] = {}
    for each in entries:
        if match := _COMPACTED.fullmatch(each.name):
            function, dt, hour, file = match.groups()
            files.setdefault((function, dt, hour or ""), {})[file] = each
    complete = {key: found for key, found in sorted(files.items()) if len(found) == 2}  # noqa: PLR2004 - both files
    return [
        CompactedHour(*key, parquet=found["logs.parquet"], manifest=found["_manifest.json"])
        for key, found in complete.items()
        if _overlaps(key, selection) and not _is_joined(key, complete)
    ]


def _is_joined(key: tuple[str, str, str], complete: Container[tuple[str, str, str]]) -> bool:
    """Return whether the file of the complete day contains an hour. A compaction then removes that of the hour."""
    function, dt, hour = key
    return bool(hour) and (function, dt, "") in complete


def _overlaps(key: tuple[str, str, str], selection: Selection) -> bool:
    """Return whether an hour, or a complete day, can have records in the window."""
    _, dt, hour = key
    since, until = selection.window.since, selection.window.until
    first = f"{dt}T{hour or '00'}"
    last = f"{dt}T{hour or '23'}"
    return (since is None or last >= f"{since:%Y-%m-%dT%H}") and (until is None or first <= f"{until:%Y-%m-%dT%H}")
