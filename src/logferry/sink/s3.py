"""A sink that is an S3 bucket, through aioboto3.

Promises: `put` returns when S3 has said that it holds the object, and raises otherwise; there is no third outcome. One
client lives as long as the process (a new one per upload costs 30 ms of CPU), and finds the way by everything that
AWS's SDKs know: endpoint rules, redirects to the bucket's region. In a rehearsal that is not sent it shows how it would
store an object, and objects are stored so, with less effort (see `signed`). When one fails the next is the client's.

Choices, with what they save:
- no `Expect: 100-continue`: botocore asks for it on every PutObject, one round trip more each time;
- a CRC32 given by us: the default one makes the body `aws-chunked` with a trailer, and no checksum at all is refused
  by buckets with Object Lock;
- no retries of botocore's own: the uploader has a deadline and a circuit breaker, and a hidden retry knows neither.
  A pooled connection that the other side has closed while we were frozen says nothing about S3; aiohttp itself sends
  the same request once more over a new one;
- every setting that botocore would read from the function's own variables and could choke on (retry mode, checksum
  mode, defaults mode) is given explicitly.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import zlib
from contextlib import AsyncExitStack
from typing import Any

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore import exceptions as boto
from botocore.handlers import add_expect_header

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.records.model import StoredObject
from logferry.sink.connections import Connections, Rehearsed
from logferry.sink.signed import SignedPut

CONNECT_SECONDS = 2.0
"""Generous inside a region; without a route (a VPC with no S3 endpoint) it is what an attempt costs."""
KEEP_ALIVE_SECONDS = 4.0
"""S3 closes idle connections after about 5 s; a connection older than this is not used again, freeze included."""

DIRECTORY_BUCKET = "--x-s3"
"""How the name of an S3 Express bucket ends (S3 user guide, "Directory buckets"): each has sessions of its own."""
REHEARSED = StoredObject(key="rehearsal", body=b"", metadata={}, content_type="", content_encoding=None)
"""An object that the client is asked to store and kept from storing."""

_REMEDIES = {
    "AccessDenied": "allow s3:PutObject on it in the function's role",
    "AllAccessDisabled": "the bucket is closed by AWS",
    "ExpiredToken": "the credentials of this environment have expired",
    "InvalidAccessKeyId": "the credentials are not known here: look at AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL_S3",
    "InvalidBucketName": "correct LOGFERRY_DESTINATION",
    "NoSuchBucket": "create the bucket or correct LOGFERRY_DESTINATION",
    "PermanentRedirect": "the bucket is in another region: set AWS_ENDPOINT_URL_S3 or use one in this region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: use one in this region",
    "SignatureDoesNotMatch": "the secret key is not the right one",
}
_PASSING = frozenset({"RequestTimeTooSkewed", "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"})
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_ELSEWHERE_STATUS = frozenset({301, 302, 307})
_TRY_LATER_STATUS = frozenset({408, 409, 429})
_SERVER_ERROR = 500


class S3Sink:
    """Stores objects under `prefix` of `bucket`."""

    def __init__(self, *, bucket: str, prefix: str, region: str | None, timeout_seconds: float) -> None:
        self._bucket = bucket
        self._is_directory = bucket.endswith(DIRECTORY_BUCKET)
        self._prefix = prefix
        self._timeout = timeout_seconds
        self._session = aioboto3.Session(region_name=region)
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._connections: Connections | None = None
        self._signed: SignedPut | None = None
        self._one_warms = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<S3Sink s3://{self._bucket}/{self._prefix}>"

    async def warm(self) -> None:
        """Make the client, so that the first upload does not have to. Raises SinkRejected when it cannot be made."""
        async with self._one_warms:
            if self._client is None:
                self._client = await self._made()
                self._signed = None if self._is_directory else await self._rehearsed()

    async def _made(self) -> Any:
        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self._timeout,
            max_pool_connections=4,
            retries={"mode": "standard", "total_max_attempts": 1},
            defaults_mode="legacy",
            parameter_validation=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connector_args={"keepalive_timeout": KEEP_ALIVE_SECONDS},
            http_session_cls=self._make_connections,
            s3={"addressing_style": "auto"},
        )
        try:
            client = await self._stack.enter_async_context(self._session.client("s3", config=config))
        except (boto.BotoCoreError, ValueError) as error:
            raise SinkRejected(f"no S3 client can be made: {error}; look at the AWS_ variables") from error
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return client

    def _make_connections(self, **options: Any) -> Connections:
        self._connections = Connections(**options)
        return self._connections

    async def _rehearsed(self) -> SignedPut | None:
        """What the client would do; None where it could do nothing yet, without credentials for example."""
        if self._connections is None:
            return None
        self._connections.rehearsing = True
        try:
            await self._put_by_client(REHEARSED.key, REHEARSED)
        except Rehearsed:
            return await self._learnt(REHEARSED.key)
        except (boto.BotoCoreError, boto.ClientError, ValueError):
            return None  # the first object's failure will say why
        finally:
            self._connections.rehearsing = False
        raise AssertionError("a rehearsal was sent")

    async def connect(self) -> None:
        """Have a connection open for the next `put`, if it is known where to. A failure is left for `put` to meet."""
        if self._signed and self._connections:
            with contextlib.suppress(boto.BotoCoreError, aiohttp.ClientError, OSError):
                await self._connections.connect(self._signed.folder)

    async def put(self, stored: StoredObject) -> None:
        """Store one object. Raises SinkUnavailable or SinkRejected, and then S3 may or may not hold it."""
        await self.warm()
        key = f"{self._prefix}/{stored.key}" if self._prefix else stored.key
        where = f"put s3://{self._bucket}/{key}"
        try:
            etag = await self._etag_of(key, stored)
        except boto.ClientError as error:
            raise _sorted(where, error) from error
        except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError) as error:
            raise SinkRejected(f"{where}: {error}; the environment has no usable AWS credentials") from error
        except (boto.BotoCoreError, aiohttp.ClientError, OSError, ValueError) as error:
            raise SinkUnavailable(f"{where}: {error!r}") from error
        if not etag:
            self._signed = None
            # botocore asks nothing of a 200. A proxy or a captive portal that answered for S3 was taken at its word,
            # and the records were gone (tests/faults/test_s3_faults.py).
            raise SinkUnavailable(f"{where}: answered 200 without an ETag, so not by S3: look at AWS_ENDPOINT_URL_S3")

    async def _etag_of(self, key: str, stored: StoredObject) -> str:
        """Store one object and return its ETag: signed, or by the client where the bucket turns out to be elsewhere.

        A way that fails, or is cut, is forgotten, and what the client does next is learnt.
        """
        signed, self._signed = self._signed, None
        if signed:
            try:
                etag = await _put_signed(signed, key, stored)
            except boto.ClientError as error:
                if not _is_elsewhere(error):
                    raise
            else:
                self._signed = signed
                return etag
        try:
            etag = await self._put_by_client(key, stored)
        except BaseException:
            if self._is_directory:
                # aiobotocore keeps the task that asks for a session for ever, and what became of it: after one that
                # failed, or was cut, every put of that client would end the same way (tests/sink/test_signed.py).
                self._client = None
            raise
        self._signed = await self._learnt(key)
        return etag

    async def _put_by_client(self, key: str, stored: StoredObject) -> str:
        request = {
            "Bucket": self._bucket,
            "Key": key,
            "Body": stored.body,
            "Metadata": stored.metadata,
            "ContentType": stored.content_type,
            "ChecksumCRC32": _crc32(stored.body),
        }
        if stored.content_encoding:
            request["ContentEncoding"] = stored.content_encoding
        answer = await self._client.put_object(**request)
        return str(answer.get("ETag", ""))

    async def _learnt(self, key: str) -> SignedPut | None:
        """What the client's last request, which was for `key`, shows."""
        if self._connections is None or self._connections.seen is None:
            return None
        example, self._connections.seen = self._connections.seen, None
        credentials = await self._session.get_credentials()
        return SignedPut.like(example, key=key, credentials=credentials, http=self._connections)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._stack.aclose()
        self._client = self._signed = None


