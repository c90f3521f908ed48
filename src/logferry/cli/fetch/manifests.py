"""Manifests of compacted hours: which objects are in a Parquet file, and which are read raw.

Guarantees:
- A Parquet file is used only with its own manifest. A compaction that was interrupted between both
  leaves the hour raw.
- A raw object that the manifest does not name is read raw (a late object).
- A damaged manifest is named, and its hour is read raw.

Design: ETag and size of the Parquet file stand in the manifest. A copy of the destination has other
ETags, so that the SHA-256 decides where they differ.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logferry.cli.fetch.download import download

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from logferry.cli.fetch.compacted_hours import CompactedHour, RawObject
    from logferry.cli.fetch.listing import Listing
    from logferry.cli.fetch.source import Source


@dataclass
class Manifests:
    """The hours that are read from Parquet, and the raw objects of all others."""

    hours: list[tuple[CompactedHour, Mapping[str, Any]]] = field(default_factory=list)
    raw: list[RawObject] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    late: int = 0
    """Raw objects that were stored after the compaction of their hour."""


async def read_manifests(source: Source, listing: Listing) -> Manifests:
    """Read the manifests of a listing. Raise DestinationError."""
    done = await download(source, [each.manifest for each in listing.compacted])
    found = Manifests(raw=list(listing.raw), unreadable=done.unreadable)
    for each in listing.compacted:
        manifest, names = None, set[str]()
        if path := done.files.get(each.manifest.key):
            try:
                manifest = json.loads(path.read_bytes())
                names = {name for name, _etag, _size in manifest["objects"]}
            except (OSError, ValueError, TypeError, KeyError) as error:
                found.unreadable.append((each.manifest.key, f"damaged manifest: {error!r}"))
                manifest = None
        if manifest is None or not await _belongs(source, each, manifest):
            found.raw += each.raw
            continue
        found.hours.append((each, manifest))
        late = [one for one in each.raw if one.listed.name not in names]
        found.late += len(late)
        found.raw += late
    return found


async def _belongs(source: Source, hour: CompactedHour, manifest: Mapping[str, Any]) -> bool:
    """Return whether a manifest is that of the Parquet file of its hour."""
    parquet = manifest.get("parquet", {})
    if parquet.get("etag") == hour.parquet.etag and parquet.get("size") == hour.parquet.size:
        return True
    if parquet.get("size") != hour.parquet.size:
        return False
    done = await download(source, [hour.parquet])
    path = done.files.get(hour.parquet.key)
    return path is not None and _sha256(path) == parquet.get("sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
