"""The HTTP listener: a delivery in, the journal, 200 out. What is said over a connection is `exchange`'s affair.

Promises:
- a delivery is answered in the same step of the loop in which it has come in whole: nothing else comes in between;
- what others on this machine send cannot exhaust it: there is a longest time for a request, and without one, and a
  largest number of connections (the oldest gives way, so that a newcomer is always served);
- whoever does not read his answers is hung up on;
- when listening ends every connection ends with it. The socket is left to whoever bound it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from logferry.listener.http_protocol import BodyBudget, RequestParser

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

READ_SECONDS = 5.0
"""For a request from this machine, from its first byte on, and until the first one comes: the platform takes
milliseconds."""
IDLE_SECONDS = 30.0
"""For a connection between two deliveries."""
MAX_CONNECTIONS = 64
"""The platform uses one or two; descriptors are scarce on Lambda (1,024)."""
BACKLOG = 128
"""Connections that wait to be accepted."""
_BUFFER_BYTES = 256 * 1024
"""A delivery of the usual size in one piece."""


@asynccontextmanager
async def listening(
    sock: socket.socket, accept: Callable[[bytes], None], is_allowed: Callable[[str], bool] = lambda _path: True
) -> AsyncIterator[None]:
    """Answer deliveries on a bound socket; `accept` stores one or raises JournalFull, `admits` judges its path."""
    room, connections = BodyBudget(), dict[_Connection, None]()

    def connection() -> _Connection:
        return _Connection(RequestParser(accept=accept, is_allowed=is_allowed, room=room), connections)

    server = await asyncio.get_running_loop().create_server(connection, sock=sock, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
        for one in tuple(connections):
            one.hang_up()


class _Connection(asyncio.BufferedProtocol):
    """Carries the bytes of an exchange, and keeps its time."""

    _buffer = memoryview(bytearray(_BUFFER_BYTES))
    """One for all: what is read into it is used up before anything else is read."""

    def __init__(self, exchange: RequestParser, connections: dict[_Connection, None]) -> None:
        self._exchange = exchange
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._give_up_at: float
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it in; where there are too many the oldest goes."""
        self._transport = cast("asyncio.Transport", transport)
        while len(self._connections) >= MAX_CONNECTIONS:
            next(iter(self._connections)).hang_up()
        self._connections[self] = None
        self._allow(READ_SECONDS)

    def connection_lost(self, _exc: Exception | None) -> None:
        """What was half read is forgotten."""
        self._connections.pop(self, None)
        if self._timer:
            self._timer.cancel()
        self._exchange.give_up()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much has come."""
        was_under_way = self._exchange.under_way
        answers = self._exchange.feed(self._buffer[:nbytes])
        if self._exchange.over:
            self._end(answers)
            return
        if answers:
            self._transport.write(answers)
        if self._exchange.under_way:
            if answers or not was_under_way:
                self._allow(READ_SECONDS)
        elif answers:
            self._allow(IDLE_SECONDS)

    def pause_writing(self) -> None:
        """It sends requests, and reads none of the answers."""
        self.hang_up()

    def hang_up(self) -> None:
        """End it at once."""
        self._connections.pop(self, None)
        self._transport.abort()

    def _end(self, answers: bytes) -> None:
        """Say the last, and close; whoever does not take it in time is hung up on."""
        self._transport.write(answers)
        self._transport.close()
        self._allow(READ_SECONDS)

    # A timer is set anew only where it would ring too late: a delivery that comes whole, as they do, sets none.

    def _allow(self, seconds: float) -> None:
        self._give_up_at = self._loop.time() + seconds
        if not self._timer or self._timer.when() > self._give_up_at:
            self._ring()

    def _ring(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._loop.time() < self._give_up_at:
            self._timer = self._loop.call_at(self._give_up_at, self._ring)
        elif self._exchange.over:
            self.hang_up()
        else:
            self._end(self._exchange.give_up())