async def _put_signed(signed: SignedPut, key: str, stored: StoredObject) -> str:
    headers = {f"x-amz-meta-{name}": value for name, value in stored.metadata.items()}
    headers |= {"Content-Type": stored.content_type, "x-amz-checksum-crc32": _crc32(stored.body)}
    if stored.content_encoding:
        headers["Content-Encoding"] = stored.content_encoding
    return await signed.put(key, stored.body, headers)


def _crc32(body: bytes) -> str:
    """As S3 wants it: base64 of the big-endian bytes (S3 user guide, "Checking object integrity")."""
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _is_elsewhere(error: boto.ClientError) -> bool:
    """Whether S3 says that the bucket is in another region (S3 user guide, "Request redirection")."""
    return _code(error) in _ELSEWHERE or _status(error) in _ELSEWHERE_STATUS


def _code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _sorted(where: str, error: boto.ClientError) -> SinkUnavailable | SinkRejected:
    """S3's answer by what can be done about it: wait, or change something (S3 API reference, Error responses)."""
    code, status = _code(error), _status(error)
    message = f"{where}: {status} {code}"
    if code in _PASSING or status in _TRY_LATER_STATUS or status >= _SERVER_ERROR:
        return SinkUnavailable(message)
    remedy = _REMEDIES.get(code) or (_REMEDIES["AccessDenied"] if status == 403 else "see S3's error codes")  # noqa: PLR2004
    return SinkRejected(f"{message}; {remedy}")
