"""HTTP/1.1 client for one host that keeps one connection.

Guarantees:
- A connection is used again only if it is open and has been idle for less than
  `KEEP_ALIVE_SECONDS`. A connection from before a freeze is closed.
- A reused connection that ends without a byte of a response costs one more request on a new
  connection. A request is sent at most twice.
- A reused connection without a response or a TCP acknowledgement for `SILENT_SECONDS` is doubted.
  The request is sent again on a new connection, which gets the full timeout. The first response
  counts.
- A request that is not idempotent is sent again only if a part of it has no acknowledgement. A server
  that has the complete request is slow, and would process it twice.
- Opening a connection takes at most `CONNECT_SECONDS`. The message of a failure names host, cause
  and remedy.

Design: a middlebox may drop a connection during a freeze without a reset, and then only silence
shows it. The doubted connection stays open, so a server that is slow but healthy is not
interrupted. PUT is idempotent, so the second request is harmless. The owner of the client states it
if its requests are not.

References: RFC 9112, section 9.3.1 (retrying requests).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING

from logferry.http_client.connection import HttpConnection, ResponseTimeout
from logferry.http_client.failures import CHECK_PROXY, connect_failure
from logferry.http_client.response import MAX_RESPONSE_BYTES, HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from logferry.http_client.failures import Remedies
    from logferry.http_client.proxy_tunnel import ProxyTunnel
    from logferry.http_client.response import Response
    from logferry.http_client.tls import TlsContexts

CONNECT_SECONDS = 2.0
"""Limit for name resolution, TCP and TLS, in seconds: without a route to S3 it is reached."""
KEEP_ALIVE_SECONDS = 4.0
"""Maximum idle time of a connection, in seconds. S3 closes idle connections after about 5 s."""
SILENT_SECONDS = 1.0
"""Time without a response or an acknowledgement after which a reused connection is doubted."""
FIRST_CHECK_SECONDS = 0.1
"""Time until the first look at the acknowledgements, in seconds. A live server acknowledges a small request earlier."""
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
        remedies: Remedies,
        wall_clock: Callable[[], float] = time.time,
        idempotent: bool = True,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        tunnel: ProxyTunnel | None = None,
    ) -> None:
        """Store the address. `remedies` end the message of a connection that cannot be opened.

        `idempotent` states whether a request that arrives twice has the effect of one. A response longer than
        `max_response_bytes` is cut. Connections are opened through `tunnel` if it is given.
        """
        self._tunnel = tunnel
        self._host = host
        self._port = port
        self._tls = tls
        self._timeout = timeout_seconds
        self._wall_clock = wall_clock
        self._remedies = remedies
        self._idempotent = idempotent
        self._max_response_bytes = max_response_bytes
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
            async with asyncio.timeout(CONNECT_SECONDS):
                try:
                    return await self._open_once()
                except ssl.SSLCertVerificationError as error:
                    if not (self._tls and self._tls.widen(error)):
                        raise
                return await self._open_once()
        except TimeoutError as error:
            way, remedy = (f" through {self._tunnel}", CHECK_PROXY) if self._tunnel else ("", self._remedies.respond)
            raise HttpError(
                f"no connection to {self._host}:{self._port}{way} within {CONNECT_SECONDS:g} s; {remedy}"
            ) from error
        except ssl.SSLError:
            raise
        except OSError as error:
            is_unresolved = isinstance(error, socket.gaierror)
            message = connect_failure(self._host, self._port, error, self._remedies, is_unresolved=is_unresolved)
            raise HttpError(message) from error

    async def _open_once(self) -> HttpConnection:
        context = self._tls.current() if self._tls else None
        loop = asyncio.get_running_loop()
        if self._tunnel:
            tunnel = await self._tunnel.open(self._host, self._port)
            name = self._host if context else None
            _, connection = await loop.create_connection(
                self._make_connection, sock=tunnel, ssl=context, server_hostname=name
            )
            return connection
        _, connection = await loop.create_connection(self._make_connection, self._host, self._port, ssl=context)
        return connection

    def _make_connection(self) -> HttpConnection:
        return HttpConnection(self._wall_clock, max_response_bytes=self._max_response_bytes)

    async def _request_on_new(self, head: bytes, body: bytes) -> Response:
        connection = await self._open()
        response = await connection.exchange(head, body, self._timeout)
        self._connection = connection
        return response

    async def _request_on_kept(self, kept: HttpConnection, head: bytes, body: bytes) -> Response:
        repetition = _Repetition(kept, lambda: self._request_on_new(head, body), idempotent=self._idempotent)
        try:
            response = await kept.exchange(head, body, self._timeout)
        except HttpError as error:
            repetition.stop_watching()
            # 1. The connection was silent, and the request has been sent on a new one.
            if repetition.task is not None:
                return await repetition.task
            # 2. The server has processed the request, or it is too late to repeat it.
            if kept.has_received or isinstance(error, ResponseTimeout):
                raise
            # 3. The server closed the connection while it was idle. The request has no response.
            return await self._request_on_new(head, body)
        finally:
            repetition.cancel()
        self.close()  # the repetition may have kept its connection
        self._connection = kept
        return response


class _Repetition:
    """The second request for a kept connection, which is made if the connection stays silent."""

    def __init__(
        self, kept: HttpConnection, request: Callable[[], Coroutine[Any, Any, Response]], *, idempotent: bool
    ) -> None:
        self._kept = kept
        self._idempotent = idempotent
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._acknowledged = kept.acknowledged_bytes()
        self._progress_at = self._loop.time()
        self._timer = self._loop.call_later(FIRST_CHECK_SECONDS, self._check)
        self.task: asyncio.Task[Response] | None = None

    def stop_watching(self) -> None:
        """Make no second request from now on."""
        self._timer.cancel()

    def cancel(self) -> None:
        """Cancel the second request, which closes its connection."""
        self._timer.cancel()
        if self.task is not None:
            self.task.cancel()

    def _check(self) -> None:
        """Make the second request if there was neither a response nor an acknowledgement."""
        if self._kept.has_received:
            return
        now, before, self._acknowledged = self._loop.time(), self._acknowledged, self._kept.acknowledged_bytes()
        # 1. The server's TCP has acknowledged more. 2. It has everything, and the request must not arrive twice.
        if self._acknowledged != before or (not self._idempotent and self._kept.is_acknowledged()):
            self._progress_at = now
        if now < self._progress_at + SILENT_SECONDS:
            self._timer = self._loop.call_at(self._progress_at + SILENT_SECONDS, self._check)
        else:
            self.task = self._loop.create_task(self._request())
            self.task.add_done_callback(self._end_first)

    def _end_first(self, second: asyncio.Task[Response]) -> None:
        """End the wait for the first response, and retrieve the error of the second request."""
        if not second.cancelled():
            second.exception()
            self._kept.fail(HttpError("the request was repeated on a new connection"))
