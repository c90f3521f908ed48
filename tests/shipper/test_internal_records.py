"""Queue of the records that logferry makes while batches arrive."""

from __future__ import annotations

from logferry.errors import JournalFull
from logferry.records.internal import InternalBatch
from logferry.records.invocations import Invocations
from logferry.shipper.internal_records import KEPT, InternalRecords

CUT = b'[{"time":"2026-11-21T00:00:00.000Z","type":"platform.report","record":{"x":"xxx}]'
REST = b'[{"time":"2026-11-21T00:00:00.000Z","type":"platform.report","record":y"}}]'


class Store:
    """A journal that may be full, and whose callbacks flush the queue again."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.full = False
        self.invocations = Invocations()
        self.records = InternalRecords(store=self.store, invocations=self.invocations)

    def store(self, batch: InternalBatch) -> None:
        """Store a batch."""
        if self.full:
            raise JournalFull("full")
        self.stored.append(batch)
        self.records.flush()


def test_records_are_stored_in_order_and_each_once() -> None:
    """A callback of the journal may flush the queue again, for as many records as may wait."""
    store, after = Store(), []
    store.full = True
    for n in range(KEPT):
        store.records.append(InternalBatch(b"%d" % n), lambda n=n: after.append(n))  # type: ignore[misc]
    assert store.stored == []
    store.full = False
    store.records.flush()
    assert store.stored == [b"%d" % n for n in range(KEPT)]
    assert after == list(range(KEPT))


def test_record_waits_for_the_second_half_of_a_cut_record() -> None:
    """The journal has both halves first."""
    store = Store()
    store.invocations.see(CUT)
    store.records.append(InternalBatch(b"own"))
    assert store.stored == []
    store.invocations.see(REST)
    store.records.flush()
    assert store.stored == [b"own"]


def test_number_of_waiting_records_is_bounded() -> None:
    """The newest records are kept."""
    store = Store()
    store.full = True
    for n in range(KEPT + 5):
        store.records.append(InternalBatch(b"%d" % n))
    store.full = False
    store.records.flush()
    assert store.stored == [b"%d" % n for n in range(5, KEPT + 5)]
