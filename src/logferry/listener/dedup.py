"""Deliveries that came before: the platform repeats one whose answer it did not get.

That happens when the answer is lost: the shipper was killed between storing and answering, or the environment was
frozen there. The platform gives deliveries no number (Telemetry API, "Delivery"), but a repeat is the same bytes, and
no two different deliveries are: every record carries its time in milliseconds, and deliveries are 25 ms or more apart
unless they are full. So the last few are remembered by length and hash: Python's own for bytes, 64 bits with a key of
this process (SipHash, PEP 456), which a body keeps once it is made, so that it is read once.
"""

from __future__ import annotations

from collections import deque

REMEMBERED = 32
"""The platform has one or two deliveries under way; after a kill it may repeat what is in the open segment."""


class Deduplicator:
    """The last deliveries that were accepted."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)

    def seen(self, body: bytes) -> bool:
        """Whether this very body was accepted a moment ago."""
        return (len(body), hash(body)) in self._last

    def note(self, body: bytes) -> None:
        """This body is accepted."""
        self._last.append((len(body), hash(body)))
