"""The two small mechanisms everything else stands on: reading lines in time, and waiting for a state."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.conditions import EnvironmentBrokenError, Failure, Gates
from logferry.emulator.processes import line_stream
from logferry.emulator.processes.line_stream import LineStream

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def piped() -> Iterator[tuple[LineStream, int, list[bytes]]]:
    """A stream, the end to write to, and the lines so far."""
    lines: list[bytes] = []
    read_end, write_end = os.pipe()
    stream = LineStream(read_end, lines.append)
    yield stream, write_end, lines
    stream.close()
    os.close(write_end)


async def test_draining_reads_at_once_what_is_there() -> None:
    """What a process printed before a request is known before the request is acted upon, without a turn of the loop."""
    with piped() as (stream, write_end, lines):
        os.write(write_end, b"one\ntwo\nthr")
        assert lines == []
        stream.drain()
        assert lines == [b"one\n", b"two\n"]
        os.write(write_end, b"ee\n")
        stream.drain()
    assert lines == [b"one\n", b"two\n", b"three\n"]


async def test_the_unfinished_line_is_handed_on_at_the_end() -> None:
    """A process that dies in the middle of a line has said something all the same."""
    with piped() as (stream, write_end, lines):
        os.write(write_end, b"last wor")
        stream.drain()
        stream.close()
        stream.drain()
    assert lines == [b"last wor"]


async def test_a_line_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded even against a process that never writes a newline."""
    monkeypatch.setattr(line_stream, "LONGEST_LINE", 8)
    with piped() as (stream, write_end, lines):
        os.write(write_end, b"0123456789")
        stream.drain()
        os.write(write_end, b"ab\n")
        stream.drain()
    assert lines == [b"0123456789", b"ab\n"]


def soon() -> float:
    """A deadline that a waiting test can afford."""
    return asyncio.get_running_loop().time() + 0.05


async def test_the_first_failure_stays() -> None:
    """An exit/error keeps its name over the exit that follows it."""
    gates = Gates()
    gates.fail(Failure("Extension.ExitError", "said so"))
    gates.fail(Failure("Extension.Crash", "exit status 1"))
    with pytest.raises(EnvironmentBrokenError, match=r"Extension\.ExitError: said so"):
        await gates.until(lambda: True, deadline=soon())


async def test_a_wait_ends_when_its_condition_holds() -> None:
    """And not before."""
    gates = Gates()
    state: list[int] = []
    waiting = asyncio.create_task(gates.until(lambda: bool(state), deadline=soon() + 5))
    await asyncio.sleep(0)
    gates.changed()
    await asyncio.sleep(0)
    assert not waiting.done()
    state.append(1)
    gates.changed()
    await waiting


async def test_a_wait_ends_at_its_deadline() -> None:
    """Nothing waits for ever, broken or not."""
    gates = Gates()
    with pytest.raises(TimeoutError):
        await gates.until(lambda: False, deadline=soon())
    gates.fail(Failure("Extension.Crash", "exit code 0"))
    with pytest.raises(TimeoutError):
        await gates.until_even_if_broken(lambda: False, deadline=soon())
