"""Frames are complete or not there, and a damaged frame is distinguished from a torn tail."""

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
    """Return the frames of bodies, one after another."""
    return b"".join(frame.head(body) + body for body in bodies)


def read(content: bytes, *, closed: bool = False) -> tuple[list[bytes | frame.CorruptFrame], int]:
    """Return the frames of a file and the position of the reader."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        return list(frame.read(file, closed=closed)), file.tell()


@QUICK
@given(BODIES)
def test_frames_are_read_back_in_order(bodies: list[bytes]) -> None:
    """The reader returns the bodies in order and stops behind the last."""
    content = framed(bodies)
    assert read(content) == (bodies, len(content))


@QUICK
@given(BODIES, st.data())
def test_frame_mark_belongs_to_its_body_only(bodies: list[bytes], data: st.DataObject) -> None:
    """The mark is part of the head, under the head's checksum; no body can set it."""
    marked = [InternalBatch(body) if data.draw(st.booleans()) else body for body in bodies]
    found, _ = read(framed(marked))
    assert found == bodies
    assert [type(body) for body in found] == [type(body) for body in marked]


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), st.floats(0, 1, exclude_max=True))
def test_reader_stops_before_a_torn_frame(bodies: list[bytes], torn: bytes, at: float) -> None:
    """A frame that was written in part is ignored, wherever it was torn."""
    content, last = framed(bodies), framed([torn])
    assert read(content + last[: int(at * len(last))]) == (bodies, len(content))


@QUICK
@given(BODIES, st.integers(1, 100))
def test_reader_finds_no_frame_in_zero_bytes(bodies: list[bytes], size: int) -> None:
    """Zero bytes, as a crashed file system leaves them, are a torn tail or counted damage, and never empty frames."""
    content = framed(bodies)
    found, _ = read(content + bytes(size))
    assert found[: len(bodies)] == bodies
    assert found[len(bodies) :] in ([], [frame.CorruptFrame(size)])
    assert found[len(bodies) :] or size < frame.HEAD_BYTES


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_half_a_frame_is_damage_in_a_closed_file(bodies: list[bytes], torn: bytes, at: float) -> None:
    """A closed file was sealed with complete frames only, so the missing part was accepted."""
    content, last = framed(bodies), framed([torn])
    rest = last[: max(1, int(at * len(last)))]
    assert read(content + rest, closed=True) == ([*bodies, frame.CorruptFrame(len(rest))], len(content + rest))


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), BODIES, st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_flipped_bit_in_a_body_loses_that_body_only(
    before: list[bytes], hit: bytes, after: list[bytes], at: float, bit: int
) -> None:
    """The reader reports the size of the damaged body and reads the bodies behind it."""
    content = bytearray(framed([*before, hit, *after]))
    content[len(framed(before)) + frame.HEAD_BYTES + int(at * len(hit))] ^= 1 << bit
    assert read(bytes(content)) == ([*before, frame.CorruptFrame(len(hit)), *after], len(content))


@QUICK
@given(BODIES, st.binary(min_size=1, max_size=60), st.integers(0, frame.HEAD_BYTES * 8 - 1))
def test_flipped_bit_in_a_head_yields_only_written_bodies(before: list[bytes], hit: bytes, bit: int) -> None:
    """A damaged head cannot lead the reader to a wrong place."""
    content = bytearray(framed([*before, hit]))
    content[len(framed(before)) + bit // 8] ^= 1 << (bit % 8)
    found, _ = read(bytes(content))
    assert [body for body in found if isinstance(body, bytes)] == before


@pytest.mark.parametrize("size", [frame.MAX_BODY_BYTES + 1, 2**32 - 1])
def test_excessive_length_is_not_a_head_and_reserves_no_memory(size: int) -> None:
    """A length above the limit is rejected, even with a valid checksum."""
    start = frame._HEAD.pack(size, 0)
    assert read(start + frame._CHECK.pack(zlib.crc32(start)) + b"body") == ([frame.CorruptFrame(16)], 16)
