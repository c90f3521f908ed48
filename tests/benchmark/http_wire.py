"""HTTP/1.1 by hand, for the stand-ins: heads, bodies by length or by chunks, and a client that times its answers.

Why by hand: a framework's own time would be measured with the extension's, and it must understand every client that is
compared (hand-made, aiohttp, aiobotocore with its `aws-chunked` bodies), nothing else.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

READ_BYTES = 256 * 1024
ANSWER_SECONDS = 60.0
"""The longest that a delivery may wait for its answer: on 7 % of a core a blocked listener takes 5 s."""


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a message; header names in lower case."""

    first: bytes
    headers: dict[bytes, bytes]


class Stream:
    """Reads messages from a connected socket, one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def head(self) -> Head | None:
        """The next message's head; None at the end of the connection. Raises OSError."""
        while b"\r\n\r\n" not in self._buffer:
            if not (data := self._sock.recv(READ_BYTES)):
                return None
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = text.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        return Head(first, {name.strip().lower(): value.strip() for name, _, value in pairs})

    def body(self, head: Head) -> bytes:
        """The body that belongs to a head. Raises ConnectionError when the connection ends inside it."""
        if head.headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return self._chunks()
        return self._exactly(int(head.headers.get(b"content-length", b"0")))

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = [self._buffer]
        have = len(self._buffer)
        while have < size:
            if not (data := self._sock.recv(max(READ_BYTES, size - have))):
                raise ConnectionError("the connection ended inside a body")
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not (data := self._sock.recv(READ_BYTES)):
                raise ConnectionError("the connection ended inside a chunk")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _chunks(self) -> bytes:
        """A chunked body joined (RFC 9112, 7.1); trailers are skipped."""
        parts: list[bytes] = []
        while size := int(self._line().split(b";")[0], 16):
            parts.append(self._exactly(size))
            self._line()
        while self._line():
            pass
        return b"".join(parts)


def unchunked(body: bytes) -> bytes:
    """The content of an `aws-chunked` body, which is framed as HTTP chunks are (S3, "Trailing checksums")."""
    parts: list[bytes] = []
    while True:
        line, _, body = body.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[:size])
        body = body[size + 2 :]


def answer(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    """One answer, to be sent in one write: two would meet Nagle's algorithm and a delayed acknowledgement, 40 ms."""
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Deliveries:
    """Posts telemetry as the platform does: one at a time, on a connection that is kept while the listener keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def post(self, body: bytes) -> float:
        """Deliver a body and return the seconds to its answer. Raises ConnectionError when it is not 200."""
        began = time.perf_counter()
        message = b"POST / HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Type: application/json\r\n"
        message += b"Content-Length: %d\r\n\r\n" % len(body)
        for may_repeat in (True, False):
            kept = self._sock is not None
            try:
                head = self._exchange(message, body)
            except ConnectionError:
                self.close()
                if not (kept and may_repeat):
                    raise
                continue
            break
        if b" 200 " not in head.first + b" ":
            raise ConnectionError(f"a delivery was refused: {head.first!r}")
        if head.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return time.perf_counter() - began

    def _exchange(self, message: bytes, body: bytes) -> Head:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.sendall(message + body)
        stream = Stream(self._sock)
        if (head := stream.head()) is None:
            raise ConnectionError("a delivery was not answered")
        stream.body(head)
        return head

    def close(self) -> None:
        """Forget the connection."""
        if self._sock:
            self._sock.close()
        self._sock = None
