"""Scan of many objects: statement 1 of the proof for those with the encoder's layout.

Guarantees:
- Each object ends either as an intact row of the table, or in `others`, never as both.
- All objects of a segment that has several are in `others`, because only their line numbers show whether one
  is a copy of the other.
- At most `CHUNK_BYTES` of lines and one object are in memory or in the temporary file at a time.

Design: bodies are decompressed once, and appended to a file that DuckDB reads as a whole. Many small
files would take several times as long. Whatever is not intact needs the complete check, which reads
the object again with its metadata and names the fault (`verify/object_check`).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from logferry.cli.proof.object_layout import layout_of
from logferry.records.object_key import COMPRESSED

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.cli.proof.segment_table import SegmentTable

CHUNK_BYTES = 64 << 20
"""Size of the temporary file, in bytes, after which statement 1 reads it."""
MAX_BODY_BYTES = 64 << 20
"""Maximum decompressed size of an object, in bytes. A larger one needs the complete check."""

Segment = tuple[str, int]


class ObjectScan:
    """Sort objects into intact rows of a table and others. Temporary files are in `folder`."""

    def __init__(self, table: SegmentTable, folder: Path) -> None:
        self._table = table
        self._path = folder / "lines.ndjson"
        self._file = self._path.open("wb")
        self._longest = 0
        self._chunk: dict[Segment, int] = {}
        """Number of lines of each segment in the file."""
        self._keys: dict[Segment, str] = {}
        self._several: set[Segment] = set()
        self.others: list[str] = []
        """Keys of the objects that need the complete check. It is complete after `finish`."""

    def take(self, key: str, body: bytes) -> None:
        """Take the stored body of one object."""
        lines = _decompressed(key, body)
        layout = None if lines is None else layout_of(lines)
        if lines is None or layout is None:
            self.others.append(key)
            return
        segment = (layout.environment, layout.segment)
        if segment in self._keys or segment in self._several:
            self.others.append(key)
            self.withdraw(*segment)
            return
        self._keys[segment] = key
        self._chunk[segment] = layout.lines
        self._file.write(lines)
        self._longest = max(self._longest, len(lines))
        if self._file.tell() >= CHUNK_BYTES:
            self._prove_chunk()

    def finish(self) -> None:
        """Prove the last chunk, and remove the temporary file."""
        self._prove_chunk()
        self._file.close()
        self._path.unlink()

    def withdraw(self, environment: str, segment: int) -> str | None:
        """Remove the row of a segment and return the key of its object, which then needs the complete check."""
        place = (environment, segment)
        self._several.add(place)
        key = self._keys.pop(place, None)
        if key is not None:
            self.others.append(key)
            self._table.remove(environment, segment)
        return key

    def _prove_chunk(self) -> None:
        """Run statement 1 over the file. Store the rows of intact segments."""
        if self._chunk:
            self._file.flush()
            rows, lines, damaged = self._table.prove_lines(self._path, longest_line=self._longest)
            withdrawn = {(row.environment, row.segment) for row in damaged} & self._chunk.keys()
            if rows != len(self._chunk) or lines != sum(self._chunk.values()):
                withdrawn |= self._unexpected()
            gone = self._chunk.keys() - self._keys.keys()  # a second object came before the end of the chunk
            self._table.keep_proven(withdrawn | gone)
            for segment in withdrawn:
                self.withdraw(*segment)
        self._chunk.clear()
        self._longest = 0
        self._file.seek(0)
        self._file.truncate()

    def _unexpected(self) -> set[Segment]:
        """Return the segments of the chunk whose row has another number of lines than the object."""
        found = {(row.environment, row.segment): row.lines for row in self._table.new_rows() if row.loss is None}
        return {segment for segment, lines in self._chunk.items() if found.get(segment) != lines}


def _decompressed(key: str, body: bytes) -> bytes | None:
    """Return the lines of a body, or None if it is damaged or large."""
    if key.endswith(COMPRESSED["zstd"]):
        return None  # the complete check reads it
    if not key.endswith(".gz"):
        return body if len(body) <= MAX_BODY_BYTES else None
    engine = zlib.decompressobj(wbits=31)
    try:
        lines = engine.decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        return None
    return lines if engine.eof and not engine.unused_data else None
