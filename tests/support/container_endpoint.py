"""The container credentials endpoint of Lambda, on loopback in the test's event loop."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.scripted_server import scripted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.scripted_server import Peer

TOKEN = "token-of-the-environment"  # noqa: S105 - known to this stand-in only


class ContainerEndpoint:
    """Credentials that are numbered by request, and the switches of the test."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests = 0
        self.token = TOKEN
        self.expiration: str | None = "2099-01-01T00:00:00Z"
        self.response: bytes | None = None
        """The response instead of credentials."""
        self.delay = 0.0

    @property
    def environ(self) -> dict[str, str]:
        """The variables that Lambda sets under SnapStart."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self.port}/2021-04-23/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
        }

    def document(self) -> dict[str, Any]:
        """Return the credentials of the present request."""
        name = str(self.requests)
        keys = {"AccessKeyId": f"key{name}", "SecretAccessKey": f"secret{name}", "Token": f"token{name}"}
        return keys | ({"Expiration": self.expiration} if self.expiration else {})


@asynccontextmanager
async def container_endpoint() -> AsyncIterator[ContainerEndpoint]:
    """Serve credentials to requests that carry the token."""
    endpoint = ContainerEndpoint()

    async def behave(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        endpoint.requests += 1
        await asyncio.sleep(endpoint.delay)
        if endpoint.response is not None:
            await peer.send(endpoint.response)
        elif f"Authorization: {endpoint.token}\r\n".encode() in head:
            body = json.dumps(endpoint.document()).encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with scripted_server(behave) as server:
        endpoint.port = server.port
        yield endpoint
