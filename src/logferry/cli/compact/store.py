"""Interface of a destination that can be changed. Names are relative to the destination.

Guarantees:
- A reader sees the old or the new object, never a part of one.
- An object is deleted only if it is still the one that was read.

Design: `compact` is the only command that writes, so that the sources of `logferry.cli.fetch` have no
method that changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from logferry.cli.compact.partition import Input

CHUNK_BYTES = 1 << 20
"""Size of each read of a file or of an object, in bytes."""


class Store(Protocol):
    """A directory or a bucket prefix."""

    async def put(self, name: str, file: Path) -> str:
        """Store a file and return its ETag. Raise DestinationError."""
        ...

    async def sha256(self, name: str) -> str:
        """Read a stored object and return its SHA-256. Raise DestinationError."""
        ...

    async def delete(self, objects: Sequence[Input]) -> list[tuple[str, str]]:
        """Delete objects that are unchanged. Return the names of the others with the reason."""
        ...
