"""Acceptance of a batch: deduplicate, append to the journal, track invocations, notify.

Guarantees:
- `accept` returns only after the journal has stored the batch.
- A batch that the platform delivers again, because the response was lost, is stored once.
- `last_accepted_at` and `refused` describe the stream at every moment. The lifecycle uses them to
  wait for the end of the stream and to report the batches that were not accepted.
- After `close`, every batch is refused, because its records could no longer be uploaded.

Design: the intake works before the event loop exists, so it needs neither asyncio nor a network.
Components that react to accepted batches (the scheduler, the lifecycle) register callbacks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logferry.errors import JournalFull
from logferry.listener.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal
    from logferry.listener.dedup import Deduplicator
    from logferry.records.internal import InternalBatch
    from logferry.records.invocations import Invocations


class Intake:
    """Entry of all batches of one execution environment."""

    def __init__(
        self,
        *,
        journal: Journal,
        deduplicator: Deduplicator,
        invocations: Invocations,
        managed: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Accept batches. `managed`: Managed Instances run invocations concurrently; no single request is running.

        `clock` is replaced only in tests. The event loop's clock is `time.monotonic` as well.
        """
        self._journal = journal
        self._deduplicator = deduplicator
        self._invocations = invocations
        self._managed = managed
        self._clock = clock
        self._callbacks: list[Callable[[], None]] = []
        self._stream_callbacks: list[Callable[[], None]] = []
        self._closed = False
        self.last_accepted_at: float | None = None
        """Time of the latest accepted batch, in seconds on `clock`. A repeated batch counts as
        well, because the stream is not quiet."""
        self.refused = Refusals()
        """Batches that were refused and not accepted afterwards."""

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each stored batch, in the order of registration."""
        self._callbacks.append(callback)

    def add_stream_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each accepted batch of the platform, behind the other callbacks."""
        self._stream_callbacks.append(callback)

    def accept(self, batch: bytes) -> None:
        """Store a batch, which is accepted when this method returns. Raise JournalFull if it is refused."""
        try:
            self._store(batch)
        except JournalFull:
            self.refused.add(batch)
            raise

    def store(self, batch: InternalBatch) -> None:
        """Store a batch of records that logferry made. Raise JournalFull if it is refused.

        Such a batch does not belong to the stream: it is neither deduplicated nor followed, and does not count as
        activity of the platform.
        """
        if self._closed:
            raise JournalFull("the execution environment is shutting down")
        self._journal.append(batch)
        for callback in self._callbacks:
            callback()

    def close(self) -> None:
        """Refuse every further batch."""
        self._closed = True

    def _store(self, batch: bytes) -> None:
        if self._closed:
            raise JournalFull("the execution environment is shutting down")
        if self._deduplicator.seen(batch):
            self.last_accepted_at = self._clock()
            return
        self._journal.append(batch)
        self._deduplicator.note(batch)
        self.refused.discard(batch)
        self.last_accepted_at = self._clock()
        self._invocations.see(batch)
        self._journal.has_partial_record = self._invocations.in_the_middle
        self._journal.running = None if self._managed else self._invocations.running
        for callback in (*self._callbacks, *self._stream_callbacks):
            callback()
