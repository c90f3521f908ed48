"""Deduplication: the platform's repetition is detected, and no other batch is taken for one."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from logferry.listener.dedup import REMEMBERED, Deduplicator


def test_deduplicator_detects_a_batch_after_its_acceptance() -> None:
    """A query remembers nothing: a batch that was refused must be accepted when it is delivered again."""
    deduplicator = Deduplicator()
    assert not deduplicator.seen(b"[1]")
    assert not deduplicator.seen(b"[1]")
    deduplicator.note(b"[1]")
    assert deduplicator.seen(b"[1]")
    assert not deduplicator.seen(b"[2]")


def test_deduplicator_remembers_a_bounded_number_of_batches() -> None:
    """A repetition follows at once, and memory is bounded."""
    deduplicator = Deduplicator()
    for n in range(REMEMBERED + 1):
        deduplicator.note(b"[%d]" % n)
    assert not deduplicator.seen(b"[0]")
    assert all(deduplicator.seen(b"[%d]" % n) for n in range(1, REMEMBERED + 1))


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 199), st.integers(1, 255))
def test_deduplicator_distinguishes_batches_that_differ_in_one_byte(batch: bytes, at: int, by: int) -> None:
    """A batch that is taken for a repetition would be lost without a report."""
    deduplicator = Deduplicator()
    deduplicator.note(batch)
    other = bytearray(batch)
    other[at % len(batch)] ^= by
    assert not deduplicator.seen(bytes(other))
    assert not deduplicator.seen(batch + b" ")
    assert deduplicator.seen(batch)
