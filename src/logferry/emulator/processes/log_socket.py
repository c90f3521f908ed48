"""The Unix socket for the output of Managed Instances workers.

Design: a Managed Instances runtime forks its workers. Each worker connects its stdout and its stderr
to the socket named by `_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET`. Each connection is a separate stream
of lines, so the lines of two workers never mix.

References: `lambda_multi_concurrent_utils.py` in awslambdaric.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.emulator.processes.line_stream import LineStream

if TYPE_CHECKING:
    from collections.abc import Callable


class LogSocket:
    """A listening Unix socket that calls `on_line` for the lines of every connection."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._streams: list[LineStream] = []
        self._directory = tempfile.mkdtemp(prefix="lambda-log-")
        self.path = str(Path(self._directory, "socket"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(self.path)
        self._listener.listen()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def __repr__(self) -> str:
        return f"<LogSocket {self.path}, {len(self._streams)} connections>"

    def drain(self) -> None:
        """Read the bytes that every connection has written so far."""
        for stream in self._streams:
            stream.drain()

    def close(self) -> None:
        """Stop listening and pass on unfinished lines."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        for stream in self._streams:
            stream.drain()
            stream.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            self._streams.append(LineStream(connection.detach(), self._on_line))
