"""Deliveries that came before: the platform's repeat is recognised, and nothing else is taken for one."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from logferry.listener.dedup import REMEMBERED, Repeats


def test_a_body_is_known_after_it_was_accepted_and_not_before() -> None:
    """Asking alone remembers nothing: a delivery that was refused must be taken when it comes again."""
    repeats = Repeats()
    assert not repeats.seen(b"[1]")
    assert not repeats.seen(b"[1]")
    repeats.note(b"[1]")
    assert repeats.seen(b"[1]")
    assert not repeats.seen(b"[2]")


def test_only_the_last_few_are_remembered() -> None:
    """A repeat follows at once; memory is bounded."""
    repeats = Repeats()
    for n in range(REMEMBERED + 1):
        repeats.note(b"[%d]" % n)
    assert not repeats.seen(b"[0]")
    assert all(repeats.seen(b"[%d]" % n) for n in range(1, REMEMBERED + 1))


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 199), st.integers(1, 255))
def test_a_body_that_differs_in_one_byte_is_another(body: bytes, at: int, by: int) -> None:
    """Taken for a repeat it would be lost in silence."""
    repeats = Repeats()
    repeats.note(body)
    other = bytearray(body)
    other[at % len(body)] ^= by
    assert not repeats.seen(bytes(other))
    assert not repeats.seen(body + b" ")
    assert repeats.seen(body)
