"""Lines from a pipe."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from logferry.emulator.processes import line_stream
from logferry.emulator.processes.line_stream import LineStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


@contextmanager
def piped() -> Iterator[tuple[LineStream, int, list[bytes]]]:
    """Give a stream, the end to write to, and the lines so far."""
    lines: list[bytes] = []
    read_end, write_end = os.pipe()
    stream = LineStream(read_end, lines.append)
    yield stream, write_end, lines
    stream.close()
    os.close(write_end)


async def test_drain_reads_all_available_lines_immediately() -> None:
    """Lines that precede a request are processed before it, without a turn of the event loop."""
    with piped() as (stream, write_end, lines):
        os.write(write_end, b"one\ntwo\nthr")
        assert lines == []
        stream.drain()
        assert lines == [b"one\n", b"two\n"]
        os.write(write_end, b"ee\n")
        stream.drain()
    assert lines == [b"one\n", b"two\n", b"three\n"]


async def test_close_passes_on_the_unfinished_line() -> None:
    """The last line of a process that dies is not lost."""
    with piped() as (stream, write_end, lines):
        os.write(write_end, b"unfinis")
        stream.drain()
        stream.close()
        stream.drain()
    assert lines == [b"unfinis"]


async def test_a_line_over_the_limit_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, even if a process never writes a newline."""
    monkeypatch.setattr(line_stream, "MAX_LINE_BYTES", 8)
    with piped() as (stream, write_end, lines):
        os.write(write_end, b"0123456789")
        stream.drain()
        os.write(write_end, b"ab\n")
        stream.drain()
    assert lines == [b"0123456789", b"ab\n"]
