"""An HTTP proxy on loopback that opens tunnels, all of them to one port, whatever host a client names."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxy:
    """Port of the proxy, and the heads of the requests that it has received."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[str] = []


@asynccontextmanager
async def connect_proxy(target_port: int, *, answer: bytes = ESTABLISHED) -> AsyncIterator[ConnectProxy]:
    """Serve until the block ends. With another `answer`, the connection is closed after it."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            proxy.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            if answer is not ESTABLISHED:
                await writer.drain()
                return
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target_port)
            with contextlib.closing(target_writer):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, target_writer))
                    group.create_task(_copy(target_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = ConnectProxy(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else None
