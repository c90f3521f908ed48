"""Answers deliveries while the libraries are being loaded.

Why: a delivery that is not answered before the next one is due is dropped in the strictest reading of the platform
(AWS's emulator of Managed Instances), and loading aiohttp and aioboto3 takes a quarter of a second of CPU, on a small
function several seconds. So they load in another thread (see `warmup`), while this loop stores deliveries and answers
them. Each answer closes its connection: the next delivery finds the listener.

Promises: those of `exchange`; a request that is not whole when the libraries are there is finished within
`FINISH_SECONDS` or closed unanswered, and the platform delivers it again.
"""

from __future__ import annotations

import select
import time
from functools import partial
from typing import TYPE_CHECKING

from logferry import ipc
from logferry.listener.http_protocol import BodyBudget, RequestParser

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

MAX_CONNECTIONS = 32
"""The platform uses one or two."""
FINISH_SECONDS = 0.2


class BootstrapServer:
    """Serves the listening socket and the channel."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        channel: socket.socket,
        accept: Callable[[bytes], None],
        on_packet: Callable[[bytes], None],
        is_allowed: Callable[[str], bool] = lambda _path: True,
    ) -> None:
        """`accept` stores a batch; `on_packet` gets all packets but pings, and an empty one if the supervisor ended."""
        self._listener = listener
        self._channel = channel
        self._exchange = partial(RequestParser, accept=accept, is_allowed=is_allowed, room=BodyBudget(), once=True)
        self._on_packet = on_packet
        self._requests: dict[int, _Request] = {}
        self._poll = select.poll()
        for fd in (listener.fileno(), channel.fileno()):
            self._poll.register(fd, select.POLLIN)

    def serve(self, remaining: Callable[[], float]) -> None:
        """Serve what has arrived, and go on as long as `remaining` returns seconds; it is called before each wait."""
        seconds = remaining()
        while True:
            self._serve_ready({fd for fd, _ in self._poll.poll(seconds * 1000)})
            if seconds <= 0:
                return
            seconds = remaining()

    def _serve_ready(self, ready: set[int]) -> None:
        if self._channel.fileno() in ready and not self._handle_packet():
            self._poll.unregister(self._channel.fileno())
        if self._listener.fileno() in ready and (request := self._admit()):
            self._poll.register(request.sock.fileno(), select.POLLIN)
            ready.add(request.sock.fileno())  # its bytes have mostly arrived already
        for fd in ready & self._requests.keys():
            if self._requests[fd].advance():
                self._poll.unregister(fd)
                self._requests.pop(fd).close()

    def _handle_packet(self) -> bool:
        packet = self._channel.recv(ipc.PACKET_BYTES)
        if packet == ipc.PING:
            self._channel.send(ipc.PONG)
        else:
            self._on_packet(packet)
        return bool(packet)

    def _admit(self) -> _Request | None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        if len(self._requests) >= MAX_CONNECTIONS:
            connection.close()
            return None
        self._requests[connection.fileno()] = request = _Request(connection, self._exchange())
        return request

    def finish(self) -> None:
        """Give the requests that are half read a moment, then let them go."""
        until = time.monotonic() + FINISH_SECONDS
        while self._requests and (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select(list(self._requests), [], [], left)
            for fd in ready:
                if self._requests[fd].advance():
                    self._requests.pop(fd).close()
        for request in self._requests.values():
            request.close()
        self._requests.clear()


class _Request:
    """One HTTP request on its way in."""

    def __init__(self, sock: socket.socket, exchange: RequestParser) -> None:
        self.sock = sock
        self._exchange = exchange

    def advance(self) -> bool:
        """Read what is there; True when the request is answered or given up."""
        try:
            data = self.sock.recv(262_144)
            if answer := self._exchange.feed(data):
                self.sock.sendall(answer)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        return self._exchange.over or not data

    def close(self) -> None:
        """Let it go; what was half read is forgotten."""
        self._exchange.give_up()
        self.sock.close()
