"""PutObject as one signed request, made after the example of one that the S3 client made.

Promises:
- a request goes where the client's went, and is signed for the same region by botocore's own signer;
- what cannot be imitated (S3 Express sessions, several signing regions, a query in the URL) is not: then there is no
  `SignedPut`, and the client goes on making every request.

Why: for each put the client evaluates S3's endpoint rules (its cache never hits, for the key is one of the rules'
parameters), composes its user agent twice, and asks some forty event handlers. That is 2.7 ms of CPU where puts are
far apart, paid by the function and billed after it; one signature and one request over the same pooled connections are
1.4 (tests/benchmark, "CPU of an invocation").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

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
        return cls(folder, scope[1], headers.get("user-agent", ""), credentials, http)

    async def put(self, key: str, body: bytes, headers: dict[str, str]) -> str:
        """Store one object; returns its ETag, empty where the answer has none.

        Raises what the client would: ClientError where S3 refused, other botocore exceptions where it did not answer.
        """
        request = AWSRequest(
            method="PUT",
            url=self.folder + quoted(key),
            data=BytesIO(body),
            headers=headers | {"User-Agent": self.user_agent},
        )
        S3SigV4Auth(await self.credentials.get_frozen_credentials(), "s3", self.region).add_auth(request)
        answer = await self.http.send(request.prepare())
        if answer.status_code != _OK:
            said = {"status_code": answer.status_code, "headers": answer.headers, "body": await answer.content}
            raise ClientError(create_parser("rest-xml").parse(said, None), "PutObject")
        return str(answer.headers.get("etag", ""))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
