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
