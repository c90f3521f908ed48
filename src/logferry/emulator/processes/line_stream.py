"""Lines from a pipe or socket, without a thread and in order with other events.

Guarantees:
- `drain()` reads exactly the bytes that are in the pipe at that moment. The emulator drains before it
  acts on a request, so the lines of an invocation always precede its `platform.runtimeDone`.
- A line may have any length up to `MAX_LINE_BYTES`. A longer line is split there, to bound memory.
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

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Length limit of a line, in bytes. A dumped payload has at most 6 MiB."""

READ_SIZE = 64 * 1024
"""Size of one read, in bytes: the capacity of a Linux pipe."""


class LineStream:
    """Calls `on_line` for each line including its newline; the rest at the end counts as a line."""

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
        """Read the bytes that are available now, so that a process that never stops writing cannot block."""
        if self.ended:
            return
        available = array.array("i", [0])
        fcntl.ioctl(self._descriptor, termios.FIONREAD, available)
        left = available[0]
        while left > 0 and not self.ended:
            taken = self._read(min(left, READ_SIZE))
            left -= taken or left

    def close(self) -> None:
        """Stop reading and pass on the unfinished line, if any. A second call is safe."""
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
        except OSError:  # a reset of a socket by its peer ends the stream as well
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
        if len(self._partial) >= MAX_LINE_BYTES:
            self._on_line(bytes(self._partial))
            self._partial.clear()
            self._searched = 0
