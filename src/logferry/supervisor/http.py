"""HTTP/1.1 client for the Lambda APIs, and a reader of flat JSON objects.

Guarantees:
- The module imports only `_socket`.
- A request leaves in one write, with TCP_NODELAY.
- No call is repeated here. Lambda refuses a second `/event/next` and ends the environment.
- A response that cannot be read raises ProtocolError or OSError, and no other exception.

Design: this module is on the serial part of every cold start. `import socket`, with its enums,
doubles the time to the first `/event/next`, and `import json` costs 3 ms. Two writes for one
request would meet Nagle's algorithm and the delayed acknowledgement of the peer, which is 40 ms per
request.

References: RFC 9110, section 5 (fields); RFC 9112, sections 6.3 (body length) and 7.1 (chunked
coding).
"""

import _socket

RECEIVE_BYTES = 65_536
LONGEST_NUMBER = 18
"""Digits of the largest number that `number` returns. `int` raises ValueError above 4,300
digits."""


class ProtocolError(Exception):
    """The peer closed the connection early or sent something other than HTTP/1.1."""


class Response:
    """One HTTP response with `status`, `headers` (names in lower case) and `body`."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, *, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """Keep-alive connection to the Lambda APIs at `host:port` (`AWS_LAMBDA_RUNTIME_API`)."""

    def __init__(self, address: bytes) -> None:
        """Store the address without connecting. Raise ProtocolError if it has another form."""
        host, _, port = address.decode("utf-8", "replace").rpartition(":")
        if not port.isdigit() or len(port) > 5:
            raise ProtocolError("not an address of the form host:port")
        self._address = (host, int(port))
        self._host = address
        self._buffer = b""
        self._socket: _socket.socket | None = None

    def fileno(self) -> int:
        """Return the descriptor to poll for a response; -1 without a connection."""
        return self._socket.fileno() if self._socket else -1

    def close(self) -> None:
        """Close the connection. The next `send` opens another one."""
        if self._socket:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def send(self, method: bytes, path: bytes, headers: dict[bytes, bytes], body: bytes = b"") -> None:
        """Write one request. Raise OSError if the kernel does not take it."""
        if not self._socket:
            self._socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            self._socket.connect(self._address)
            self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + self._host]
        lines += [name + b": " + value for name, value in headers.items()]
        if body:
            lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
        self._socket.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def receive(self) -> Response:
        """Read one response, blocking. Raise ProtocolError or OSError."""
        response = None
        while response is None:
            response = self.read_some()
        return response

    def read_some(self) -> Response | None:
        """Read once. Return the response, or None until it is complete. Raise as `receive` does."""
        if not self._socket:
            raise ProtocolError("no request was sent on this connection")
        data = self._socket.recv(RECEIVE_BYTES)
        self._buffer += data
        parsed = parse(self._buffer, ended=not data)
        if parsed is None:
            return None
        response, self._buffer = parsed
        if not data or response.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return response


def parse(buffer: bytes, *, ended: bool) -> tuple[Response, bytes] | None:
    """Return the first response in `buffer` and the bytes after it, or None until it is complete.

    Raise ProtocolError if it can never become complete. `ended` means that the peer has closed the
    connection.
    """
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator:
        if ended:
            raise ProtocolError("the connection was closed before a response")
        return None
    lines = head.split(b"\r\n")
    status = _status(lines[0])
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    body = _body(rest, headers, ended=ended)
    if body is None:
        return None
    return Response(status=status, headers=headers, body=body[0]), body[1]


def _status(line: bytes) -> int:
    """Return the status of a status line. The reason phrase is optional."""
    words = line.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise ProtocolError("not an HTTP/1.1 response: " + repr(line[:60]))
    return int(words[1])


def _body(rest: bytes, headers: dict[bytes, bytes], *, ended: bool) -> tuple[bytes, bytes] | None:
    """Return the body and the bytes after it; None until the body is complete."""
    # Three cases (RFC 9112, 6.3): 1. chunked coding, 2. a length, 3. neither: the body ends with the connection.
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = _chunks(rest)
    elif b"content-length" in headers:
        length = _size(headers[b"content-length"], 10)
        body = (rest[:length], rest[length:]) if len(rest) >= length else None
    else:
        return (rest, b"") if ended else None
    if body is None and ended:
        raise ProtocolError("the connection was closed inside a response")
    return body


def _size(digits: bytes, base: int) -> int:
    """Return a size in HTTP's notation.

    Raise ProtocolError for any other text, because the callers do not catch ValueError.
    """
    try:
        size = int(digits, base)
    except ValueError:
        size = -1
    if size < 0:
        raise ProtocolError("not a size: " + repr(digits[:20]))
    return size


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    """Join the chunks of a body. Lambda sends no trailers, so trailers are skipped."""
    body = b""
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return None
        length = _size(size.split(b";")[0], 16)
        if length == 0:
            _, separator, rest = (b"\r\n" + rest).partition(b"\r\n\r\n")
            return (body, rest) if separator else None
        if len(rest) < length + 2:
            return None
        body, rest = body + rest[:length], rest[length + 2 :]


def number(document: bytes, name: bytes) -> int | None:
    """Return the integer under `name` in a flat JSON object; None if there is no such integer."""
    value = _value(document, name)
    digits = b""
    for byte in value:
        if not 0x30 <= byte <= 0x39:
            break
        digits += bytes((byte,))
        if len(digits) > LONGEST_NUMBER:
            return None
    return int(digits) if digits else None


def text(document: bytes, name: bytes) -> bytes:
    """Return the string under `name` in a flat JSON object, escapes included; empty if missing."""
    value = _value(document, name)
    return value[1:].partition(b'"')[0] if value[:1] == b'"' else b""


def _value(document: bytes, name: bytes) -> bytes:
    """Return the bytes after `"name":`, with any white space around the colon skipped."""
    start = 0
    key = b'"' + name + b'"'
    while (found := document.find(key, start)) >= 0:
        after = document[found + len(key) :].lstrip()
        if after[:1] == b":":
            return after[1:].lstrip()
        start = found + 1
    return b""


def quote(value: str) -> str:
    """Return a text as a JSON string."""
    out = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " else "\\u%04x" % ord(c) for c in out) + '"'
