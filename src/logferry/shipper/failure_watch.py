"""Records of timeouts and of exhausted memory, made when an invocation has failed.

Guarantees:
- An environment without a failed invocation imports none of the modules that judge failures.
- A request has at most one record of each type, also after a restart of the shipper or a reset of the environment.
- A batch is answered before its failures are judged.

Design: `Invocations` keeps the events of failed invocations. They are judged in the next step of the event loop, which
precedes the flush that waits for the same batch. While the libraries are loading, nothing may be imported, so the
events wait for the event loop. After a restart `Invocations` has the events of the journal, with the records that the
earlier process made.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal
    from logferry.records.internal import InternalBatch
    from logferry.records.invocations import Invocations
    from logferry.shipper.failure_records import FailureRecords


class FailureWatch:
    """Observer of the failed invocations; `failure_records` has the work."""

    def __init__(self, *, journal: Journal, invocations: Invocations, store: Callable[[InternalBatch], None]) -> None:
        """`store` appends a batch to the journal or raises JournalFull."""
        self._journal = journal
        self._invocations = invocations
        self._store = store
        self._records: FailureRecords | None = None

    def on_batch(self) -> None:
        """Judge the failures of an accepted batch in the next step of the event loop."""
        if self._invocations.failures or self._records:
            asyncio.get_running_loop().call_soon(self.judge)

    def judge(self) -> None:
        """Judge the failures that have arrived, and store records that had to wait."""
        if self._invocations.failures:
            self._load().judge()
        elif self._records:
            self._records.flush()

    def on_shutdown(self, reason: str) -> None:
        """Judge the failures at the end of the execution environment, before the last segment is sealed."""
        self.judge()
        # An environment that ends in order has nothing to judge.
        if self._records or reason.lower() in ("timeout", "failure"):
            self._load().on_shutdown(reason)

    def _load(self) -> FailureRecords:
        if self._records is None:
            from logferry.shipper.failure_records import FailureRecords  # noqa: PLC0415 - only after a failure

            self._records = FailureRecords(journal=self._journal, invocations=self._invocations, store=self._store)
        return self._records
