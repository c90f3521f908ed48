"""What the disk does not take: bodies that wait, and segments sealed from them, in a small memory.

Bounded by `MEMORY_BYTES` in all: beyond it a body is refused, and the platform keeps it (Telemetry API, "Delivery").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logferry.records.model import Header

MEMORY_BYTES = 8 * 1024 * 1024
"""A few deliveries of the largest size; it is the function's memory."""


class MemoryBuffer:
    """Bodies and segments that have no file."""

    def __init__(self, directory: Path, *, complain: Callable[[str], None]) -> None:
        """`directory` is what takes nothing, when it does not; `complain` is told so."""
        self._directory = directory
        self._complain = complain
        self.bodies: list[bytes] = []
        self.segments: dict[Path, tuple[Header, tuple[bytes, ...]]] = {}
        self.in_use = False
        """Whether the disk has refused and not taken anything since."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of bodies that are not sealed."""
        return sum(map(len, self.bodies))

    def step_in(self, error: OSError) -> None:
        """The disk has refused; that is complained of once, until it has taken everything again."""
        if not self.in_use:
            self.in_use = True
            self._complain(f"{self._directory} takes nothing: {error.strerror}; records wait in memory until it does")

    def add(self, body: bytes) -> None:
        """Keep a body. Raises JournalFull beyond the bound."""
        sealed = sum(len(kept) for _, bodies in self.segments.values() for kept in bodies)
        if self.waiting_bytes + sealed + len(body) > MEMORY_BYTES:
            raise JournalFull("neither the disk nor the memory takes more")
        self.bodies.append(body)

    def seal(self, path: Path, header: Header) -> None:
        """Make a segment of the bodies that wait; `path` is its name, no file."""
        self.segments[path] = (header, tuple(self.bodies))
        self.bodies = []
