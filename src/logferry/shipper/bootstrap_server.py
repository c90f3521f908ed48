"""Bootstrap server: it stores batches while the libraries are imported.

Guarantees:
- The guarantees of `http_protocol` apply, and the admission rule and time limits of `admission`.
- A request that is incomplete when the libraries are imported is completed within `FINISH_SECONDS`,
  or closed without a response. In the second case the platform delivers the batch again.

Design: AWS's emulator of Managed Instances, the strictest reading of the platform, drops a batch if
the previous one has no response yet. Importing the libraries takes several seconds on a small
function, so batches and events are served between the steps of the import (see `startup`). Each
response closes its connection, so that the next batch reaches the listener.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

from logferry import ipc
from logferry.shipper.bootstrap_connections import BootstrapConnections

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.shipper.event_collection import EventCollection

FINISH_SECONDS = 0.2
"""Time for incomplete requests after the libraries are imported, in seconds."""


class BootstrapServer:
    """A server of the listening socket and of the channel to the supervisor."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        channel: socket.socket,
        accept: Callable[[bytes], None],
        on_packet: Callable[[bytes], None],
        is_allowed: Callable[[str], bool] = lambda _path: True,
        events: EventCollection | None = None,
    ) -> None:
        """`accept` stores a batch; `on_packet` gets all packets but pings, and an empty one if the supervisor ended.

        `events` collects the function's own events; it receives each packet first.
        """
        self._listener = listener
        self._channel = channel
        self._on_packet = on_packet
        self._events = events
        if events:
            events.receive = self._receive_packets
        self._supervisor_ended = False
        self._poll = select.poll()
        for fd in (listener.fileno(), channel.fileno()):
            self._poll.register(fd, select.POLLIN)
        self._connections = BootstrapConnections(
            listener=listener,
            poll=self._poll,
            accept=accept,
            is_allowed=is_allowed,
            events=events.endpoint if events else None,
        )

    def serve(self, remaining: Callable[[], float]) -> None:
        """Serve what has arrived, and go on as long as `remaining` returns seconds.

        `remaining` is called before each wait.
        """
        seconds = remaining()
        while True:
            until_deadline = self._connections.seconds_until_deadline(time.monotonic())
            wait = seconds if until_deadline is None else min(seconds, until_deadline)
            if self._events:
                wait = min(wait, self._events.interval_seconds)
            self._serve_ready({fd for fd, _ in self._poll.poll(wait * 1000)}, time.monotonic())
            if self._events:
                self._events.step()
            if seconds <= 0:
                return
            seconds = remaining()

    def finish(self) -> None:
        """Give incomplete requests `FINISH_SECONDS`, then close every connection."""
        self._connections.finish(FINISH_SECONDS)

    def _serve_ready(self, ready: set[int], now: float) -> None:
        if self._channel.fileno() in ready:
            self._receive_packets()
        # Requests that have arrived are answered before a newcomer or a time limit can close their connections.
        self._connections.receive(ready, now)
        self._connections.close_expired(now)
        if self._listener.fileno() in ready:
            newcomer = self._connections.accept_next(now)
            self._connections.receive((newcomer,), now)  # its request has mostly arrived already

    def _receive_packets(self) -> None:
        """Handle every packet that has arrived."""
        while not self._supervisor_ended:
            try:
                packet = self._channel.recv(ipc.PACKET_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if packet == ipc.PING:
                self._channel.send(ipc.PONG)
                continue
            if not packet:
                self._supervisor_ended = True
                self._poll.unregister(self._channel.fileno())
            if self._events:
                self._events.on_packet(packet)
            self._on_packet(packet)
