"""Acceptance of a batch: deduplicate, append to the journal, track invocations, notify.

Guarantees:
- `accept` returns only after the journal has stored the batch.
- A batch that the platform delivers again, because the response was lost, is stored once.
- After `close`, every batch is refused, because its records could no longer be uploaded.

Design: the intake works before the event loop exists, so it needs neither asyncio nor a network. Components that react
to accepted batches (the scheduler, the lifecycle) register callbacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal
    from logferry.listener.dedup import Deduplicator
    from logferry.records.invocations import Invocations


class Intake:
    """Entry of all batches of one execution environment."""

    def __init__(
        self, *, journal: Journal, deduplicator: Deduplicator, invocations: Invocations, managed: bool
    ) -> None:
        """`managed`: Managed Instances run invocations concurrently, so no single request is the running one."""
        self._journal = journal
        self._deduplicator = deduplicator
        self._invocations = invocations
        self._managed = managed
        self._callbacks: list[Callable[[], None]] = []
        self._closed = False

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each accepted batch, in the order of registration."""
        self._callbacks.append(callback)

    def accept(self, batch: bytes) -> None:
        """Store a batch, which is accepted when this method returns. Raise JournalFull if it is refused."""
        if self._closed:
            raise JournalFull("the execution environment is shutting down")
        if self._deduplicator.seen(batch):
            return
        self._journal.append(batch)
        self._deduplicator.note(batch)
        self._invocations.see(batch)
        self._journal.running = None if self._managed else self._invocations.running
        for callback in self._callbacks:
            callback()

    def close(self) -> None:
        """Refuse every further batch."""
        self._closed = True
