"""The HTTP listener: a delivery in, the journal, 200 out.

Promises:
- 200 is said only after the body is in the journal; when the journal is full, 503, so that the platform keeps the
  records and delivers again (Telemetry API, "Delivery");
- a body is stored before anybody looks into it, and nothing is refused for what it says: a refused delivery would come
  back for ever;
- who is admitted is decided by the path (see `door`), before a byte of the body is read;
- what others on this machine send cannot exhaust it: there is a largest body, a longest time for a head and for a body,
  a largest number of connections (the oldest gives way, so that a newcomer is always served), and of bytes under way.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from logferry.errors import JournalFull

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

MAX_BODY_BYTES = 5 * 1024 * 1024
"""A delivery is at most 2 x maxBytes and some metadata (Telemetry API, Buffering), with our maxBytes some 2 MiB."""
MAX_UNDER_WAY_BYTES = 2 * MAX_BODY_BYTES
"""Of all bodies that are being read: the function's memory."""
READ_SECONDS = 5.0
"""For a head or a body from this machine: the platform takes milliseconds."""
IDLE_SECONDS = 30.0
"""For a connection between two deliveries."""
END_SECONDS = 0.05
"""For requests under way when listening ends; to aiohttp 0 would mean without a bound."""
MAX_CONNECTIONS = 64
"""The platform uses one or two; descriptors are scarce on Lambda (1,024)."""


@asynccontextmanager
async def listening(
    sock: socket.socket, accept: Callable[[bytes], None], admits: Callable[[str], bool] = lambda _path: True
) -> AsyncIterator[None]:
    """Answer deliveries on a bound socket; `accept` stores one or raises JournalFull, `admits` judges its path."""
    handler = _Handler(accept, admits)
    # By default aiohttp unpacks a compressed body, and answers 400 where it cannot: nothing would be stored.
    server = _Server(
        handler, access_log=None, logger=_log(), auto_decompress=False, keepalive_timeout=IDLE_SECONDS, lingering_time=0
    )
    handler.begun = server.begun
    runner = web.ServerRunner(server, shutdown_timeout=END_SECONDS)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _log() -> logging.Logger:
    """Where aiohttp reports what a handler raises.

    It would report each request that is no HTTP as well, with a traceback: whoever can post could fill the function's
    log (tests/chaos/test_listener_siege.py, the junk).
    """
    log = logging.getLogger(__name__)
    log.addFilter(_no_peers_fault)
    return log


def _no_peers_fault(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class _Server(web.Server):
    """aiohttp's server with a bound on connections, and on the time until the first request of each."""

    def __init__(self, handler: _Handler, **options: Any) -> None:
        super().__init__(handler, **options)
        self._open: dict[object, asyncio.Transport] = {}
        self._silent: dict[object, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        while len(self._open) >= MAX_CONNECTIONS:
            next(iter(self._open.values())).abort()
            self._open.pop(next(iter(self._open)))
        self._open[handler] = transport
        self._silent[handler] = asyncio.get_running_loop().call_later(READ_SECONDS, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        self.begun(handler)
        super().connection_lost(handler, exc)

    def begun(self, connection: object) -> None:
        """A request has come on it: what follows is timed by the request, and between requests by aiohttp."""
        if timer := self._silent.pop(connection, None):
            timer.cancel()


class _Handler:
    """Answers requests."""

    def __init__(self, accept: Callable[[bytes], None], admits: Callable[[str], bool]) -> None:
        self._accept = accept
        self._admits = admits
        self._under_way = 0
        self.begun: Callable[[object], None] = lambda _connection: None

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.begun(request.protocol)
        if request.method != "POST":
            return web.Response(status=405, text="deliveries are POSTed here\n")
        if not self._admits(request.path):
            return web.Response(status=403)
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await self._body(request)
        except TimeoutError:
            return web.Response(status=408)
        if body is None:
            return web.Response(status=413)
        try:
            if body:
                self._accept(body)
        except JournalFull as full:
            return web.Response(status=503, text=f"{full}\n")
        return web.Response()

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """The whole body, or None as soon as it, or all that are being read, prove too large."""
        if (request.content_length or 0) > MAX_BODY_BYTES:
            return None
        parts, size = [], 0
        try:
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                self._under_way += len(part)
                if size > MAX_BODY_BYTES or self._under_way > MAX_UNDER_WAY_BYTES:
                    return None
        finally:
            self._under_way -= size
        return b"".join(parts)
