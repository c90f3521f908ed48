"""Connections of the bootstrap server: accept, receive, respond, time out, without an event loop.

Guarantees:
- The admission rule and the time limits are the listener's (see `admission`): a newcomer is always
  served, and a request that is not complete in time is answered with 408.
- Each connection is closed after its first response, so that the next batch reaches the listener. The rest of a
  refused request to `/events` is read and discarded before, up to a limit.

Design: the caller polls the descriptors and passes the time, in seconds on a monotonic clock.
"""

from __future__ import annotations

import select
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from logferry.listener.admission import Admission
from logferry.listener.http_protocol import MAX_LINGER_BYTES, BodyBudget, RequestParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logferry.listener.http_protocol import EventsEndpoint

RECEIVE_BYTES = 256 * 1024
"""Maximum number of bytes that are read at once."""


class BootstrapConnections:
    """The open connections, registered in a poll object."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        poll: select.poll,
        accept: Callable[[bytes], None],
        is_allowed: Callable[[str], bool],
        events: EventsEndpoint | None = None,
    ) -> None:
        """`accept` stores a batch or raises JournalFull; `is_allowed` judges the path of a request.

        `events` receives the requests to `/events`.
        """
        self._listener = listener
        self._poll = poll
        self._new_parser = partial(
            RequestParser,
            accept=accept,
            is_allowed=is_allowed,
            budget=BodyBudget(),
            close_after_first=True,
            events=events,
        )
        self._admission = Admission[int]()
        self._connections: dict[int, _Connection] = {}

    def accept_next(self, now: float) -> int:
        """Accept the next connection and return its descriptor; close the oldest one if there are too many."""
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        fd = sock.fileno()
        self._connections[fd] = _Connection(sock, self._new_parser())
        self._poll.register(fd, select.POLLIN)
        oldest = self._admission.admit(fd, now)
        if oldest is not None:
            self._close(oldest)
        return fd

    def receive(self, ready: Iterable[int], now: float) -> None:
        """Read from those of the ready descriptors that are connections, and respond."""
        for fd in self._connections.keys() & set(ready):
            connection = self._connections[fd]
            responded = connection.receive()
            # Three cases: 1. the end, 2. the rest of a refused request follows, 3. more of a request may follow.
            if connection.has_ended:
                self._close(fd)
            elif connection.is_lingering:
                if responded:
                    self._admission.on_last_response(fd, now)
            else:
                self._admission.on_data(fd, now, responded=responded, in_request=connection.in_request)

    def close_expired(self, now: float) -> None:
        """Answer the requests whose time limit has passed, and close their connections."""
        for fd in self._admission.expired(now):
            self._connections[fd].time_out()
            self._close(fd)

    def seconds_until_deadline(self, now: float) -> float | None:
        """Return the seconds until the next time limit, or None without connections."""
        deadline = self._admission.next_deadline()
        return None if deadline is None else max(0.0, deadline - now)

    def finish(self, seconds: float) -> None:
        """Give incomplete requests some seconds, then close every connection without a response."""
        until = time.monotonic() + seconds
        poll = select.poll()
        for fd in self._connections:
            poll.register(fd, select.POLLIN)
        while self._has_requests() and (left := until - time.monotonic()) > 0:
            ready = [fd for fd, _ in poll.poll(left * 1000)]
            self.receive(ready, time.monotonic())
            for fd in ready:
                if fd not in self._connections:
                    poll.unregister(fd)
        for fd in tuple(self._connections):
            self._close(fd)

    def _has_requests(self) -> bool:
        """Return whether a connection may still bring a request."""
        return not all(connection.is_lingering for connection in self._connections.values())

    def _close(self, fd: int) -> None:
        self._admission.release(fd)
        self._poll.unregister(fd)
        self._connections.pop(fd).close()


class _Connection:
    """One connection: passes received bytes to the parser and sends its responses."""

    __slots__ = ("_parser", "_sock", "_to_discard", "has_ended", "is_lingering")

    def __init__(self, sock: socket.socket, parser: RequestParser) -> None:
        self._sock = sock
        self._parser = parser
        self.has_ended = False
        """Whether the last response is sent or the client has closed the connection."""
        self.is_lingering = False
        """Whether the last response is sent, and the rest of the request is discarded."""
        self._to_discard = MAX_LINGER_BYTES

    @property
    def in_request(self) -> bool:
        """Whether a request has begun and is not complete."""
        return self._parser.in_request

    def receive(self) -> bool:
        """Read what has arrived and respond; return whether there was a response."""
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if self.is_lingering:
            self._to_discard -= len(data)
            self.has_ended = not data or self._to_discard < 0
            return False
        responses = self._parser.feed(data)
        is_sent = self._send(responses)
        self.is_lingering = is_sent and bool(data) and self._parser.must_linger and self._end_sending()
        self.has_ended = not self.is_lingering and (not is_sent or self._parser.must_close or not data)
        return bool(responses)

    def _end_sending(self) -> bool:
        """Announce the end of the response; return False if the client has closed the connection meanwhile."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def time_out(self) -> None:
        """Answer an incomplete request with 408."""
        self._send(self._parser.abandon())

    def close(self) -> None:
        """Close the connection and forget an incomplete request."""
        self._parser.abandon()
        self._sock.close()

    def _send(self, responses: bytes) -> bool:
        """Send responses, which fit into the empty send buffer; return False if the client has gone."""
        try:
            self._sock.sendall(responses)
        except OSError:
            return False
        return True
