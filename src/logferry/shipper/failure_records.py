"""Judgement of failed invocations, and storage of the resulting records.

Guarantees:
- A record is stored once. Before it is made, the records in the journal and the list in the spool are consulted.
- The search for the runtime's last message reads the records that the journal still has, and each of them about once.

Design: the module is imported with the first failure (see `failure_watch`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from logferry.errors import SegmentLost
from logferry.journal.stored_failures import StoredFailures
from logferry.records import attribution, decoder, memory_errors
from logferry.records.failures import FailureRecord, Failures
from logferry.records.internal import PREFIX, timed_batch
from logferry.records.model import iso
from logferry.shipper.internal_records import InternalRecords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logferry.journal.journal import Journal
    from logferry.records.internal import InternalBatch
    from logferry.records.invocations import Invocations

SEALED_SEARCHED = 2
"""Number of sealed segments that are searched, newest first. They exist if the sink fails or an upload is in flight."""


class FailureRecords:
    """Judge of the failed invocations of one shipper process."""

    def __init__(self, *, journal: Journal, invocations: Invocations, store: Callable[[InternalBatch], None]) -> None:
        """`store` appends a batch to the journal or raises JournalFull."""
        self._journal = journal
        self._invocations = invocations
        self._stored = StoredFailures(journal.directory)
        self._made: set[tuple[str, str]] = set()
        """Records that wait for the journal."""
        self._records = InternalRecords(store=store, invocations=invocations)
        self._failures = Failures(is_stored=self._is_stored, message_of=self._message_of)
        self._searched = (0, 0, "")
        """Number of a segment, the size that is searched, and the request that started last before it."""

    def judge(self) -> None:
        """Make the records of the failures that have arrived."""
        arrived = list(self._invocations.failures)
        self._invocations.failures.clear()
        for event in arrived:
            if event.type.startswith(PREFIX) and (request_id := attribution.platform_request(event)):
                self._stored.note(event.type, request_id)
        ended = [event for event in arrived if not event.type.startswith(PREFIX)]
        for event in ended:
            self._store(self._failures.on_event(event))
        # Everything up to here is searched, unless an invocation is running that may fail later.
        latest = next((event for event in reversed(ended) if event.type == decoder.RUNTIME_DONE), None)
        if latest and self._invocations.running is None:
            self._note_searched(attribution.platform_request(latest) or "")
        self.flush()

    def on_shutdown(self, reason: str) -> None:
        """Make the records that follow from the end of the execution environment."""
        self._store(self._failures.on_shutdown(reason, self._invocations.unended()))
        self.flush()

    def flush(self) -> None:
        """Store the records that had to wait."""
        self._records.flush()

    def _store(self, found: Iterable[FailureRecord]) -> None:
        for each in found:
            entry = (each.kind, each.request_id)
            self._made.add(entry)
            at = each.time or iso(self._journal.now_ms())
            self._records.append(timed_batch(each.kind, each.record, time=at), partial(self._on_stored, entry))

    def _on_stored(self, entry: tuple[str, str]) -> None:
        self._made.discard(entry)
        self._stored.add(*entry)

    def _is_stored(self, kind: str, request_id: str) -> bool:
        return (kind, request_id) in self._stored or (kind, request_id) in self._made

    def _message_of(self, request_id: str) -> str | None:
        """Return the message of exhausted memory in the lines of a request.

        Lines of concurrent invocations belong to no request, so Managed Instances are judged by the error type alone.
        """
        if self._journal.origin.concurrent:
            return None
        number, size, latest = self._searched
        if number == self._journal.open_header.number:
            return memory_errors.find(self._journal.open_bodies(after=size), request_id, latest=latest)
        sealed = memory_errors.find(self._sealed_bodies(), request_id, latest=None)
        header = self._journal.open_header
        latest_started = header.request_id or next(reversed(header.started), None)
        return sealed or memory_errors.find(self._journal.open_bodies(), request_id, latest=latest_started)

    def _note_searched(self, request_id: str) -> None:
        """Note that everything up to here is searched: the request has ended, and no other is running."""
        self._searched = (self._journal.open_header.number, self._journal.open_size, request_id)

    def _sealed_bodies(self) -> Iterator[bytes]:
        for segment in self._journal.sealed[-SEALED_SEARCHED:]:
            try:
                with self._journal.reading(segment) as (_, bodies):
                    yield from bodies
            except SegmentLost:
                continue
