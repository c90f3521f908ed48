"""The reading end of the pipe, with a real FIFO: lines, their limits, and what happens when it is full."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from logferry.instrumentation.event_pipe import CAPACITY_BYTES, MAX_LINE_BYTES, READ_BYTES, EventPipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[EventPipe, int]]:
    """Provide the pipe and the descriptor of a non-blocking writer."""
    path = tmp_path / "events"
    os.mkfifo(path, 0o600)
    reading = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    yield EventPipe(reading), writing
    os.close(reading)
    os.close(writing)


def read_all(pipe: EventPipe) -> list[bytes]:
    """Return all lines that the pipe holds."""
    found: list[bytes] = []
    while (lines := pipe.read()) is not None:
        found += lines
    return found


def test_empty_pipe_returns_at_once(ends: tuple[EventPipe, int]) -> None:
    """A read never waits."""
    pipe, _ = ends
    assert pipe.read() is None
    assert pipe.capacity in (CAPACITY_BYTES, READ_BYTES)


def test_line_that_arrives_in_parts_is_returned_when_it_is_complete(ends: tuple[EventPipe, int]) -> None:
    """A writer without atomic writes is possible; bytes are joined in their order."""
    pipe, writing = ends
    os.write(writing, b"first\nsec")
    assert read_all(pipe) == [b"first"]
    os.write(writing, b"ond\n\nthird")
    assert read_all(pipe) == [b"second", b""]
    assert (pipe.take_tail(), pipe.take_tail()) == (b"third", b"")


def test_full_pipe_refuses_a_writer_and_keeps_every_complete_line(ends: tuple[EventPipe, int]) -> None:
    """The writer gets EAGAIN instead of waiting, and everything before it arrives in order."""
    pipe, writing = ends
    sent: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        for number in range(pipe.capacity):
            os.write(writing, b"%d:%s\n" % (number, b"x" * 290))
            sent.append(b"%d:%s" % (number, b"x" * 290))
    assert len(sent) < pipe.capacity
    assert len(sent) * 300 > pipe.capacity * 0.8
    assert read_all(pipe) == sent
    os.write(writing, b"again\n")
    assert read_all(pipe) == [b"again"]


@pytest.mark.parametrize("size", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, READ_BYTES - 1, READ_BYTES, 3 * READ_BYTES])
def test_line_over_the_limit_is_counted_and_the_next_line_is_intact(ends: tuple[EventPipe, int], size: int) -> None:
    """A line has at most 4,096 bytes with its line break. Memory does not grow with a longer one."""
    pipe, writing = ends
    data, found = b"a\n" + b"z" * size + b"\nb\nc\n", list[bytes]()
    while data:
        data = data[os.write(writing, data[:READ_BYTES]) :]
        found += read_all(pipe)
        assert len(pipe._tail) < MAX_LINE_BYTES
    fits = size < MAX_LINE_BYTES
    assert found == [b"a", *([b"z" * size] if fits else []), b"b", b"c"]
    assert pipe.oversized == (0 if fits else 1)


def test_endless_line_is_counted_once(ends: tuple[EventPipe, int]) -> None:
    """A line without an end occupies no memory, and reading goes on behind it."""
    pipe, writing = ends
    for _ in range(50):
        os.write(writing, b"z" * READ_BYTES)
        assert read_all(pipe) == []
        assert pipe._tail == b""
    os.write(writing, b"\nnext\n")
    assert read_all(pipe) == [b"next"]
    assert pipe.oversized == 1
