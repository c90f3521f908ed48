"""AWS STS on loopback, in the test's event loop: numbered credentials, and the switches of the test."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from logferry.aws.role import Role
from support.scripted_server import scripted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.scripted_server import Peer

ROLE_ARN = "arn:aws:iam::210987654321:role/logs"
EXTERNAL_ID = "external-id-42"
NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


def sts_error(line: str, code: str, message: str, headers: str = "") -> bytes:
    """Return an error response as STS sends it."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return response(line, f"<ErrorResponse {NAMESPACE}>{error}<RequestId>1</RequestId></ErrorResponse>", headers)


def response(line: str, body: str, headers: str = "") -> bytes:
    """Return a complete response."""
    head = f"HTTP/1.1 {line}\r\nContent-Type: text/xml\r\nContent-Length: {len(body.encode())}\r\n{headers}\r\n"
    return (head + body).encode()


class StsStub:
    """The requests that arrived, and the switches of the test."""

    def __init__(self) -> None:
        self.port = 0
        self.forms: list[dict[str, str]] = []
        """Parameters of each request."""
        self.heads: list[str] = []
        self.seconds = 3600.0
        """Lifetime of the credentials."""
        self.expiration: str | None = None
        """Text of the expiration instead of that of `seconds`."""
        self.answers: list[bytes] = []
        """Responses that are sent before credentials, one for each request."""
        self.always: bytes | None = None
        """The response to each request instead of credentials."""
        self.delay = 0.0
        self.arrived = asyncio.Event()
        """Set when a request has arrived."""

    @property
    def url(self) -> str:
        """The URL of the endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def role(self) -> Role:
        """Return a role that is requested from this endpoint."""
        return Role(ROLE_ARN, "logferry-orders", EXTERNAL_ID, "eu-central-1", self.url)

    def callers(self) -> list[str]:
        """Return the access key ID that signed each request."""
        return [head.partition("Credential=")[2].partition("/")[0] for head in self.heads]

    def credentials(self) -> bytes:
        """Return the response with the credentials of the present request."""
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.seconds)
        expiration = end.strftime("%Y-%m-%dT%H:%M:%SZ") if self.expiration is None else self.expiration
        number = len(self.forms)
        found = (
            f"<AccessKeyId>ASIAROLE{number}</AccessKeyId><SecretAccessKey>role/secret+{number}</SecretAccessKey>"
            f"<SessionToken>role+token/{number}==</SessionToken><Expiration>{expiration}</Expiration>"
        )
        user = "<AssumedRoleUser><Arn>arn:aws:sts::210987654321:assumed-role/logs/x</Arn></AssumedRoleUser>"
        result = f"<AssumeRoleResult>{user}<Credentials>{found}</Credentials></AssumeRoleResult>"
        return response("200 OK", f"<AssumeRoleResponse {NAMESPACE}>{result}</AssumeRoleResponse>")


@asynccontextmanager
async def sts_stub() -> AsyncIterator[StsStub]:
    """Serve credentials of a role."""
    stub = StsStub()

    async def behave(peer: Peer) -> None:
        while True:
            head = await peer.reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await peer.reader.readexactly(int(length.split(b":")[1]))
            stub.heads.append(head.decode())
            stub.forms.append(dict(parse_qsl(body.decode(), strict_parsing=True)))
            stub.arrived.set()
            await asyncio.sleep(stub.delay)
            planned = stub.answers.pop(0) if stub.answers else stub.always
            await peer.send(planned or stub.credentials())

    async with scripted_server(behave) as server:
        stub.port = server.port
        yield stub
