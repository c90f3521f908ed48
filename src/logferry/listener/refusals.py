"""Count of the batches that were refused and not accepted afterwards.

Guarantees:
- A batch that is refused several times counts once. After the platform's repetition of it has
  been accepted, it is not counted any more.
- At most `REMEMBERED` refused batches are remembered. Older ones stay in the count.

Design: the platform keeps a batch that is answered with 503 and delivers it again. At the end of
an execution environment, only a batch whose last delivery was refused is lost. Batches are
compared by length and hash (see `dedup`).
"""

from __future__ import annotations

REMEMBERED = 1000
"""Maximum number of refused batches in memory. The platform has one or two batches in flight; a
hostile process may send more."""


class Refusals:
    """Number and size of the refused batches."""

    __slots__ = ("_open", "batches", "bytes")

    def __init__(self) -> None:
        self.batches = 0
        """Number of batches that were refused and not accepted afterwards."""
        self.bytes = 0
        """Size of these batches."""
        self._open: dict[tuple[int, int], None] = {}

    def add(self, batch: bytes) -> None:
        """Count a refused batch."""
        key = (len(batch), hash(batch))
        if key in self._open:
            return
        if len(self._open) >= REMEMBERED:
            del self._open[next(iter(self._open))]
        self._open[key] = None
        self.batches += 1
        self.bytes += len(batch)

    def discard(self, batch: bytes) -> None:
        """Remove a batch that has been accepted from the count."""
        if not self._open:
            return
        key = (len(batch), hash(batch))
        if key in self._open:
            del self._open[key]
            self.batches -= 1
            self.bytes -= len(batch)
