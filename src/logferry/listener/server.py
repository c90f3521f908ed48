"""The HTTP listener: an asyncio server that receives batches (see `http_protocol`).

Guarantees:
- A batch is answered in the same step of the event loop in which its last byte is read. No other
  task runs in between.
- Other processes of the execution environment cannot exhaust the listener: the admission rule and
  the time limits of `admission` apply.
- A client that sends requests and does not read the responses is disconnected.
- At the end of `listening` every connection is closed. The socket stays open in the process that
  bound it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from logferry.listener.admission import Admission
from logferry.listener.http_protocol import MAX_LINGER_BYTES, BodyBudget, RequestParser

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from logferry.listener.http_protocol import EventsEndpoint

BACKLOG = 128
"""Maximum number of connections that wait in the kernel to be accepted."""
_BUFFER_BYTES = 256 * 1024
"""Size of the receive buffer, in bytes. A batch of the usual size is read at once."""


@asynccontextmanager
async def listening(
    sock: socket.socket,
    accept: Callable[[bytes], None],
    is_allowed: Callable[[str], bool] = lambda _path: True,
    *,
    events: EventsEndpoint | None = None,
) -> AsyncIterator[None]:
    """Receive batches on a bound socket.

    `accept` stores a batch or raises JournalFull; `is_allowed` judges the path of a request. `events` receives the
    requests to `/events`.
    """
    budget, connections = BodyBudget(), _Connections()

    def new_connection() -> _Connection:
        parser = RequestParser(accept=accept, is_allowed=is_allowed, budget=budget, events=events)
        return _Connection(parser, connections)

    server = await asyncio.get_running_loop().create_server(new_connection, sock=sock, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
        connections.abort()


class _Connections:
    """The open connections and one timer for all of them.

    The timer is set again only if it would fire too late. A batch that arrives in one piece, which
    is the normal case, sets no timer.
    """

    def __init__(self) -> None:
        self._admission = Admission[_Connection]()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: _Connection) -> None:
        """Admit a new connection, and close the oldest one if there are too many."""
        if oldest := self._admission.admit(connection, self._loop.time()):
            oldest.abort()
        self._set_timeout(self._admission.next_deadline())

    def discard(self, connection: _Connection) -> None:
        """Remove a closed connection."""
        self._admission.release(connection)

    def on_data(self, connection: _Connection, *, responded: bool, in_request: bool) -> None:
        """Set the time limit after data were received."""
        now = self._loop.time()
        self._set_timeout(self._admission.on_data(connection, now, responded=responded, in_request=in_request))

    def on_last_response(self, connection: _Connection) -> None:
        """Set the time limit for the client to read its last response."""
        self._set_timeout(self._admission.on_last_response(connection, self._loop.time()))

    def abort(self) -> None:
        """Close every connection and stop the timer."""
        for connection in self._admission.connections:
            connection.abort()
        if self._timer:
            self._timer.cancel()

    def _set_timeout(self, deadline: float | None) -> None:
        if deadline is None or (self._timer and self._timer.when() <= deadline):
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timeout)

    def _on_timeout(self) -> None:
        self._timer = None
        for connection in self._admission.expired(self._loop.time()):
            connection.time_out()
        self._set_timeout(self._admission.next_deadline())


class _Connection(asyncio.BufferedProtocol):
    """One connection: passes received bytes to the parser and writes its responses."""

    _buffer = memoryview(bytearray(_BUFFER_BYTES))
    """Buffer of all connections. Its content is parsed before any connection receives again."""

    def __init__(self, parser: RequestParser, connections: _Connections) -> None:
        self._parser = parser
        self._connections = connections
        self._transport: asyncio.Transport
        self._to_discard = 0
        """Bytes that may still be discarded, while the last response is sent and the client is not ready to read it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Apply the admission rule."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget an incomplete request."""
        self._connections.discard(self)
        self._parser.abandon()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return the buffer to receive into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the received bytes and respond."""
        if self._parser.must_close:
            self._to_discard -= nbytes
            if self._to_discard < 0:
                self.abort()
            return
        responses = self._parser.feed(self._buffer[:nbytes])
        if self._parser.must_close:
            self._end(responses, linger=self._parser.must_linger)
            return
        if responses:
            self._transport.write(responses)
            if self._transport.is_closing():  # see pause_writing
                return
        self._connections.on_data(self, responded=bool(responses), in_request=self._parser.in_request)

    def pause_writing(self) -> None:
        """Disconnect a client that does not read its responses, which would otherwise fill the memory."""
        self.abort()

    def time_out(self) -> None:
        """Answer an incomplete request with 408 and close; disconnect if the last response is not read."""
        if self._parser.must_close:
            self.abort()
        else:
            self._end(self._parser.abandon())

    def abort(self) -> None:
        """Close the connection without a response."""
        self._connections.discard(self)
        self._transport.abort()

    def _end(self, responses: bytes, *, linger: bool = False) -> None:
        self._connections.on_last_response(self)
        self._transport.write(responses)
        # A lingering connection is closed by the client, by the limit of discarded bytes, or by the time limit.
        if not linger:
            self._transport.close()
            return
        self._to_discard = MAX_LINGER_BYTES
        try:
            self._transport.write_eof()
        except OSError:
            self.abort()  # the client has closed the connection meanwhile
