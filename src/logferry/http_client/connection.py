"""One HTTP/1.1 connection as an asyncio protocol: one request at a time.

Guarantees:
- The response is read while the request is written. A server that responds before it has read the
  body, and then stops reading, cannot block the client.
- A request waits at most `timeout_seconds` for the next progress: bytes accepted by the kernel,
  bytes acknowledged by the server's TCP, or the complete response.
- After an error, a timeout or a cancellation the connection is closed.

Design: a large body is written in parts, so that the transport holds one part and not a copy of the
body. One timer serves the complete request. It takes effect after the bytes that arrived at the
same moment, so a response that arrived during a freeze counts. The kernel reports acknowledgements
in `tcp_info`; without this report only the other two kinds of progress count.

References: RFC 9112, section 9.3 (persistence) and 9.5 (failures and timeouts); Linux,
`include/uapi/linux/tcp.h`.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
import time
from typing import TYPE_CHECKING

from logferry.http_client.response import MAX_RESPONSE_BYTES, HttpError, ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.http_client.response import Response

WRITE_BYTES = 64 * 1024
"""Bytes that are handed to the transport at a time."""
_LAST_ACK = slice(56, 60)
"""`tcpi_last_ack_recv` of Linux's `struct tcp_info`: age of the last acknowledgement in ms."""
_UNACKED = slice(24, 28)
"""`tcpi_unacked` in the same structure: sent packets without an acknowledgement."""
_BYTES_ACKED = slice(120, 128)
"""`tcpi_bytes_acked` in the same structure: acknowledged bytes of the connection."""
_UNKNOWN = float("inf")


class ResponseTimeout(HttpError):
    """A request without progress for as long as it may take."""


