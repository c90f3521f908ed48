"""Manifest of a compacted partition: its inputs, its file, and the rows of its segments. Pure.

Guarantees: the same inputs and rows give the same bytes.

Design: a reader takes the Parquet file only where a manifest exists, and the manifest is written
last. The rows of all manifests together are the input of `faults.sql`, so that a proof of the
complete destination reads no line again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logferry.cli.compact.partition import Input, Partition, inputs_hash
from logferry.cli.proof.segment_table import SegmentRow

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1


@dataclass(frozen=True)
class ParquetFile:
    """A written Parquet file: its size in bytes, SHA-256, ETag and number of rows."""

    size: int
    sha256: str
    etag: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """The content of `_manifest.json`."""

    partition: Partition
    inputs: tuple[Input, ...]
    parquet: ParquetFile
    segments: tuple[SegmentRow, ...]

    def dump(self) -> bytes:
        """Return the manifest as JSON."""
        content = {
            "format": FORMAT,
            "function": self.partition.function,
            "dt": self.partition.dt,
            "hour": self.partition.hour,
            "inputs": inputs_hash(self.inputs),
            "parquet": vars(self.parquet),
            "objects": sorted(self.inputs),
            "segment_columns": SegmentRow._fields,
            "segments": self.segments,
        }
        return json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def parse(text: bytes) -> Manifest:
    """Return a manifest. Raise ValueError with the reason if it is damaged or of a newer format."""
    content = _loaded(text)
    if content.get("format") != FORMAT:
        raise ValueError(f"manifest of format {content.get('format')!r}: this version reads format {FORMAT}")
    try:
        columns: Sequence[str] = content["segment_columns"]
        manifest = Manifest(
            partition=Partition(content["function"], content["dt"], content["hour"]),
            inputs=tuple(Input(*each) for each in content["objects"]),
            parquet=ParquetFile(**content["parquet"]),
            segments=tuple(SegmentRow(**dict(zip(columns, row, strict=True))) for row in content["segments"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"damaged manifest: {error!r}") from error
    if inputs_hash(manifest.inputs) != content.get("inputs"):
        raise ValueError("damaged manifest: the hash of its inputs differs")
    return manifest


def _loaded(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged manifest: {error}") from error
    if not isinstance(content, dict):
        raise ValueError("damaged manifest: it is not a JSON object")  # noqa: TRY004 - a damaged file, no wrong type
    return content
