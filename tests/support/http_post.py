"""HTTP requests sent byte by byte: from the platform, from a careless process or from a hostile one."""

from __future__ import annotations

import socket

SECONDS = 5.0
"""Limit of every wait in this module, in seconds. Both sides run on this machine."""


def request(body: bytes, *, method: str = "POST", path: str = "/", headers: str = "") -> bytes:
    """Return a complete HTTP request."""
    return f"{method} {path} HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a connection whose waits are limited."""
    return socket.create_connection(address, timeout=SECONDS)


def read_status(connection: socket.socket) -> int:
    """Read the head of a response; return its status, or 0 if the connection was closed without one."""
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


def read_to_end(connection: socket.socket) -> bytes:
    """Read until the other side closes the connection; return all bytes."""
    received = b""
    while data := connection.recv(4096):
        received += data
    return received


def post(address: tuple[str, int], body: bytes, *, method: str = "POST", path: str = "/", headers: str = "") -> int:
    """Send one request on a separate connection; return the status, or 0 without a response."""
    with connect(address) as connection:
        connection.sendall(request(body, method=method, path=path, headers=headers))
        return read_status(connection)
