"""HTTP/1.1 for the stand-ins: heads, bodies by length or in chunks, and a client that measures response times.

Design: a framework's own time would be part of the measurement. The parser must understand all
clients that are compared (logferry's, aiohttp, aiobotocore with `aws-chunked` bodies) and nothing
else.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

READ_BYTES = 256 * 1024
RESPONSE_SECONDS = 60.0
"""Maximum time to the response to a batch, in seconds: on 7 % of a core a blocked listener takes 5 s."""


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a message; header names are in lower case."""

    first: bytes
    headers: dict[bytes, bytes]


class Stream:
    """Reader of consecutive messages from a connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def head(self) -> Head | None:
        """Return the head of the next message, or None at the end of the connection. Raises OSError."""
        while b"\r\n\r\n" not in self._buffer:
            if not (data := self._sock.recv(READ_BYTES)):
                return None
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = text.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        return Head(first, {name.strip().lower(): value.strip() for name, _, value in pairs})

    def body(self, head: Head) -> bytes:
        """Return the body of a message. Raises ConnectionError if the connection ends inside it."""
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
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not (data := self._sock.recv(READ_BYTES)):
                raise ConnectionError("the connection ended inside a chunk")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _chunks(self) -> bytes:
        """Return a chunked body without its framing (RFC 9112, 7.1); trailers are skipped."""
        parts: list[bytes] = []
        while size := int(self._line().split(b";")[0], 16):
            parts.append(self._exactly(size))
            self._line()
        while self._line():
            pass
        return b"".join(parts)


def unchunked(body: bytes) -> bytes:
    """Return the content of an `aws-chunked` body, which is framed as HTTP chunks are (S3, "Trailing checksums")."""
    parts: list[bytes] = []
    while True:
        line, _, body = body.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[:size])
        body = body[size + 2 :]


def response(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    """Return one response for a single write; two writes would meet Nagle's algorithm and a delayed ACK (40 ms)."""
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Deliveries:
    """Client that posts batches as the platform does: one at a time, on a persistent connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def post(self, body: bytes) -> float:
        """Deliver a batch and return the seconds until the response.

        Raises ConnectionError unless the status is 200.
        """
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
            raise ConnectionError(f"a batch was refused: {head.first!r}")
        if head.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return time.perf_counter() - began

    def _exchange(self, message: bytes, body: bytes) -> Head:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), timeout=RESPONSE_SECONDS)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.sendall(message + body)
        stream = Stream(self._sock)
        if (head := stream.head()) is None:
            raise ConnectionError("a batch got no response")
        stream.body(head)
        return head

    def close(self) -> None:
        """Close the connection."""
        if self._sock:
            self._sock.close()
        self._sock = None
