"""Scan of many objects: statement 1 in DuckDB for those with the encoder's layout, the complete check for all others.

Guarantees:
- Each object ends either as a row of the table or as a `CheckedObject`, never as both.
- Two objects of the same segment are always checked completely, because only their line numbers show
  whether one is a copy of the other.
- At most `CHUNK_BYTES` of lines and one object are in memory or in the temporary file at a time.

Design: bodies are decompressed once, and appended to a file that DuckDB reads as a whole. Many small
files would take several times as long.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from logferry.cli.proof.object_layout import layout_of
from logferry.cli.stored_objects import Lines, ReadObject
from logferry.cli.verify.object_check import CheckedObject, check_object

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.cli.proof.object_layout import Layout
    from logferry.cli.proof.segment_table import SegmentTable
    from logferry.cli.stored_objects import UnreadableObject

CHUNK_BYTES = 64 << 20
"""Size of the temporary file, in bytes, after which statement 1 reads it."""
MAX_BODY_BYTES = 64 << 20
"""Maximum decompressed size of an object that is decompressed as a whole."""

Segment = tuple[str, int]


class ObjectScan:
    """Sort objects into rows of a table and completely checked objects."""

    def __init__(self, table: SegmentTable, folder: Path) -> None:
        self._table = table
        self._path = folder / "lines.ndjson"
        self._file = self._path.open("wb")
        self._longest = 0
        self._chunk: dict[Segment, Layout] = {}
        self._keys: dict[Segment, str] = {}
        self._twice: set[Segment] = set()
        self.checked: list[CheckedObject] = []
        """Objects that were checked completely."""
        self.again: list[str] = []
        """Keys of objects that have to be read again, for the complete check: see `finish`."""

    def take(self, stored: ReadObject | UnreadableObject) -> None:
        """Take one object. The file is written, so that a later object of its segment is still found."""
        body = _body(stored)
        layout = None if body is None else layout_of(body, stored.metadata)
        if body is None or layout is None:
            checked = check_object(stored)
            self.checked.append(checked)
            if checked.place is not None:
                self._withdraw((checked.place.environment, checked.place.segment))
            return
        segment = (layout.environment, layout.segment)
        if segment in self._keys or segment in self._twice:
            self._withdraw(segment)
            self.checked.append(check_object(stored))
            return
        self._keys[segment] = stored.key
        self._chunk[segment] = layout
        self._file.write(body)
        self._longest = max(self._longest, len(body))
        if self._file.tell() >= CHUNK_BYTES:
            self._prove_chunk()

    def finish(self) -> None:
        """Prove the last chunk. Afterwards the keys in `again` must be read and given to `check`."""
        self._prove_chunk()
        self._file.close()
        self._path.unlink()

    def check(self, stored: ReadObject | UnreadableObject) -> None:
        """Check an object of `again` completely."""
        self.checked.append(check_object(stored))

    def _withdraw(self, segment: Segment) -> None:
        """Remove the row of a segment that has a second object, and read its first object again."""
        self._twice.add(segment)
        key = self._keys.pop(segment, None)
        if key is not None:
            self.again.append(key)
            self._table.remove(*segment)

    def _prove_chunk(self) -> None:
        """Run statement 1 over the file. Store the rows of intact segments."""
        if self._chunk:
            self._file.flush()
            rows, lines, damaged = self._table.prove_lines(self._path, longest_line=self._longest)
            withdrawn = {(row.environment, row.segment) for row in damaged} & self._chunk.keys()
            if rows != len(self._chunk) or lines != sum(layout.lines for layout in self._chunk.values()):
                withdrawn |= self._unexpected()
            gone = self._chunk.keys() - self._keys.keys()  # a second object came before the end of the chunk
            self._table.keep_proven(withdrawn | gone)
            for segment in withdrawn:
                self._withdraw(segment)
        self._chunk.clear()
        self._longest = 0
        self._file.seek(0)
        self._file.truncate()

    def _unexpected(self) -> set[Segment]:
        """Return the segments of the chunk whose row has another number of lines than the object."""
        found = {(row.environment, row.segment): row.lines for row in self._table.new_rows() if row.loss is None}
        return {segment for segment, layout in self._chunk.items() if found.get(segment) != layout.lines}


def _body(stored: ReadObject | UnreadableObject) -> bytes | None:
    """Return the decompressed body, or None if the object is damaged or large."""
    if not isinstance(stored, ReadObject) or not isinstance(stored.lines, Lines):
        return None
    if not stored.lines.compressed:
        return stored.lines.body if len(stored.lines.body) <= MAX_BODY_BYTES else None
    engine = zlib.decompressobj(wbits=31)
    try:
        body = engine.decompress(stored.lines.body, MAX_BODY_BYTES)
    except zlib.error:
        return None
    return body if engine.eof and not engine.unused_data else None
