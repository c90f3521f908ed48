"""A sink that is an S3 bucket, through the AWS SDK (aioboto3), for every other configuration.

Guarantees:
- The contract is that of `sink.S3Sink`: `put` returns after S3 has responded 200 with an ETag, and
  raises otherwise.
- One `put` is one attempt. The uploader has a deadline and a circuit breaker, which hidden retries
  would not respect.
- Certificates and host names are verified as by the own client, also behind a proxy.
- A client that has been replaced is closed before the next one is made, unless another `put` uses it.
- A message names the host that cannot be reached, and whether it is the proxy.
- A message is bounded and contains no password of a proxy or an endpoint URL.
- Variables that are meant for the function, and that botocore cannot use, are removed.

Design: one client lives as long as the process, because making one costs 30 ms of CPU time. It is
made on first use, so a snapshot contains no credentials. botocore follows redirects to the bucket's
region itself.

References: boto3, "Configuration"; S3 User Guide, "Directory buckets".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import time
import zlib
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from logferry.sinks.s3.sdk_session import VerifyingSession, no_system_certificates

with no_system_certificates():
    import aioboto3
    import aiohttp
    from aiobotocore.config import AioConfig
    from botocore import exceptions as boto
    from botocore.handlers import add_expect_header

from typing import TYPE_CHECKING

from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.http_client import client as http_client
from logferry.http_client.failures import CHECK_PROXY, bounded, connect_failure, remedies
from logferry.http_client.tls import AMAZON_ROOTS, TlsContexts, is_bundle_given
from logferry.sinks.s3 import endpoint, errors, sdk_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.records.model import StoredObject

DIRECTORY_BUCKET = "--x-s3"
"""Suffix of an S3 Express bucket, whose requests are signed with the credentials of a session."""
MISLEADING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
)
"""Variables that are meant for the function; botocore would reject a value or look for a file."""
PARAMETERS = {
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "x-amz-server-side-encryption-context": "SSEKMSEncryptionContext",
    "x-amz-server-side-encryption-bucket-key-enabled": "BucketKeyEnabled",
    "x-amz-storage-class": "StorageClass",
    "x-amz-tagging": "Tagging",
    "x-amz-expected-bucket-owner": "ExpectedBucketOwner",
    "x-amz-acl": "ACL",
    "x-amz-request-payer": "RequestPayer",
}
"""Parameters of the SDK for the headers of `options.s3`."""
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


class S3SdkSink:
    """Storage of objects under `prefix` of `bucket`."""

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        region: str | None,
        timeout_seconds: float,
        object_headers: Mapping[str, str] | None = None,
    ) -> None:
        """`object_headers` are further headers of each request, each of them one of `PARAMETERS`."""
        for name in MISLEADING:
            os.environ.pop(name, None)
        self._object_parameters = {PARAMETERS[name]: value for name, value in (object_headers or {}).items()}
        self._bucket = bucket
        self._prefix = prefix
        self._timeout = timeout_seconds
        self._region = region
        self._session = aioboto3.Session(region_name=region)
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._one_makes_it = asyncio.Lock()
        self._in_flight = 0
        self._roots = AMAZON_ROOTS if _is_host_of_amazon(region) else None

    def __repr__(self) -> str:
        return f"<S3SdkSink s3://{self._bucket}/{self._prefix}>"

    async def connect(self) -> None:
        """Make the client before the next `put` needs it; the next `put` reports a failure."""
        with contextlib.suppress(SinkError):
            await self._made()

    async def put(self, stored: StoredObject) -> None:
        """Store one object.

        Raises SinkUnavailable or SinkRejected, and then S3 may or may not hold it.
        """
        key = f"{self._prefix}/{stored.key}" if self._prefix else stored.key
        where = f"put s3://{self._bucket}/{key}"
        try:
            etag = await self._put_corrected(key, stored)
        except SinkRejected as error:
            raise SinkRejected(f"{where}: {error}") from error
        except boto.ClientError as error:
            raise _classified(where, error) from error
        except _NO_CREDENTIALS as error:
            raise SinkRejected(f"{where}: {_bounded(error)}; the environment has no usable AWS credentials") from error
        except boto.ParamValidationError as error:
            raise SinkRejected(f"{where}: {_bounded(error)}; correct LOGFERRY_DESTINATION") from error
        except boto.ProxyConnectionError as error:
            raise SinkUnavailable(f"{where}: {_bounded(error)}; {CHECK_PROXY}") from error
        except boto.EndpointConnectionError as error:
            raise SinkUnavailable(f"{where}: {_connect_failure(error)}") from error
        except (boto.BotoCoreError, aiohttp.ClientError, OSError, ValueError) as error:
            raise SinkUnavailable(f"{where}: {_bounded(repr(error))}") from error
        if not etag:
            raise errors.not_stored(where)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._stack.aclose()
        self._client = None

    async def _put_corrected(self, key: str, stored: StoredObject) -> str:
        """Put one object, once more after each correction; botocore follows redirects itself."""
        corrected: set[str] = set()
        while True:
            try:
                return await self._put(key, stored)
            except boto.ClientError as error:
                code = _code(error)
                if code in corrected or not self._correct(code, error):
                    raise
                corrected.add(code)

    def _correct(self, code: str, error: boto.ClientError) -> bool:
        """Correct what the response shows to be wrong; return False if there is nothing."""
        if code == "RequestTimeTooSkewed":
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            return sdk_clock.correct(headers.get("date", ""))
        if code in errors.EXPIRED_CODES:
            # A new session reads the credentials again.
            self._session, self._client = aioboto3.Session(region_name=self._region), None
            return True
        return False

    async def _put(self, key: str, stored: StoredObject) -> str:
        request = {
            "Bucket": self._bucket,
            "Key": key,
            "Body": stored.body,
            "Metadata": stored.metadata,
            "ContentType": stored.content_type,
            "ChecksumCRC32": base64.b64encode(zlib.crc32(stored.body).to_bytes(4, "big")).decode(),
            **self._object_parameters,
        }
        client = await self._made()
        self._in_flight += 1
        try:
            response = await client.put_object(**request)
        except boto.SSLError:
            # The certificate is not from one of Amazon's roots. The next client trusts the complete bundle.
            self._roots, self._client = None, None
            raise
        except BaseException:
            if self._bucket.endswith(DIRECTORY_BUCKET):
                # aiobotocore keeps the task that requests a session, and its failure, indefinitely.
                # Each later put of the same client would fail in the same way.
                self._client = None
            raise
        finally:
            self._in_flight -= 1
        return str(response.get("ETag", ""))

    async def _made(self) -> Any:
        """Return the client. Raises SinkRejected if it cannot be made."""
        async with self._one_makes_it:
            if self._client is None:
                if not self._in_flight:
                    await self._stack.aclose()
                self._client = await self._make_client()
            return self._client

    async def _make_client(self) -> Any:
        if is_bundle_given(os.environ):
            TlsContexts("", os.environ).current()  # botocore would not name the variable of a missing file
        config = AioConfig(
            connect_timeout=http_client.CONNECT_SECONDS,
            read_timeout=self._timeout,
            max_pool_connections=4,
            retries={"mode": "standard", "total_max_attempts": 1},
            defaults_mode="legacy",
            parameter_validation=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connector_args={"keepalive_timeout": http_client.KEEP_ALIVE_SECONDS},
            http_session_cls=VerifyingSession,
            s3={"addressing_style": "auto"},
        )
        try:
            client = await self._stack.enter_async_context(
                self._session.client("s3", config=config, verify=self._roots)
            )
        except (boto.BotoCoreError, ValueError) as error:
            raise SinkRejected(f"no S3 client can be made: {_bounded(error)}; check the AWS_ variables") from error
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return client


def _is_host_of_amazon(region: str | None) -> bool:
    """Return whether the host has a certificate of Amazon and no bundle is configured."""
    if is_bundle_given(os.environ) or endpoint.endpoint_url(os.environ):
        return False
    return endpoint.service_host(region or "").endswith(".amazonaws.com")


def _classified(where: str, error: boto.ClientError) -> SinkError:
    response = error.response
    sentence = bounded(str(response.get("Error", {}).get("Message", "")))
    metadata = response.get("ResponseMetadata", {})
    classified = errors.classify(where, int(metadata.get("HTTPStatusCode", 0)), _code(error), sentence)
    classified.retry_after = errors.retry_after(metadata.get("HTTPHeaders", {}), now=time.time())
    return classified


def _connect_failure(error: boto.EndpointConnectionError) -> str:
    """Return the message for a host without a connection. It is the proxy's if it is not that of the URL."""
    cause = error.kwargs.get("error")
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return _bounded(repr(error))
    is_proxy = cause.host != urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname
    return connect_failure(
        cause.host,
        cause.port or 0,
        cause.os_error,
        remedies(CHECK_PROXY) if is_proxy else errors.CONNECTION_REMEDIES,
        is_unresolved=isinstance(cause, aiohttp.ClientConnectorDNSError),
    )


def _bounded(error: object) -> str:
    return bounded(str(error))


def _code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
