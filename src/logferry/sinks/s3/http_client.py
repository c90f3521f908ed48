"""HTTP/1.1 client for one host that keeps one connection.

Guarantees:
- A connection is used again only if it is open and has been idle for less than
  `KEEP_ALIVE_SECONDS`. A connection from before a freeze is closed.
- A reused connection that ends without a byte of a response costs one more request on a new
  connection. A request is sent at most twice.
- A reused connection without a response or a TCP acknowledgement for `SILENT_SECONDS` is doubted.
  The request is sent again on a new connection, which gets the full timeout. The first response
  counts.
- Opening a connection takes at most `CONNECT_SECONDS`.

Design: a middlebox may drop a connection during a freeze without a reset, and then only silence
shows it. The doubted connection stays open, so a server that is slow but healthy is not
interrupted. PUT is idempotent, so the second request is harmless.

References: RFC 9112, section 9.3.1 (retrying requests).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

from logferry.sinks.s3.http_connection import HttpConnection, ResponseTimeout
from logferry.sinks.s3.http_response import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from logferry.sinks.s3.http_response import Response
    from logferry.sinks.s3.tls import TlsContexts

CONNECT_SECONDS = 2.0
"""Limit for name resolution, TCP and TLS, in seconds: without a route to S3 it is reached."""
KEEP_ALIVE_SECONDS = 4.0
"""Maximum idle time of a connection, in seconds. S3 closes idle connections after about 5 s."""
SILENT_SECONDS = 1.0
"""Time without a response or an acknowledgement after which a reused connection is doubted."""
FREEZE_SECONDS = 0.5
"""Difference of wall clock and monotonic clock that shows a freeze, in seconds."""


class HttpClient:
    """A client for one host; concurrent requests wait for each other."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: TlsContexts | None,
        *,
        timeout_seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._timeout = timeout_seconds
        self._wall_clock = wall_clock
        self._connection: HttpConnection | None = None
        self._lock = asyncio.Lock()

    async def connect(self) -> None:
        """Have a connection open for the next request.

        Raises HttpError, OSError or SinkRejected.
        """
        if not self._lock.locked():
            async with self._lock:
                self._connection = await self._take_usable() or await self._open()

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Send a request and return its response. Raises HttpError, OSError or SinkRejected."""
        lines = [f"{method} {path} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()], "\r\n"]
        head = "\r\n".join(lines).encode("latin-1")
        async with self._lock:
            kept = await self._take_usable()
            if kept is None:
                return await self._request_on_new(head, body)
            return await self._request_on_kept(kept, head, body)

    def close(self) -> None:
        """Close the connection."""
        kept, self._connection = self._connection, None
        if kept is not None:
            kept.abort()

    async def _take_usable(self) -> HttpConnection | None:
        """Return the kept connection if it may be used again, else close it; none is kept then."""
        kept, self._connection = self._connection, None
        if kept is None:
            return None
        idle, idle_by_wall = kept.idle_seconds()
        fresh = max(idle, idle_by_wall) < KEEP_ALIVE_SECONDS and abs(idle - idle_by_wall) < FREEZE_SECONDS
        if fresh and await kept.is_open():
            return kept
        kept.abort()
        return None

    async def _open(self) -> HttpConnection:
        try:
            return await self._open_once()
        except ssl.SSLCertVerificationError as error:
            if not (self._tls and self._tls.widen(error)):
                raise
        return await self._open_once()

    async def _open_once(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        context = self._tls.current() if self._tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(self._wall_clock), self._host, self._port, ssl=context
                )
        except TimeoutError as error:
            raise HttpError(
                f"no connection to {self._host}:{self._port} within {CONNECT_SECONDS:g} s; "
                "a function in a VPC needs an S3 gateway endpoint or another route to S3"
            ) from error
        return connection

    async def _request_on_new(self, head: bytes, body: bytes) -> Response:
        connection = await self._open()
        response = await connection.exchange(head, body, self._timeout)
        self._connection = connection
        return response

    async def _request_on_kept(self, kept: HttpConnection, head: bytes, body: bytes) -> Response:
        first = asyncio.ensure_future(kept.exchange(head, body, self._timeout))
        try:
            if await _is_silent(first, kept):
                return await self._request_on_both(first, kept, head, body)
            try:
                response = await first
            except HttpError as error:
                # A connection that the server closed while it was idle is no statement about S3.
                if kept.has_received or isinstance(error, ResponseTimeout):
                    raise
                return await self._request_on_new(head, body)
        finally:
            _discard(first)
        self._connection = kept
        return response

    async def _request_on_both(
        self, first: asyncio.Future[Response], kept: HttpConnection, head: bytes, body: bytes
    ) -> Response:
        """Repeat a request on a new connection; return the response that is complete first."""
        second = asyncio.ensure_future(self._request_on_new(head, body))
        try:
            await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
            if first.done() and not first.exception():
                self.close()
                self._connection = kept
                return first.result()
            return await second
        finally:
            _discard(second)


async def _is_silent(request: asyncio.Future[Response], connection: HttpConnection) -> bool:
    """Wait for the response to begin; return whether the server has been silent for too long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not (request.done() or connection.has_received):
        remaining = SILENT_SECONDS - min(loop.time() - began, connection.seconds_since_ack())
        if remaining <= 0:
            return True
        await asyncio.wait((request,), timeout=remaining)
    return False


def _discard(task: asyncio.Future[Response]) -> None:
    """Cancel a superfluous request, which closes its connection, and ignore its error."""
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
