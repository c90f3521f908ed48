"""Scan of many objects: the row of statement 1 for each with the encoder's layout, and the numbers of all others.

Guarantees:
- Each object ends either as a row, or in `others`, never as both.
- An object whose key does not contain its environment and its segment is in `others`: its metadata decide.
- At most one object is in memory at a time, and `MAX_BODY_BYTES` of its lines.

Design: the rows are text, which passes between processes and into the table without a conversion. An
object is identified by its number in the list of keys. The encoder's gzip stream has a checksum, and a
header that few other programs write. Objects without both are parsed: plain text, Zstandard, and
objects that another program has compressed.
"""

from __future__ import annotations

import zlib

from logferry.cli.proof.object_layout import Layout, layout_of

MAX_BODY_BYTES = 64 << 20
"""Maximum decompressed size of an object, in bytes. A larger one needs the complete check."""
ENCODER_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03"
"""Header of a gzip stream as the encoder writes it: the fastest level, no time, no name (RFC 1952)."""
_ROW = ",".join(["{}"] * (len(Layout._fields) + 1))
"""Format of a row: the values of the layout, and the number of the object."""
_GZIP, _ZSTD = ".gz", ".zst"
_GZIP_WINDOW = 31


class ObjectScan:
    """Rows of the objects with the encoder's layout, and the numbers of the others."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.others: list[int] = []
        """Numbers of the objects that need the complete check."""

    def take(self, number: int, key: str, body: bytes | None) -> None:
        """Take the stored body of one object, or None if it cannot be read."""
        layout = None if body is None else scan_body(key, body)
        if layout is None or layout.environment not in key or f"{layout.segment:08d}" not in key:
            self.others.append(number)
        else:
            self.rows.append(_ROW.format(*layout, number))


def scan_body(key: str, body: bytes) -> Layout | None:
    """Return the row of an object by its stored body, or None if it needs the complete check."""
    if key.endswith(_GZIP):
        lines = _from_gzip(body)
        return None if lines is None else layout_of(lines, parse=not body.startswith(ENCODER_HEADER))
    lines = _from_zstd(body) if key.endswith(_ZSTD) else body
    if lines is None or len(lines) > MAX_BODY_BYTES:
        return None
    return layout_of(lines, parse=True)


def _from_gzip(body: bytes) -> bytes | None:
    """Return the lines of a gzip stream, or None if it is damaged, large, or not the only one."""
    engine = zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        lines = engine.decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        return None
    return lines if engine.eof and not engine.unused_data else None


def _from_zstd(body: bytes) -> bytes | None:
    """Return the lines of a Zstandard frame, or None if it is damaged, large, or not the only one."""
    from logferry.records import zstd_packing  # noqa: PLC0415 - objects are rarely compressed with it

    try:
        zstd = zstd_packing.load()
    except ValueError:
        return None  # the complete check names the remedy
    engine = zstd.ZstdDecompressor()
    try:
        lines: bytes = engine.decompress(body, MAX_BODY_BYTES)
    except (zstd.ZstdError, EOFError):
        return None
    return lines if engine.eof and not engine.unused_data else None
