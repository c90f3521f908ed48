"""A connection to a host through an HTTP proxy, with CONNECT.

Guarantees:
- The proxy gets the name and the port of the host, and its own credentials. Everything else is
  encrypted for the host.
- A message names the variable and the address of the proxy, and never its user or password.
- The caller limits the time. After an error or a cancellation the socket is closed.

References: RFC 9110, section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from urllib.parse import unquote

from logferry.errors import SinkRejected
from logferry.http_client.address import authority
from logferry.http_client.failures import CHECK_PROXY, bounded, connect_failure, remedies
from logferry.http_client.response import HttpError

DEFAULT_PORT = 80
MAX_RESPONSE_BYTES = 64 * 1024
"""Limit of the response to CONNECT, in bytes."""
_PROXY = r"(?:(?P<scheme>[a-z0-9]+)://)?(?:(?P<user>[^@/]*)@)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?/?"
_STATUS_LINE = rb"HTTP/1\.[01] (\d{3}) ?([^\r\n]{0,80})"


class ProxyTunnel:
    """The proxy that one variable names."""

    def __init__(self, variable: str, url: str) -> None:
        """Read the address. Raises SinkRejected if the proxy cannot be used."""
        match = re.fullmatch(_PROXY, url, re.ASCII | re.IGNORECASE)
        if not match or (match["scheme"] or "http").lower() != "http":
            raise SinkRejected(
                f"{variable} is not the address of an HTTP proxy: use http://host:port, or name the host of "
                "LOGFERRY_DESTINATION in NO_PROXY"
            )
        self._host = match["host"].strip("[]")
        self._port = int(match["port"] or DEFAULT_PORT)
        user = match["user"]
        self._credentials = base64.b64encode(unquote(user).encode()).decode() if user else ""

    def __str__(self) -> str:
        return f"the proxy {self._host}:{self._port}"

    async def open(self, host: str, port: int) -> socket.socket:
        """Return a connected socket whose other end is the host. Raises HttpError."""
        connected = await self._connect()
        try:
            await self._request_tunnel(connected, authority(host, port, default_port=0))
        except OSError as error:
            connected.close()
            raise HttpError(f"{self} ended the connection: {error}") from error
        except BaseException:
            connected.close()
            raise
        return connected

    async def _connect(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        found: OSError | None = None
        try:
            addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise HttpError(self._failure(error, is_unresolved=True)) from error
        for family, kind, protocol, _, address in addresses:
            one = socket.socket(family, kind, protocol)
            one.setblocking(False)
            try:
                await loop.sock_connect(one, address)
            except OSError as error:
                one.close()
                found = error
            except BaseException:
                one.close()
                raise
            else:
                return one
        cause = found or OSError("no address")
        raise HttpError(self._failure(cause, is_unresolved=False)) from cause

    async def _request_tunnel(self, connected: socket.socket, target: str) -> None:
        loop = asyncio.get_running_loop()
        credentials = f"Proxy-Authorization: Basic {self._credentials}\r\n" if self._credentials else ""
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n"
        await loop.sock_sendall(connected, head.encode("latin-1"))
        received = b""
        while b"\r\n\r\n" not in received:
            more = await loop.sock_recv(connected, 4096)
            if not more or len(received) > MAX_RESPONSE_BYTES:
                raise HttpError(f"{self} gave no response to CONNECT; {CHECK_PROXY}")
            received += more
        match = re.match(_STATUS_LINE, received)
        if not match or not match[1].startswith(b"2"):
            status = bounded(b" ".join(match.groups()).decode("latin-1")) if match else "no HTTP"
            raise HttpError(f"{self} responded {status} to CONNECT {target}; {CHECK_PROXY}")

    def _failure(self, error: OSError, *, is_unresolved: bool) -> str:
        return "proxy: " + connect_failure(
            self._host, self._port, error, remedies(CHECK_PROXY), is_unresolved=is_unresolved
        )
