"""Posts by hand, byte by byte where that matters: what a platform, a careless neighbour or a hostile one might send."""

from __future__ import annotations

import socket

SECONDS = 5.0
"""The bound of every wait in here: both sides are on this machine."""


def request(body: bytes, *, method: str = "POST", path: str = "/", headers: str = "") -> bytes:
    """Give one whole HTTP request."""
    return f"{method} {path} HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a connection with a bound on every wait."""
    return socket.create_connection(address, timeout=SECONDS)


def answer(connection: socket.socket) -> int:
    """Read up to the end of an answer's head and give its status; 0 when the connection was closed without one."""
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            data = connection.recv(4096)
        except ConnectionResetError:
            data = b""
        if not data:
            return 0
        head += data
    return int(head.split(b" ", 2)[1])


def post(address: tuple[str, int], body: bytes, *, method: str = "POST", path: str = "/", headers: str = "") -> int:
    """Make one request on a connection of its own; give the status, 0 for none."""
    with connect(address) as connection:
        connection.sendall(request(body, method=method, path=path, headers=headers))
        return answer(connection)
