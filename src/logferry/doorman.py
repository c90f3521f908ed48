"""Answers deliveries while the libraries are being loaded.

Why: a delivery that is not answered before the next one is due is dropped in the strictest reading of the platform
(AWS's emulator of Managed Instances), and loading aiohttp and aioboto3 takes a quarter of a second of CPU, on a small
function several seconds. So they load in a thread of low priority, which gives way to the function's own init, while
this loop stores deliveries and answers them. Each answer closes its connection: the next delivery finds the listener.

Promises: those of `exchange`; a request that is not whole when the libraries are there is finished within
`FINISH_SECONDS` or closed unanswered, and the platform delivers it again.
"""

from __future__ import annotations

import os
import select
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from logferry import wire
from logferry.exchange import Exchange, Room

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

Loaded = TypeVar("Loaded")

MAX_CONNECTIONS = 32
"""The platform uses one or two."""
FINISH_SECONDS = 0.2
NICE = 15
"""Of the loading thread. Measured with all of us on one core: beside a runtime's init of 300 ms nice 10 adds 24 %, 12
adds 20, 15 and 19 add 16. While the function keeps that core busy the slowest answer takes 110, 110, 160 and 335 ms,
for this loop waits for the interpreter's lock, which the slow thread holds while it has no turn; with a second core
free it is some 30 ms."""


class Doorman:
    """Serves the listening socket and the channel from the main thread while `load` runs in another."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        channel: socket.socket,
        accept: Callable[[bytes], None],
        hear: Callable[[bytes], None],
        admits: Callable[[str], bool] = lambda _path: True,
    ) -> None:
        """`accept` stores a delivery; `hear` gets each packet that is no ping, an empty one at the supervisor's end."""
        self._listener = listener
        self._channel = channel
        self._exchange = partial(Exchange, accept=accept, admits=admits, room=Room(), once=True)
        self._hear_packet = hear
        self._requests: dict[int, _Request] = {}

    def serve_while(self, load: Callable[[], Loaded]) -> Loaded:
        """Run `load` in a thread of low priority and serve until it is done; returns or raises what it does."""
        done_out, done_in = os.pipe()
        loaded: list[Loaded] = []
        failures: list[BaseException] = []

        def loading() -> None:
            try:
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
                loaded.append(load())
            except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
                failures.append(error)
            finally:
                os.close(done_in)

        thread = threading.Thread(target=loading, name="loading", daemon=True)
        thread.start()
        try:
            self._serve_until(done_out)
        finally:
            os.close(done_out)
        thread.join()
        self._finish()
        if failures:
            raise failures[0]
        return loaded[0]

    def _serve_until(self, done: int) -> None:
        poll = select.poll()
        for fd in (done, self._listener.fileno(), self._channel.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._channel.fileno() in ready and not self._hear():
                poll.unregister(self._channel.fileno())
            if self._listener.fileno() in ready and (request := self._admit()):
                poll.register(request.sock.fileno(), select.POLLIN)
                # Its request is mostly there already, and each wait may end in one for the interpreter's lock.
                ready.add(request.sock.fileno())
            for fd in ready & self._requests.keys():
                if self._requests[fd].advance():
                    poll.unregister(fd)
                    self._requests.pop(fd).close()
            if done in ready:
                return

    def _hear(self) -> bool:
        packet = self._channel.recv(wire.PACKET_BYTES)
        if packet == wire.PING:
            self._channel.send(wire.PONG)
        else:
            self._hear_packet(packet)
        return bool(packet)

    def _admit(self) -> _Request | None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        if len(self._requests) >= MAX_CONNECTIONS:
            connection.close()
            return None
        self._requests[connection.fileno()] = request = _Request(connection, self._exchange())
        return request

    def _finish(self) -> None:
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

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
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