class HttpConnection(asyncio.Protocol):
    """A connection to one host."""

    def __init__(
        self, wall_clock: Callable[[], float] = time.time, *, max_response_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self._wall_clock = wall_clock
        self._max_response_bytes = max_response_bytes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._socket: socket.socket
        self._poll = select.poll()
        self._reader = ResponseReader(max_response_bytes)
        self._requested = False
        self._closed = False
        self._writable = True
        self._error: HttpError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timeout = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._progress_at = 0.0
        self._acked = b""
        self._used_at = self._used_at_wall = 0.0

    # --- state

    @property
    def has_received(self) -> bool:
        """Whether a byte of the response has arrived."""
        return self._reader.received > 0

    def idle_seconds(self) -> tuple[float, float]:
        """Return the time since the last use, by the monotonic clock and by the wall clock."""
        return self._loop.time() - self._used_at, self._wall_clock() - self._used_at_wall

    async def is_open(self) -> bool:
        """Return whether the other side has left the connection open.

        Unread bytes are processed first.
        """
        if not self._closed and self._poll.poll(0):
            # The first pause lets the loop see the socket, the second one lets it read. TLS session
            # tickets are read here too, and are no reason to close.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return not (self._closed or self._transport.is_closing())

    def acknowledged_bytes(self) -> bytes:
        """Return the kernel's counter of acknowledged bytes; empty if it is unknown.

        The age of the last acknowledgement does not show a silent connection. It is also renewed by
        packets that acknowledge nothing new, so a connection without a way looked alive for seconds.
        """
        return self._tcp_info()[_BYTES_ACKED]

    def is_acknowledged(self) -> bool:
        """Return whether the server's TCP has acknowledged everything that was written; False if it is unknown."""
        unacked = self._tcp_info()[_UNACKED]
        return bool(unacked) and not any(unacked) and not self._transport.get_write_buffer_size()

    def _seconds_since_ack(self) -> float:
        """Return the age of the last acknowledgement in seconds; infinity if it is unknown."""
        age = self._tcp_info()[_LAST_ACK]
        return int.from_bytes(age, sys.byteorder) / 1000 if age else _UNKNOWN

    def fail(self, error: HttpError) -> None:
        """End the request with an error, unless its response is complete."""
        if self._error is None:
            self._error = error
        self._wake()

    def abort(self) -> None:
        """Close the connection at once."""
        self._closed = True
        self._transport.abort()

    # --- one request

    async def exchange(self, head: bytes, body: bytes, timeout_seconds: float) -> Response:
        """Send a request and return its response. Raises HttpError (ResponseTimeout included)."""
        self._requested = True
        if head.startswith(b"HEAD "):
            self._reader = ResponseReader(self._max_response_bytes, has_body=False)
        self._note_use()
        self._timeout, self._progress_at = timeout_seconds, self._used_at
        self._timer = self._loop.call_later(timeout_seconds, self._check_progress)
        try:
            await self._send(head, body)
            while self._reader.response is None:
                await self._wait()
        except BaseException:
            self.abort()
            raise
        finally:
            self._timer.cancel()
        response, reusable = self._reader.response, self._reader.reusable
        self._reader, self._requested = ResponseReader(self._max_response_bytes), False
        self._note_use()
        if not reusable:
            self.abort()
        return response

    async def _send(self, head: bytes, body: bytes) -> None:
        """Write the request in parts, until it is written or the response is complete."""
        first, rest = (head + body, b"") if len(body) <= WRITE_BYTES else (head, body)
        self._transport.write(first)
        self._acked = self.acknowledged_bytes()
        for start in range(0, len(rest), WRITE_BYTES):
            self._transport.write(rest[start : start + WRITE_BYTES])
            while not self._writable and self._reader.response is None:
                await self._wait()
            self._progress_at = self._loop.time()
            if self._reader.response is not None:
                self._reader.reusable = False  # the server has not read the rest of the body
                return

    async def _wait(self) -> None:
        """Wait for the next event of this connection. Raises the error that ended it."""
        if self._error is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None and self._reader.response is None:
            raise self._error

    def _check_progress(self) -> None:
        """End the request if there was no progress; otherwise check again."""
        before, self._acked = self._acked, self.acknowledged_bytes()
        if self._acked != before:
            self._progress_at = max(self._progress_at, self._loop.time() - self._seconds_since_ack())
        remaining = self._progress_at + self._timeout - self._loop.time()
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check_progress)
        elif self._writable:
            self.fail(ResponseTimeout(f"no response within {self._timeout:g} s"))
        else:
            self.fail(ResponseTimeout(f"the body was not accepted for {self._timeout:g} s"))

    def _tcp_info(self) -> bytes:
        try:
            info: bytes = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.stop)
        except (OSError, AttributeError):  # closed, or not Linux
            return b""
        return info

    # --- callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # TCP and TLS transports are both ways
        self._socket = transport.get_extra_info("socket")
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._note_use()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes. Bytes that no request asked for end the connection."""
        if not self._requested:
            self.abort()
            return
        try:
            self._reader.feed(data)
        except HttpError as error:
            self.fail(error)
        if self._reader.response is not None:
            self._wake()

    def eof_received(self) -> None:
        """Complete a response that lasts until the end; the transport then closes itself."""
        self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the error, or the end, to the request that waits."""
        self._end(error)

    def pause_writing(self) -> None:
        """Stop writing: the transport's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """Continue writing."""
        self._writable = True
        self._wake()

    def _end(self, error: Exception | None) -> None:
        self._closed = True
        if self._error is None:
            self._error = self._cause(error)
        self._reader.reusable = False
        self._wake()

    def _cause(self, error: Exception | None) -> HttpError | None:
        """Return the error for an ended connection; None if the end completes the response."""
        if error is not None:
            when = "in the middle of the response" if self.has_received else "without a response"
            return HttpError(f"the connection was lost {when}: {error}")
        try:
            self._reader.feed_eof()
        except HttpError as incomplete:
            return incomplete
        return None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _note_use(self) -> None:
        self._used_at, self._used_at_wall = self._loop.time(), self._wall_clock()
