"""Frames: whole or not there, and a damaged one is told apart from a torn tail."""

from __future__ import annotations

import tempfile
import zlib

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from logferry.journal import frame
from logferry.records.internal import InternalBatch

BODIES = st.lists(st.binary(min_size=1, max_size=60), max_size=6)
QUICK = settings(max_examples=100, deadline=None, print_blob=True)


def framed(bodies: list[bytes]) -> bytes:
    """Lay bodies one after another."""
    return b"".join(frame.head(body) + body for body in bodies)


def read(content: bytes, *, closed: bool = False) -> tuple[list[bytes | frame.CorruptFrame], int]:
    """Read the frames of a file, and say where the reader stopped."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        return list(frame.read(file, closed=closed)), file.tell()


@QUICK
@given(BODIES)
def test_what_was_framed_is_read_back(bodies: list[bytes]) -> None:
    """Bodies come back in their order, and the reader stands behind the last."""
    content = framed(bodies)
    assert read(content) == (bodies, len(content))


@QUICK
@given(BODIES, st.data())
def test_the_mark_of_our_own_comes_back_with_its_body_alone(bodies: list[bytes], data: st.DataObject) -> None:
    """It stands in the head, under the head's checksum; nothing in a body can set it."""
    marked = [InternalBatch(body) if data.draw(st.booleans()) else body for body in bodies]
    found, _ = read(framed(marked))
    assert found == bodies
    assert [type(body) for body in found] == [type(body) for body in marked]


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), st.floats(0, 1, exclude_max=True))
def test_a_torn_frame_ends_the_reading_before_it(bodies: list[bytes], torn: bytes, at: float) -> None:
    """A frame of which only a part was written is as if it were not there, wherever it was torn."""
    content, last = framed(bodies), framed([torn])
    assert read(content + last[: int(at * len(last))]) == (bodies, len(content))


@QUICK
@given(BODIES, st.integers(1, 100))
def test_a_hole_of_zeros_is_no_frame(bodies: list[bytes], size: int) -> None:
    """Zero bytes, as a crashed file system leaves them, are no empty frames: a torn tail, or damage that is counted."""
    content = framed(bodies)
    found, _ = read(content + bytes(size))
    assert found[: len(bodies)] == bodies
    assert found[len(bodies) :] in ([], [frame.CorruptFrame(size)])
    assert found[len(bodies) :] or size < frame.HEAD_BYTES


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_in_a_closed_file_half_a_frame_is_damage(bodies: list[bytes], torn: bytes, at: float) -> None:
    """It was sealed with whole frames only: what is missing of the last one was accepted."""
    content, last = framed(bodies), framed([torn])
    rest = last[: max(1, int(at * len(last)))]
    assert read(content + rest, closed=True) == ([*bodies, frame.CorruptFrame(len(rest))], len(content + rest))


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), BODIES, st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_in_a_body_costs_that_body_alone(
    before: list[bytes], hit: bytes, after: list[bytes], at: float, bit: int
) -> None:
    """The damaged body is said to be lost with its size, and those behind it are read."""
    content = bytearray(framed([*before, hit, *after]))
    content[len(framed(before)) + frame.HEAD_BYTES + int(at * len(hit))] ^= 1 << bit
    assert read(bytes(content)) == ([*before, frame.CorruptFrame(len(hit)), *after], len(content))


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), st.integers(0, frame.HEAD_BYTES * 8 - 1))
def test_a_flipped_bit_in_a_head_never_yields_what_was_not_written(before: list[bytes], hit: bytes, bit: int) -> None:
    """A damaged head cannot send the reader to a wrong place: nothing invented comes out."""
    content = bytearray(framed([*before, hit]))
    content[len(framed(before)) + bit // 8] ^= 1 << (bit % 8)
    found, _ = read(bytes(content))
    assert [body for body in found if isinstance(body, bytes)] == before


@pytest.mark.parametrize("size", [frame.MAX_BODY_BYTES + 1, 2**32 - 1])
def test_an_absurd_length_is_no_head_and_reserves_no_memory(size: int) -> None:
    """A length that no delivery has is not believed, even under a sound checksum."""
    start = frame._HEAD.pack(size, 0)
    assert read(start + frame._CHECK.pack(zlib.crc32(start)) + b"body") == ([frame.CorruptFrame(16)], 16)
