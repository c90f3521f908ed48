"""The named pipe into which the function's processes write events, on the side of the shipper.

Guarantees:
- `read` never waits. It returns at most `READ_BYTES` of complete lines.
- A line that is longer than `MAX_LINE_BYTES` is discarded and counted, however long it is. Memory is bounded.
- Bytes stay in the pipe until they are read, across a freeze of the environment and a restart of the shipper.

Design: one `write` of at most 4,096 bytes is atomic among many writers (pipe(7), PIPE_BUF). The supervisor made the
pipe and holds both ends, so there is no end of file. The event loop never waits for the descriptor: waking the reader
would cost the function 15 to 40 µs for each event, on its own core. See `event_collection` for the moments of a read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

MAX_LINE_BYTES = 4096
"""Longest line with its line break, in bytes: the largest atomic write."""
FIONREAD = 0x541B
"""Request for the number of bytes in the pipe (ioctl(2), FIONREAD(2const)). `import termios` would be another file."""
_NO_BYTES = bytes(4)
READ_BYTES = 64 * 1024
"""Size of one read. A shipper that is killed before it has stored a read loses at most these bytes."""
CAPACITY_BYTES = 1024 * 1024
"""Requested capacity of the pipe: 3,300 events of 300 bytes."""


class EventPipe:
    """The reading end of the pipe, split into lines."""

    def __init__(self, fd: int) -> None:
        """Take over the descriptor, which is non-blocking, and enlarge the pipe if the kernel allows it."""
        self._fd = fd
        self._tail = b""
        self._in_oversized = False
        self.received = 0
        """Number of bytes read so far."""
        self.oversized = 0
        """Number of lines that were longer than `MAX_LINE_BYTES`; the reader of this value resets it."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, CAPACITY_BYTES)
        self.capacity = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        """Capacity of the pipe in bytes. It stays at 64 KiB if the user's limit of pipe memory is reached (pipe(7))."""

    def has_content(self) -> bool:
        """Return whether a read would return anything. It costs a fraction of a read that fails."""
        try:
            return fcntl.ioctl(self._fd, FIONREAD, _NO_BYTES) != _NO_BYTES
        except OSError:
            return False

    def read(self) -> list[bytes] | None:
        """Return the lines that the next read completes, or None if the pipe is empty."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except OSError:  # mostly BlockingIOError
            return None
        self.received += len(data)
        *lines, tail = (self._tail + data).split(b"\n")
        if self._in_oversized and lines:
            del lines[0]
            self._in_oversized = False
        self._tail = b"" if self._in_oversized else tail
        if len(self._tail) >= MAX_LINE_BYTES:
            self.oversized += 1
            self._tail, self._in_oversized = b"", True
        return self._without_oversized(lines)

    def take_tail(self) -> bytes:
        """Return the beginning of a line without a line break, and forget it."""
        tail, self._tail = self._tail, b""
        return tail

    def _without_oversized(self, lines: list[bytes]) -> list[bytes]:
        fitting = [line for line in lines if len(line) < MAX_LINE_BYTES]
        self.oversized += len(lines) - len(fitting)
        return fitting
