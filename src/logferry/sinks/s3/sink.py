"""A sink that is an S3 bucket: one signed PutObject request per object.

Guarantees:
- `put` returns only after S3 has responded 200 with an ETag, and raises otherwise. A 200 of a proxy
  has no ETag.
- A response that shows how the request must be corrected leads to a corrected request within the
  same `put`. There are three corrections (region of the bucket, clock, expired credentials), and
  each is made once.
- With `If-None-Match: *`, an object of the same segment at the key counts as stored, and any other
  object is an error (see `existing_object`).
- Each request is signed at the moment it is sent. A signature from before a freeze would be out of
  date.

Design: the CRC32 header replaces botocore's default checksum, which would make the body
`aws-chunked`. Buckets with Object Lock reject requests without a checksum. `Expect: 100-continue`
is not sent, because it costs a round trip.

References: S3 API Reference, "PutObject"; S3 User Guide, "Checking object integrity" and "Request
redirection".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import time
import zlib
from typing import TYPE_CHECKING

from logferry.aws import sigv4
from logferry.aws.credentials import CredentialSource
from logferry.aws.request_signer import CLOCK, CREDENTIALS, RequestSigner
from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.http_client.client import HttpClient
from logferry.http_client.response import HttpError
from logferry.http_client.tls import TlsContexts
from logferry.sinks.s3 import errors
from logferry.sinks.s3.endpoint import is_arn, needs_sdk, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from logferry.aws.credential_provider import CredentialProvider
    from logferry.http_client.response import Response
    from logferry.records.model import StoredObject
    from logferry.sinks.s3.endpoint import Endpoint
    from logferry.sinks.s3.existing_object import ExistingObjects

USER_AGENT = "logferry"
INLINE_BYTES = 1024 * 1024
"""Largest body whose checksums are computed in the event loop, in bytes.

