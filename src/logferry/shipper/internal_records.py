"""Storage of records that logferry makes while batches arrive.

Guarantees:
- A record is appended only while no record of the platform is cut: a body between its two halves would break the join.
- A record that the journal refuses waits, and never turns into an error of the batch that caused it.
- At most `KEPT` records wait; further ones displace the oldest. A journal that is full for so long refuses the batches
  that cause records, too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from logferry.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.records.internal import InternalBatch
    from logferry.records.invocations import Invocations

KEPT = 256
"""Number of records that wait for the journal."""


class InternalRecords:
    """Queue of internal batches in front of the journal."""

    def __init__(self, *, store: Callable[[InternalBatch], None], invocations: Invocations) -> None:
        """`store` appends a batch to the journal or raises JournalFull."""
        self._store = store
        self._invocations = invocations
        self._waiting: deque[tuple[InternalBatch, Callable[[], None]]] = deque()
        self._flushing = False

    def append(self, batch: InternalBatch, after: Callable[[], None] = lambda: None) -> None:
        """Store a batch now or as soon as possible; `after` is called when the journal has it."""
        self._waiting.append((batch, after))
        if len(self._waiting) > KEPT:
            self._waiting.popleft()
        self.flush()

    def flush(self) -> None:
        """Store the batches that wait, in order."""
        if self._flushing or not self._waiting:
            return  # the callbacks of `store` may lead here
        self._flushing = True
        try:
            while self._waiting and not self._invocations.in_the_middle:
                batch, after = self._waiting[0]
                self._store(batch)
                self._waiting.popleft()
                after()
        except JournalFull:
            return
        finally:
            self._flushing = False
