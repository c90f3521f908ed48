"""Deliveries that came before: the platform's repeat is recognised, and nothing else is taken for one."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from logferry.listener.dedup import REMEMBERED, Deduplicator


def test_a_body_is_known_after_it_was_accepted_and_not_before() -> None:
    """Asking alone remembers nothing: a delivery that was refused must be taken when it comes again."""
    deduplicator = Deduplicator()
    assert not deduplicator.seen(b"[1]")
    assert not deduplicator.seen(b"[1]")
    deduplicator.note(b"[1]")
    assert deduplicator.seen(b"[1]")
    assert not deduplicator.seen(b"[2]")


def test_only_the_last_few_are_remembered() -> None:
    """A repeat follows at once; memory is bounded."""
    deduplicator = Deduplicator()
    for n in range(REMEMBERED + 1):
        deduplicator.note(b"[%d]" % n)
    assert not deduplicator.seen(b"[0]")
    assert all(deduplicator.seen(b"[%d]" % n) for n in range(1, REMEMBERED + 1))


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 199), st.integers(1, 255))
def test_a_body_that_differs_in_one_byte_is_another(body: bytes, at: int, by: int) -> None:
    """Taken for a repeat it would be lost in silence."""
    deduplicator = Deduplicator()
    deduplicator.note(body)
    other = bytearray(body)
    other[at % len(body)] ^= by
    assert not deduplicator.seen(bytes(other))
    assert not deduplicator.seen(body + b" ")
    assert deduplicator.seen(body)
