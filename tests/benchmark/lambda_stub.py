"""Lambda's side of the wire, for timing: register, subscribe, next, and the exact moment of each.

It plays what it is told, in the process that measures: it is no judge of behaviour (the emulator is), so it refuses
nothing. Each connection has a thread that blocks in `recv`; an event is written by the thread that measures, so that no
hand-over between threads is in the figure.

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

from benchmark.http_wire import Head, Stream, answer

if TYPE_CHECKING:
    from collections.abc import Callable

_REGISTERED = b'{"functionName":"benchmark","functionVersion":"$LATEST","handler":"app.handler"}'
_PORT = re.compile(rb"http://sandbox(?:\.localdomain)?:(\d+)")


class Stuck(Exception):
    """What was waited for did not come within its bound."""


class LambdaStub:
    """The Extensions API and the subscription of the Telemetry API for one extension."""

    def __init__(self, *, on_register: Callable[[], None] = lambda: None) -> None:
        """`on_register` is called when the extension has registered, which is when Lambda starts the runtime."""
        self._on_register = on_register
        self._changed = threading.Condition()
        self._waiting: socket.socket | None = None
        self._asked_at = 0.0
        self.registered_at = 0.0
        """When the answer to the registration was sent (`time.perf_counter`)."""
        self._connections: list[socket.socket] = []
        self.port: int | None = None
        """The port that deliveries go to, once the extension has subscribed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for_subscription(self, seconds: float) -> int:
        """Wait until the extension has subscribed; returns the port of its listener. Raises Stuck."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.port is not None, seconds):
                raise Stuck(f"no subscription within {seconds:g} s")
        assert self.port is not None
        return self.port

    def wait_for_next(self, seconds: float) -> float:
        """Wait until /event/next is asked; returns when it arrived (`time.perf_counter`). Raises Stuck."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting is not None, seconds):
                raise Stuck(f"the extension did not ask for the next event within {seconds:g} s")
            return self._asked_at

    def send_event(self, event: dict[str, object]) -> float:
        """Answer the /event/next that waits; returns when. Raises Stuck when none does."""
        body = json.dumps(event, separators=(",", ":")).encode()
        with self._changed:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            raise Stuck("the extension has not asked for an event")
        message = answer("200 OK", body, b"Content-Type: application/json")
        sent_at = time.perf_counter()
        waiting.sendall(message)
        return sent_at

    def close(self) -> None:
        """Close every connection."""
        # A shutdown wakes the thread that waits on a socket; closing alone would not.
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
            self._waiting, self._asked_at = connection, arrived
            self._changed.notify_all()

    def _answer(self, connection: socket.socket, head: Head, body: bytes) -> None:
        json_type = b"Content-Type: application/json"
        if b"/extension/register" in head.first:
            identifier = b"Lambda-Extension-Identifier: " + str(uuid.uuid4()).encode()
            self.registered_at = time.perf_counter()
            connection.sendall(answer("200 OK", _REGISTERED, json_type, identifier))
            self._on_register()
        elif b"/telemetry" in head.first:
            connection.sendall(answer("200 OK", b'"OK"', json_type))
            found = _PORT.search(body)
            with self._changed:
                self.port = int(found[1]) if found else None
                self._changed.notify_all()
        else:
            connection.sendall(answer("202 Accepted", b'{"status":"OK"}', json_type))
