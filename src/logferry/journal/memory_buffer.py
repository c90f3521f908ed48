"""Bounded buffer in memory for bodies and segments that the disk rejects.

Guarantees:
- The buffer holds at most `MEMORY_BYTES`. A further body is refused, and the platform keeps it (Telemetry API,
  "Delivery").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.records.model import Header

MEMORY_BYTES = 8 * 1024 * 1024
"""Largest size of the buffer, in bytes: a few batches of the largest size. It is memory of the function."""


class MemoryBuffer:
    """Bodies and segments without a file."""

    def __init__(self, directory: str, *, warn: Callable[[str], None]) -> None:
        """`warn` is called when `directory` cannot be written."""
        self._directory = directory
        self._warn = warn
        self.bodies: list[bytes] = []
        self.segments: dict[str, tuple[Header, tuple[bytes, ...]]] = {}
        self.in_use = False
        """Whether the disk has rejected a write and has not accepted everything since."""

    @property
    def waiting_bytes(self) -> int:
        """Size of the bodies that are not sealed, in bytes."""
        return sum(map(len, self.bodies))

    def activate(self, error: OSError) -> None:
        """Note that the disk rejected a write, and warn once until it has accepted everything again."""
        if not self.in_use:
            self.in_use = True
            self._warn(
                f"cannot write to {self._directory}: {error.strerror}; "
                f"buffering up to {MEMORY_BYTES // 1024 // 1024} MiB in memory, free space or change LOGFERRY_SPOOL_DIR"
            )

    def add(self, *bodies: bytes) -> None:
        """Keep all bodies, or none of them. Raise JournalFull beyond the limit."""
        sealed = sum(len(kept) for _, bodies in self.segments.values() for kept in bodies)
        if self.waiting_bytes + sealed + sum(map(len, bodies)) > MEMORY_BYTES:
            raise JournalFull("neither the disk nor the memory buffer accepts more")
        self.bodies += bodies

    def seal(self, path: str, header: Header) -> None:
        """Make a segment of the bodies that wait; `path` is its name, not a file."""
        self.segments[path] = (header, tuple(self.bodies))
        self.bodies = []
