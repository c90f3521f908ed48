"""The few bytes the supervisor speaks: HTTP/1.1 to the Lambda APIs, and the messages between the two processes.

Promises:
- nothing is imported but `_socket`: this file is on the serial part of every cold start (`import socket` alone, with
  its enums, doubles the time to the first `/event/next`);
- a request leaves in one write, with TCP_NODELAY: two writes would meet Nagle's algorithm and the peer's delayed
  acknowledgement, 40 ms each;
- no call retries by itself: a repeated `/event/next` is refused by Lambda and ends the environment.

"""

import _socket


class ProtocolError(Exception):
    """The peer closed the connection early, or spoke something that is not HTTP/1.1."""


class Response:
    """One HTTP response: `status`, `headers` (lower-case names) and `body`, all as bytes but the status."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, *, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """A keep-alive connection to the Lambda APIs at `host:port` (`AWS_LAMBDA_RUNTIME_API`)."""

    def __init__(self, address: bytes) -> None:
        host, _, port = address.decode().rpartition(":")
        self._address = (host, int(port))
        self._host = address
        self._buffer = b""
        self._socket: _socket.socket | None = None

    def fileno(self) -> int:
        """The descriptor to poll for a response that `send` has asked for."""
        return self._socket.fileno() if self._socket else -1

    def close(self) -> None:
        """Forget the connection; the next `send` makes a new one."""
        if self._socket:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def send(self, method: bytes, path: bytes, headers: dict[bytes, bytes], body: bytes = b"") -> None:
        """Write one request. Raises OSError when it cannot be handed to the kernel."""
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
        """Read one response, blocking. Raises ProtocolError or OSError; the connection is then closed."""
        response = None
        while response is None:
            response = self.read_some()
        return response

    def read_some(self) -> Response | None:
        """One read from the socket: a whole response, or None when more is to come. Raises as `receive`."""
        if not self._socket:
            raise ProtocolError("nothing was asked on this connection")
        data = self._socket.recv(65536)
        self._buffer += data
        parsed = parse(self._buffer, ended=not data)
        if parsed is None:
            return None
        response, self._buffer = parsed
        if not data or response.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return response


def parse(buffer: bytes, *, ended: bool) -> tuple[Response, bytes] | None:
    """Split one response off `buffer`; None when it is not whole yet. Raises ProtocolError when it never will be."""
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator:
        if ended:
            raise ProtocolError("the connection was closed before an answer")
        return None
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProtocolError("not an HTTP/1.1 answer: " + repr(lines[0][:60]))
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    body = _body(rest, headers, ended=ended)
    if body is None:
        return None
    return Response(status=int(words[1]), headers=headers, body=body[0]), body[1]


def _body(rest: bytes, headers: dict[bytes, bytes], *, ended: bool) -> tuple[bytes, bytes] | None:
    """The body and what follows it, by chunks, by length, or up to the end of the connection (RFC 9112, 6.3)."""
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        whole = _chunks(rest)
    elif b"content-length" in headers:
        length = _size(headers[b"content-length"], 10)
        whole = (rest[:length], rest[length:]) if len(rest) >= length else None
    else:
        return (rest, b"") if ended else None
    if whole is None and ended:
        raise ProtocolError("the connection was closed inside an answer")
    return whole


def _size(digits: bytes, base: int) -> int:
    """A size as HTTP writes it. Raises ProtocolError for what is none: nobody above would catch a ValueError."""
    try:
        size = int(digits, base)
    except ValueError:
        size = -1
    if size < 0:
        raise ProtocolError("not a size: " + repr(digits[:20]))
    return size


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    """Join chunks (RFC 9112, 7.1); trailers are not expected from Lambda and are skipped."""
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
    """The integer under `name` in a flat JSON object, without importing `json` (3 ms): None when there is none."""
    value = _value(document, name)
    digits = b""
    for byte in value:
        if not 0x30 <= byte <= 0x39:
            break
        digits += bytes((byte,))
    return int(digits) if digits else None


def text(document: bytes, name: bytes) -> bytes:
    """The string under `name` in a flat JSON object, escapes untouched; empty when there is none."""
    value = _value(document, name)
    return value[1:].partition(b'"')[0] if value[:1] == b'"' else b""


def _value(document: bytes, name: bytes) -> bytes:
    """What follows `"name":`, however the platform spaces it."""
    start = 0
    key = b'"' + name + b'"'
    while (found := document.find(key, start)) >= 0:
        after = document[found + len(key) :].lstrip()
        if after[:1] == b":":
            return after[1:].lstrip()
        start = found + 1
    return b""


def quote(value: str) -> str:
    """A JSON string, for the one or two objects the supervisor writes."""
    out = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " else "\\u%04x" % ord(c) for c in out) + '"'
