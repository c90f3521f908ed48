"""The HTTP listener: a delivery in, the journal, 200 out.

Promises:
- 200 is said only after the body is in the journal; when the journal is full, 503, so that the platform keeps the
  records and delivers again (Telemetry API, "Delivery");
- a body is stored before anybody looks into it, and nothing is refused for what it says: a refused delivery would come
  back for ever;
- any path: the platform's own emulator posts to `/` whatever the subscription named;
- what others on this machine send cannot exhaust it: a body has a largest size, a request has a longest time.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from logferry.errors import JournalFull

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A delivery is at most 2 x maxBytes and some metadata (Telemetry API, Buffering), with our maxBytes some 2 MiB."""
READ_SECONDS = 5.0
"""For a body from this machine: the platform takes milliseconds."""


@asynccontextmanager
async def listening(sock: socket.socket, accept: Callable[[bytes], None]) -> AsyncIterator[None]:
    """Answer deliveries on a bound socket; `accept` stores one or raises JournalFull."""
    runner = web.ServerRunner(web.Server(_Handler(accept), access_log=None), shutdown_timeout=0)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield
    finally:
        await runner.cleanup()


class _Handler:
    """One request at a time and connection."""

    def __init__(self, accept: Callable[[bytes], None]) -> None:
        self._accept = accept

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405, text="deliveries are POSTed here\n")
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await _body(request)
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


async def _body(request: web.BaseRequest) -> bytes | None:
    """The whole body, or None as soon as it proves too large."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