Larger ones are computed in a thread.
"""

_OK = 200
_CONDITION_FAILED = 412
_OTHER_REGION_STATUS = frozenset({301, 302, 307, 400})


class S3Sink:
    """Storage of objects under `prefix` of `bucket`."""

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        region: str,
        environ: Mapping[str, str],
        timeout_seconds: float,
        object_headers: Mapping[str, str] | None = None,
        credentials: CredentialProvider | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`object_headers` are further headers of each request, in lower case.

        `credentials` is given if they are not those of the environment.
        """
        self._object_headers = object_headers or {}
        self._bucket = bucket
        self._prefix = prefix
        self._environ = environ
        self._timeout = timeout_seconds
        self._wall_clock = wall_clock
        self._signer = RequestSigner(credentials or CredentialSource(environ, wall_clock=wall_clock), "s3", wall_clock)
        self._existing: ExistingObjects | None = None
        self._use_region(region)

    def __repr__(self) -> str:
        return f"<S3Sink s3://{self._bucket}/{self._prefix}>"

    async def connect(self) -> None:
        """Prepare credentials and a connection; the next `put` reports a failure."""
        with contextlib.suppress(SinkError, HttpError, OSError):
            await self._signer.prepare()
            await self._client.connect()

    async def put(self, stored: StoredObject) -> None:
        """Store one object.

        Raises SinkUnavailable or SinkRejected, and then S3 may or may not hold it.
        """
        key = f"{self._prefix}/{stored.key}" if self._prefix else stored.key
        where = f"put s3://{self._bucket}/{key}"
        try:
            response = await self._put(key, stored)
            if response.status == _CONDITION_FAILED and self._is_refused_by_condition(response):
                await self._check_existing(key, stored)
                return
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"{where}: {error}") from error
        except UnicodeEncodeError as error:
            raise SinkRejected(f"put {key!a}: the key is not valid Unicode; correct LOGFERRY_KEY") from error
        except SinkError as error:
            raise error.restated(f"{where}: {error}") from error
        if response.status != _OK:
            failure = errors.classify(where, response.status, *errors.parse_error(response.body))
            failure.retry_after = errors.retry_after(response.headers, now=self._wall_clock())
            raise failure
        if not response.headers.get("etag"):
            raise errors.not_stored(where)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    async def _put(self, key: str, stored: StoredObject) -> Response:
        body = stored.body
        crc32, sha256 = await asyncio.to_thread(_checksums, body) if len(body) > INLINE_BYTES else _checksums(body)
        headers = _headers(stored, self._object_headers, crc32=crc32, sha256=sha256)
        return await self._corrected("PUT", key, headers, body)

    async def _corrected(self, method: str, key: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Send requests until none of the three corrections applies any more."""
        path, endpoint = sigv4.quote(key, keep_slash=True), self._endpoint

        def send(credentials: sigv4.Credentials) -> Awaitable[Response]:
            nonlocal endpoint
            endpoint = self._endpoint
            return self._send(method, path, headers, body, credentials)

        return await self._signer.exchange(send, lambda response: self._cause(response, endpoint))

    def _is_refused_by_condition(self, response: Response) -> bool:
        """Return whether S3, and not a proxy, has refused the object because its key exists."""
        return "if-none-match" in self._object_headers and errors.parse_error(response.body)[0] == "PreconditionFailed"

    async def _check_existing(self, key: str, stored: StoredObject) -> None:
        """Return if S3 holds the object already. Raise SinkRejected or SinkUnavailable otherwise."""
        from logferry.sinks.s3 import existing_object  # noqa: PLC0415 - rarely needed

        own = {
            name: self._object_headers[name] for name in existing_object.OWNER_HEADERS if name in self._object_headers
        }

        async def head(further: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
            headers = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest(), **own, **further}
            response = await self._corrected("HEAD", key, headers, b"")
            return response.status, response.headers

        self._existing = self._existing or existing_object.ExistingObjects()
        await self._existing.check(stored, head)

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, credentials: sigv4.Credentials
    ) -> Response:
        path = f"{self._endpoint.base_path}/{path}"
        signed = {"host": self._endpoint.host_header, **headers}
        signed = self._signer.sign(
            method,
            path,
            signed,
            payload_sha256=headers["x-amz-content-sha256"],
            credentials=credentials,
            region=self._endpoint.region,
            encode_path_twice=False,
        )
        unsigned = {"user-agent": USER_AGENT, "accept-encoding": "identity"}
        if method == "PUT":
            unsigned["content-length"] = str(len(body))
        client = self._client
        response = await client.request(method, path, signed | unsigned, body)
        if client is not self._client:
            client.close()  # a concurrent put has found the bucket in another region
        return response

    def _cause(self, response: Response, endpoint: Endpoint) -> str:
        """Return the cause of an error that a further request can avoid, or an empty string.

        A concurrent `put` may have found the region. The request is then repeated as well.
        """
        if response.status == _OK:
            return ""
        code, _ = errors.parse_error(response.body)
        # 1. The bucket is in another region.
        if response.status in _OTHER_REGION_STATUS:
            region = errors.region_of(response.headers, response.body)
            is_other = region and region != endpoint.region and not is_arn(self._bucket)
            if is_other and not needs_sdk(self._bucket, region, self._environ):
                if self._endpoint.region != region:
                    self._client.close()
                    self._use_region(region)
                return "region"
        # 2. The clock differs from S3's.
        if code == "RequestTimeTooSkewed":
            return CLOCK
        # 3. The credentials have expired.
        return CREDENTIALS if code in errors.EXPIRED_CODES else ""

    def _use_region(self, region: str) -> None:
        self._endpoint: Endpoint = resolve(self._bucket, region, self._environ)
        host, port = self._endpoint.host, self._endpoint.port
        tls = TlsContexts(host, self._environ) if self._endpoint.tls else None
        self._client = HttpClient(
            host,
            port,
            tls,
            timeout_seconds=self._timeout,
            remedies=errors.CONNECTION_REMEDIES,
            wall_clock=self._wall_clock,
        )


def _headers(stored: StoredObject, further: Mapping[str, str], *, crc32: str, sha256: str) -> dict[str, str]:
    """Return the headers that describe the object.

    Raises SinkRejected for a value that HTTP cannot carry.
    """
    headers = {
        "content-type": stored.content_type,
        "x-amz-checksum-crc32": crc32,
        "x-amz-content-sha256": sha256,
        **{f"x-amz-meta-{name}": value for name, value in stored.metadata.items()},
        **further,
    }
    for name, value in headers.items():
        if not (name.isascii() and value.isascii() and name.isprintable() and value.isprintable()):
            raise SinkRejected(f"the header {name!r} is not printable ASCII")
    return headers


def _checksums(body: bytes) -> tuple[str, str]:
    """Return the body's CRC32 (base64 of big-endian bytes) and its SHA-256 (hexadecimal)."""
    crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    return crc32, hashlib.sha256(body).hexdigest()
