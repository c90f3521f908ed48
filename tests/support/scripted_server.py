"""A raw TCP server in the test's own event loop: each connection runs the next coroutine of a script."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    Behaviour = Callable[["Peer"], Awaitable[None]]

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "0"\r\n\r\n'


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[bytes]) -> None:
        self.reader = reader
        self.writer = writer
        self._requests = requests

    async def read_request(self) -> bytes:
        """Read one complete request; return its body. Raises IncompleteReadError at the end of the connection."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(lengths[0])) if lengths else b""
        self._requests.append(head)
        return body

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def wait_for_end(self) -> None:
        """Wait until the client closes the connection; bytes of the client are discarded."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


class ScriptedServer:
    """Address of the server, and the requests that it has received."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = asyncio.Event()
        """Set when the client has closed a connection or its behaviour has ended."""


def responding(*responses: bytes) -> Behaviour:
    """Return a behaviour that sends one response per request, and then waits for the end."""

    async def behave(peer: Peer) -> None:
        for response in responses:
            await peer.read_request()
            await peer.send(response)
        await peer.wait_for_end()

    return behave


@asynccontextmanager
async def scripted_server(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
    """Serve on loopback; the n-th connection runs the n-th behaviour, and further ones the last."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        served.connections += 1
        behave = behaviours[min(served.connections, len(behaviours)) - 1]
        try:
            await behave(Peer(reader, writer, served.requests))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            served.ended.set()
            if not server.is_serving():
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    tasks: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    served = ScriptedServer(server.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
