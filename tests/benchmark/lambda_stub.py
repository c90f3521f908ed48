"""Lambda as an extension sees it, for measurements: register, subscribe, next, and the exact time of each.

The stub runs in the measuring process and refuses nothing, because the emulator tests behaviour.
Each connection has a thread that blocks in `recv`. The measuring thread writes the events, so that
no switch between threads is part of a measurement.

Source: Extensions API and Telemetry API references (developer guide).
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING

from benchmark.http_messages import Head, Stream, response

if TYPE_CHECKING:
    from collections.abc import Callable

_REGISTERED = b'{"functionName":"benchmark","functionVersion":"$LATEST","handler":"app.handler"}'
_PORT = re.compile(rb"http://sandbox(?:\.localdomain)?:(\d+)")


class StepTimeout(Exception):
    """A step of the extension that did not happen within its time limit."""


class LambdaStub:
    """The Extensions API and the subscription of the Telemetry API for one extension."""

    def __init__(self, *, on_register: Callable[[], None] = lambda: None) -> None:
        """Open the API; `on_register` is called after the registration, when Lambda starts the runtime."""
        self._on_register = on_register
        self._changed = threading.Condition()
        self._waiting: socket.socket | None = None
        self._queued: dict[str, object] | None = None
        self._next_at = 0.0
        self.registered_at = 0.0
        """Time of the response to the registration (`time.perf_counter`)."""
        self._connections: list[socket.socket] = []
        self.port: int | None = None
        """Port of the listener, once the extension has subscribed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for_subscription(self, seconds: float) -> int:
        """Wait for the subscription; return the port of the listener. Raises StepTimeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.port is not None, seconds):
                raise StepTimeout(f"no subscription within {seconds:g} s")
        assert self.port is not None
        return self.port

    def wait_for_next(self, seconds: float) -> float:
        """Wait for a request to /event/next; return its arrival (`time.perf_counter`). Raises StepTimeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting is not None, seconds):
                raise StepTimeout(f"the extension did not request the next event within {seconds:g} s")
            return self._next_at

    def send_event(self, event: dict[str, object]) -> float:
        """Respond to the pending /event/next; return the time. Raises StepTimeout if no request is pending."""
        body = json.dumps(event, separators=(",", ":")).encode()
        with self._changed:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            raise StepTimeout("the extension has not requested an event")
        message = response("200 OK", body, b"Content-Type: application/json")
        sent_at = time.perf_counter()
        waiting.sendall(message)
        return sent_at

    def queue_event(self, event: dict[str, object]) -> None:
        """Respond to /event/next with an event: at once if a request is pending, else to the next request."""
        with self._changed:
            self._queued = None if self._waiting else event
            pending = self._waiting is not None
        if pending:
            self.send_event(event)

    def close(self) -> None:
        """Close every connection."""
        # A shutdown wakes the thread that waits on a socket; a close does not.
        for sock in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = Stream(connection)
        try:
            while head := stream.head():
                arrived = time.perf_counter()
                if b"/extension/event/next" in head.first:
                    self._note_next(connection, arrived)
                else:
                    self._answer(connection, head, stream.body(head))
        except OSError:
            return

    def _note_next(self, connection: socket.socket, arrived: float) -> None:
        with self._changed:
            self._waiting, self._next_at = connection, arrived
            queued, self._queued = self._queued, None
            self._changed.notify_all()
        if queued:
            self.send_event(queued)

    def _answer(self, connection: socket.socket, head: Head, body: bytes) -> None:
        json_type = b"Content-Type: application/json"
        if b"/extension/register" in head.first:
            identifier = b"Lambda-Extension-Identifier: " + str(uuid.uuid4()).encode()
            self.registered_at = time.perf_counter()
            connection.sendall(response("200 OK", _REGISTERED, json_type, identifier))
            self._on_register()
        elif b"/telemetry" in head.first:
            connection.sendall(response("200 OK", b'"OK"', json_type))
            found = _PORT.search(body)
            with self._changed:
                self.port = int(found[1]) if found else None
                self._changed.notify_all()
        else:
            connection.sendall(response("202 Accepted", b'{"status":"OK"}', json_type))
