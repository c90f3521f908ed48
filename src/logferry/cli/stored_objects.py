"""Stored objects as the commands read them: values, errors, and the lines of a body.

Guarantees:
- Reading an object always ends. An object above `MAX_OBJECT_BYTES` or with a line above
  `MAX_LINE_BYTES` is unreadable.
- Lines are decompressed one at a time, so that a small object of compressed zeros does not fill the
  memory.
"""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from logferry.cli.object_limits import MAX_LINE_BYTES
from logferry.records import zstd_packing
from logferry.records.object_key import COMPRESSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime


class DestinationError(Exception):
    """A destination that cannot be read; the message names it with the reason and the remedy."""


class TransientDestinationError(DestinationError):
    """A destination that could not be read, but may be readable later: no connection, or throttling."""


class BrokenLinesError(Exception):
    """An object with a damaged or truncated body; the message names the reason."""


@dataclass(frozen=True)
class ReadObject:
    """One object: its key, its user metadata, and its decompressed lines without newlines.

    Iteration over the lines raises `BrokenLinesError`.
    """

    key: str
    metadata: Mapping[str, str]
    lines: Iterable[bytes]


@dataclass(frozen=True)
class UnreadableObject:
    """An object that cannot be read, with its metadata, if they are known, and the reason."""

    key: str
    metadata: Mapping[str, str]
    reason: str


class Destination(Protocol):
    """A bucket prefix or a directory."""

    async def keys(self, *, stored_since: datetime | None = None) -> list[str]:
        """Return the key of every object, or of those stored since a time. Raise DestinationError."""
        ...

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        """Return one object, or the reason why it is unreadable."""
        ...


def decode(key: str, metadata: Mapping[str, str], body: bytes) -> ReadObject | UnreadableObject:
    """Return an object with its lines. The key's suffix gives the compression."""
    return ReadObject(key, metadata, Lines(body, compression=compression_of(key)))


def compression_of(key: str) -> str:
    """Return the compression that the suffix of a key names: `gzip`, `zstd` or `none`."""
    return next((name for name, suffix in COMPRESSED.items() if suffix and key.endswith(suffix)), "none")


class Lines:
    """The lines of a body, decompressed one at a time."""

    def __init__(self, body: bytes, *, compression: str) -> None:
        self.body = body
        """The body as it is stored."""
        self.compression = compression

    def __iter__(self) -> Iterator[bytes]:
        broken: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
        if self.compression == "zstd":
            broken = (*broken, zstd_packing.load().ZstdError)
        try:
            with self._opened() as file:
                while line := file.readline(MAX_LINE_BYTES + 1):
                    if len(line) > MAX_LINE_BYTES:
                        raise BrokenLinesError(f"a line is longer than {MAX_LINE_BYTES} bytes")
                    yield line.removesuffix(b"\n")
        except broken as error:
            raise BrokenLinesError(f"incomplete {self.compression} data: {error}") from error

    def _opened(self) -> BinaryIO:
        stored = io.BytesIO(self.body)
        if self.compression == "gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=stored))
        if self.compression == "zstd":
            return cast("BinaryIO", zstd_packing.load().ZstdFile(stored))
        return stored


def check_bucket(url: str, bucket: str) -> None:
    """Raise DestinationError for the ARN of an access point: DuckDB, obstore, Athena and Spark cannot address it."""
    if bucket.startswith("arn:"):
        raise DestinationError(
            f"cannot read {url}: the destination is an ARN; use the name of the bucket or the alias of the access point"
        )


def check_size(size: int, most: int) -> None:
    """Raise ValueError if an object or its metadata are too large."""
    if size > most:
        raise ValueError(f"its size of {size} bytes exceeds the limit of {most} bytes")


def reason_of(error: BaseException) -> str:
    """Return the text of an error, or its type if the text is empty."""
    return str(error) or type(error).__name__
