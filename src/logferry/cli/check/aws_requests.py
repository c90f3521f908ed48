"""Requests to AWS other than the canary: region of the bucket, caller, list, read and delete, with the AWS SDK.

Guarantees:
- Each request is made once, and takes at most `REQUEST_SECONDS`.
- A failure raises RequestError with the code and the sentence of the service, bounded and without secrets.
- Certificates and host names are verified, also behind a proxy.

Design: the canary uses the sink of the extension, which has no other requests. These need no such likeness, so the SDK
sends them with the credentials of the check. Its import takes 0.3 s, so it is imported for S3 destinations only.

References: S3 API Reference, "HeadBucket" (the region is in each response, also without permission).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from logferry.aws.sigv4 import Credentials
from logferry.http_client.failures import bounded
from logferry.sinks.s3.sdk_session import VerifyingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

REQUEST_SECONDS = 5.0
"""Limit of one request with its connection, in seconds."""
CONNECT_SECONDS = 3.0

_UNPARSABLE = (ResponseParserError, LookupError, TypeError, AttributeError)
"""Errors of botocore for a response that has another form than the service's."""
_ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, ValueError, *_UNPARSABLE)

_NOT_AWS = "the response has not the form of the service; check the endpoint URL and proxies"


class RequestError(Exception):
    """A failed request. The text has the code and the sentence, or the cause without a response."""

    def __init__(self, text: str, *, status: int = 0, code: str = "", sentence: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.sentence = sentence

    @property
    def is_denied(self) -> bool:
        """Whether a permission is missing."""
        return self.code in {"AccessDenied", "403"} or (self.status == 403 and not self.code)  # noqa: PLR2004


@dataclass(frozen=True)
class BucketHead:
    """Facts in the response to an unsigned HeadBucket. Texts are empty if the server does not send them."""

    status: int
    region: str
    date: str


@dataclass(frozen=True)
class AwsAccess:
    """Region, credentials and endpoint of a service. Without a URL, the SDK finds the endpoint."""

    region: str
    credentials: Credentials | None
    endpoint_url: str = ""
    is_dualstack: bool = False
    is_fips: bool = False


async def bucket_head(access: AwsAccess, bucket: str) -> BucketHead:
    """Return what S3 shows about a bucket to any client. Raise RequestError without a response."""
    async with _client("s3", access, signature_version=UNSIGNED) as client:
        try:
            headers = await _limited(client.head_bucket(Bucket=bucket))
        except ClientError as error:
            headers = error.response
        except _ERRORS as error:
            raise _failure(error) from error
    found = headers.get("ResponseMetadata", {})
    sent: Mapping[str, str] = found.get("HTTPHeaders", {})
    return BucketHead(
        status=int(found.get("HTTPStatusCode", 0)),
        region=sent.get("x-amz-bucket-region", ""),
        date=sent.get("date", ""),
    )


async def host_of(access: AwsAccess, bucket: str, key: str) -> tuple[str, int, bool]:
    """Return host, port and whether TLS is used for an object, as the SDK finds them. Nothing is sent."""
    async with _client("s3", access, signature_version="s3v4") as client:
        try:
            url = await _limited(client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}))
        except _ERRORS as error:
            raise _failure(error) from error
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if tls else 80), tls


async def caller(access: AwsAccess) -> tuple[str, str]:
    """Return account and ARN of the credentials' owner. Raise RequestError."""
    async with _client("sts", access) as client:
        try:
            identity = await _limited(client.get_caller_identity())
        except _ERRORS as error:
            raise _failure(error) from error
    if "Arn" not in identity:
        raise RequestError(_NOT_AWS)
    return str(identity.get("Account", "")), str(identity["Arn"])


async def assumed(access: AwsAccess, parameters: Mapping[str, str | int]) -> Credentials:
    """Return the credentials of a role. Raise RequestError."""
    async with _client("sts", access) as client:
        try:
            found = (await _limited(client.assume_role(**parameters))).get("Credentials")
        except _ERRORS as error:
            raise _failure(error) from error
    if not found:
        raise RequestError(_NOT_AWS)
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


async def list_prefix(access: AwsAccess, bucket: str, prefix: str) -> int:
    """Return the number of keys in a list of at most one. Raise RequestError."""
    async with _client("s3", access) as client:
        try:
            page = await _limited(client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1))
        except _ERRORS as error:
            raise _failure(error) from error
    return int(page.get("KeyCount", 0))


async def read_object(access: AwsAccess, bucket: str, key: str) -> bytes:
    """Return the body of a small object. Raise RequestError."""
    async with _client("s3", access) as client:
        try:
            response = await _limited(client.get_object(Bucket=bucket, Key=key))
            async with response["Body"] as stream:
                return bytes(await _limited(stream.read()))
        except _ERRORS as error:
            raise _failure(error) from error


async def delete_object(access: AwsAccess, bucket: str, key: str) -> None:
    """Delete an object. Raise RequestError."""
    async with _client("s3", access) as client:
        try:
            await _limited(client.delete_object(Bucket=bucket, Key=key))
        except _ERRORS as error:
            raise _failure(error) from error


@contextlib.asynccontextmanager
async def _client(service: str, access: AwsAccess, **options: Any) -> AsyncIterator[Any]:
    """Yield a client that makes one attempt. Raise RequestError."""
    keys: dict[str, str | None] = {}
    if access.credentials:
        keys = {
            "aws_access_key_id": access.credentials.access_key,
            "aws_secret_access_key": access.credentials.secret_key,
            "aws_session_token": access.credentials.token,
        }
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=REQUEST_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        defaults_mode="legacy",
        http_session_cls=VerifyingSession,  # it verifies host names in certificates
        use_dualstack_endpoint=access.is_dualstack,
        use_fips_endpoint=access.is_fips,
        **options,
    )
    endpoint = {"endpoint_url": access.endpoint_url} if access.endpoint_url else {}
    try:
        opening = get_session().create_client(service, region_name=access.region, config=config, **endpoint, **keys)
        client = await opening.__aenter__()
    except _ERRORS as error:
        raise _failure(error) from error
    try:
        yield client
    finally:
        await opening.__aexit__(None, None, None)


async def _limited(request: Awaitable[Any]) -> Any:
    async with asyncio.timeout(REQUEST_SECONDS):
        return await request


def _failure(error: Exception) -> RequestError:
    if isinstance(error, ClientError):
        found = error.response.get("Error", {})
        code, sentence = str(found.get("Code", "")), bounded(str(found.get("Message", "")))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        text = " ".join(filter(None, (str(status) if status and code != str(status) else "", code)))
        return RequestError(f"{text}: {sentence}" if sentence else text, status=status, code=code, sentence=sentence)
    if isinstance(error, _UNPARSABLE):
        return RequestError(_NOT_AWS)
    if isinstance(error, TimeoutError):
        return RequestError(f"no response within {REQUEST_SECONDS:g} s")
    return RequestError(bounded(str(error) or type(error).__name__))
