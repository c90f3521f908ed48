"""Batches and split records."""

from __future__ import annotations

import json

from logferry.emulator.telemetry.batch import Batch, Fragment, encode, split


def test_split_divides_a_record_repeatedly_and_within_a_character() -> None:
    """The joined bytes of all fragments are the record."""
    record = {"time": "t", "type": "function", "record": "é" * 1000}
    fragments = split(encode(record), record, space=301, max_bytes=600)
    envelope = b'{"time":"t","type":"function","record":'
    assert len(fragments) > 3
    assert [fragment.completes for fragment in fragments] == [None] * (len(fragments) - 1) + [record]
    value = b"".join(fragment.encoded.removeprefix(envelope)[:-1] for fragment in fragments)
    assert json.loads(envelope + value + b"}") == record
    assert split(encode(record), record, space=1, max_bytes=3000) == [Fragment(encode(record), record)]


def test_a_batch_is_full_after_a_split() -> None:
    """A further record would prevent the continuation of the split record."""
    batch = Batch(1000, 262_144)
    batch.add(Fragment(b"{", None))
    assert batch.full


def test_encode_escapes_a_lone_surrogate() -> None:
    """A lone surrogate in a JSON line does not lose the batch."""
    record = {"record": {"message": "\ud800"}}
    assert json.loads(encode(record)) == record


def test_remove_returns_matching_records_and_keeps_split_ones() -> None:
    """A record whose first fragment is in the batch cannot be removed without damage."""
    batch = Batch(1000, 262_144, due_at=1.0)
    fragments = [
        Fragment(b"{1}", {"type": "a"}),
        Fragment(b"{2", None),
        Fragment(b"2}", {"type": "a"}),
        Fragment(b"{3}", {"type": "b"}),
        Fragment(b"{1}", {"type": "a"}),
    ]
    for fragment in fragments:
        batch.add(fragment)
    assert batch.remove(lambda record: record["type"] == "a") == [fragments[0], fragments[4]]
    assert batch.fragments == fragments[1:4]
    assert batch.size == 7
    assert batch.due_at == 1.0


def test_remove_of_all_records_makes_a_batch_not_due() -> None:
    """An empty batch is not sent."""
    batch = Batch(1000, 262_144, due_at=1.0)
    batch.add(Fragment(b"{}", {"type": "a"}))
    batch.remove(lambda _: True)
    assert (batch.fragments, batch.size, batch.due_at) == ([], 0, None)
