"""Memory of accepted data records: nothing is skipped that was not accepted, and the memory is bounded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from logferry.sinks.firehose import accepted_records
from logferry.sinks.firehose.accepted_records import AcceptedRecords

if TYPE_CHECKING:
    import pytest

some_records = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=8)


@given(records=some_records, accepted=st.lists(some_records, max_size=3))
def test_each_accepted_record_is_skipped_once(records: list[bytes], accepted: list[list[bytes]]) -> None:
    """Two equal records of an object are two records: one that was accepted does not stand for both."""
    memory = AcceptedRecords()
    for each in accepted:
        memory.add("key", each)
    waiting = [bytes(record) for record in memory.waiting("key", records)]
    assert Counter(waiting) == Counter(records) - sum((Counter(each) for each in accepted), Counter[bytes]())
    assert memory.waiting("other", records) == records


def test_complete_object_is_forgotten() -> None:
    """A later object with the same key is sent as a whole."""
    memory = AcceptedRecords()
    memory.add("key", [b"a"])
    memory.forget("key")
    memory.forget("never seen")
    assert memory.waiting("key", [b"a"]) == [b"a"]


def test_oldest_objects_are_forgotten_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their records are sent again, which is no loss."""
    monkeypatch.setattr(accepted_records, "MAX_DIGESTS", 4)
    memory = AcceptedRecords()
    memory.add("first", [b"a", b"b"])
    memory.add("second", [b"a", b"b"])
    memory.add("first", [b"c"])
    assert memory.waiting("second", [b"a"]) == [b"a"]
    assert memory.waiting("first", [b"a", b"b", b"c", b"d"]) == [b"d"]
    memory.add("huge", [bytes([number]) for number in range(5)])
    assert memory.waiting("huge", [b"\x00"]) == [b"\x00"]
    assert memory._digests == {}
