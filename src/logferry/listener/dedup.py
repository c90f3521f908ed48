"""Detection of batches that the platform delivers again because it did not receive the response.

Guarantees:
- The last `REMEMBERED` accepted batches are detected. A batch that was refused is not remembered.
- Batches that differ in one byte are different batches.

Design: a response is lost if the shipper is killed, or the environment frozen, between storing and
responding. The platform gives batches no number (Telemetry API, "Delivery"). A repeated batch has
the same bytes. Two different batches differ, because each record has its time in milliseconds and
batches are at least 25 ms apart unless they are full. Batches are remembered by length and by
Python's hash of bytes, 64 bits with a key of this process (SipHash, PEP 456). A bytes object caches
its hash, so a batch is read once.
"""

from __future__ import annotations

from collections import deque

REMEMBERED = 32
"""Number of remembered batches. The platform has one or two batches in flight; after a kill it may
repeat a batch of the open segment."""


class Deduplicator:
    """The latest accepted batches."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)

    def seen(self, batch: bytes) -> bool:
        """Return whether the same batch was accepted recently."""
        return (len(batch), hash(batch)) in self._latest

    def note(self, batch: bytes) -> None:
        """Remember a batch that has been accepted."""
        self._latest.append((len(batch), hash(batch)))
