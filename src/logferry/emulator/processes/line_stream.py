"""A pipe or socket turned into lines, without a thread and without losing their place among other events.

What a process wrote before it sent a request is read before that request is acted upon: `drain()` takes exactly what
is in the pipe at that moment. So the lines of an invocation come before its `platform.runtimeDone`, every time.
A line may be of any length up to LONGEST_LINE; a longer one is cut there, as there must be a bound.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. Generous: a log line on Lambda is some hundred bytes, a dumped payload at most six mebibytes."""

READ_SIZE = 64 * 1024
"""Bytes at a time: the capacity of a Linux pipe."""


class LineStream:
    """Calls `on_line` with each line, newline included; what is left at the end counts as a line."""

    def __init__(self, descriptor: int, on_line: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._on_line = on_line
        self._partial = bytearray()
        self._searched = 0
        self.ended = False
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read, READ_SIZE)

    def __repr__(self) -> str:
        return f"<LineStream {'ended' if self.ended else 'open'}, {len(self._partial)} bytes of an unfinished line>"

    def drain(self) -> None:
        """Read what is there now, and no more, so that a process that never stops writing cannot hold us."""
        if self.ended:
            return
        available = array.array("i", [0])
        fcntl.ioctl(self._descriptor, termios.FIONREAD, available)
        left = available[0]
        while left > 0 and not self.ended:
            taken = self._read(min(left, READ_SIZE))
            left -= taken or left

    def close(self) -> None:
        """Stop reading; hand on the unfinished line, if any. Safe to call again."""
        if self.ended:
            return
        self.ended = True
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        if self._partial:
            self._on_line(bytes(self._partial))
            self._partial.clear()

    def _read(self, size: int) -> int:
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            return 0
        except OSError:  # the other end of a socket was reset: the end of the stream, as good as any
            data = b""
        if not data:
            self.close()
            return 0
        self._partial += data
        self._split()
        return len(data)

    def _split(self) -> None:
        start = 0
        while (end := self._partial.find(b"\n", max(start, self._searched))) >= 0:
            self._on_line(bytes(self._partial[start : end + 1]))
            start = end + 1
        del self._partial[:start]
        self._searched = len(self._partial)
        if len(self._partial) >= LONGEST_LINE:
            self._on_line(bytes(self._partial))
            self._partial.clear()
            self._searched = 0
