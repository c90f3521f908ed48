"""Compression with Zstandard. Pure.

Design: Python 3.14 has `compression.zstd`. The package `backports.zstd` is the same code for older versions. The layer
contains it, and it is imported only if it is chosen. Level 1 is the fastest one, as with gzip.

References: PEP 784; RFC 8878.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = 1
"""Compression level."""
CONTENT_TYPE = "application/zstd"


class Packer(Protocol):
    """A compressor, as in `zlib`."""

    def compress(self, data: bytes, /) -> bytes:
        """Return the next part of the compressed bytes."""

    def flush(self) -> bytes:
        """Return the rest."""


class Packing(NamedTuple):
    """A compression for the encoder, other than gzip."""

    make: Callable[[], Packer]
    content_type: str


def load() -> Any:
    """Return the module of the compressor. Raise ValueError with the remedy if there is none."""
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - Python 3.14
        except ImportError:
            from backports import zstd  # noqa: PLC0415 - Python before 3.14
    except ImportError:
        raise ValueError("zstd needs the package backports.zstd: use the full layer, or gzip") from None
    return zstd


def packing() -> Packing:
    """Return the compression for the encoder. Raise ValueError with the remedy if it is not installed."""
    zstd = load()
    return Packing(lambda: zstd.ZstdCompressor(level=LEVEL), CONTENT_TYPE)
