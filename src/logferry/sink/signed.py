"""PutObject as one signed request, made after the example of one that the S3 client made.

Promises:
- a request goes where the client's went, and is signed for the same region by botocore's own signer;
- what cannot be imitated (S3 Express sessions, several signing regions, a query in the URL) is not: then there is no
  `SignedPut`, and the client goes on making every request.

Why: for each put the client evaluates S3's endpoint rules (its cache never hits, for the key is one of the rules'
parameters), composes its user agent twice, and asks some forty event handlers. That is 2.7 ms of CPU where puts are
far apart, paid by the function and billed after it; one signature and one request over the same pooled connections are
1.2 (tests/benchmark, "CPU of an invocation"). The request is no `AWSRequest`: that keeps headers as an e-mail does, and
the signer copies them twice, a quarter of a millisecond for ten headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from logferry.sink.connections import Connections, Seen

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/ ]+/\d{8}/([^/ ]+)/s3/aws4_request,")
"""Of an Authorization header (S3 API reference, "Authenticating Requests: Using the Authorization Header")."""
_SESSION_TOKEN = "x-amz-s3session-token"  # noqa: S105 - a header's name
_OK = 200


def quoted(key: str) -> str:
    """The key as it stands in a URL: botocore's own choice of characters, which the signature depends on."""
    return quote(key, safe="-._~/")


@dataclass(frozen=True)
class SignedPut:
    """Stores objects in the bucket that the client was seen to store in."""

    folder: str
    """The bucket's URL, with the slash at its end."""
    host: str
    region: str
    user_agent: str
    credentials: Any
    """aiobotocore's, which are renewed when they are asked for."""
    http: Connections

    @classmethod
    def like(cls, example: Seen, *, key: str, credentials: Any, http: Connections) -> SignedPut | None:
        """What stores as the client's request for `key` did; None where that had something of its own."""
        headers = {name.lower(): _text(value) for name, value in example.headers.items()}
        scope = _SCOPE.match(headers.get("authorization", ""))
        if (
            not scope
            or _SESSION_TOKEN in headers
            or urlsplit(example.url).query
            or not example.url.endswith(quoted(key))
        ):
            return None
        folder = example.url.removesuffix(quoted(key))
        host = URL(folder, encoded=True).host_port_subcomponent or ""
        return cls(folder, host, scope[1], headers.get("user-agent", ""), credentials, http)

    async def put(self, key: str, body: bytes, headers: dict[str, str]) -> str:
        """Store one object; returns its ETag, empty where the answer has none.

        Raises what the client would: ClientError where S3 refused, other botocore exceptions where it did not answer.
        """
        request = _Put(
            url=self.folder + quoted(key),
            body=BytesIO(body),
            headers=CIMultiDict(headers, **{"User-Agent": self.user_agent, "Host": self.host}),
        )
        _Signer(await self.credentials.get_frozen_credentials(), "s3", self.region).add_auth(request)
        answer = await self.http.send(request)
        if answer.status_code != _OK:
            said = {"status_code": answer.status_code, "headers": answer.headers, "body": await answer.content}
            raise ClientError(create_parser("rest-xml").parse(said, None), "PutObject")
        return str(answer.headers.get("etag", ""))


@dataclass(frozen=True)
class _Put:
    """What a signer signs and a session sends (`botocore.awsrequest`, AWSRequest and AWSPreparedRequest)."""

    url: str
    body: BytesIO
    headers: CIMultiDict[str]
    context: dict[str, Any] = field(default_factory=dict)
    method: str = "PUT"
    params: None = None
    stream_output: bool = False


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # it ships no type information
    """botocore's, which reads the headers once."""

    _headers: _Headers | None = None

    def headers_to_sign(self, request: _Put) -> _Headers:
        """All but those that a proxy may change."""
        if self._headers is None:
            named = ((name.lower(), value) for name, value in request.headers.items())
            self._headers = _Headers((name, value) for name, value in named if name not in SIGNED_HEADERS_BLACKLIST)
        return self._headers


class _Headers(dict[str, str]):
    """One value for each name, in lower case."""

    def get_all(self, name: str) -> tuple[str]:
        """As of `email.message.Message`."""
        return (self[name],)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
