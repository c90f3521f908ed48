"""A sink that is an S3 bucket, through the AWS SDK (aioboto3), for every other configuration.

Guarantees:
- The contract is that of `sink.S3Sink`: `put` returns after S3 has responded 200 with an ETag, and
  raises otherwise.
- One `put` is one attempt. The uploader has a deadline and a circuit breaker, which hidden retries
  would not respect.
- Certificates and host names are verified as by the own client, also behind a proxy.
- A client that has been replaced is closed before the next one is made, unless another `put` uses it.
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
import zlib
from contextlib import AsyncExitStack
from typing import Any

from logferry.sinks.s3.sdk_session import VerifyingSession, no_system_certificates

with no_system_certificates():
    import aioboto3
    import aiobotocore.session
    import aiohttp
    from aiobotocore.config import AioConfig
    from botocore import exceptions as boto
    from botocore.handlers import add_expect_header

from typing import TYPE_CHECKING

from logferry.errors import SinkError, SinkRejected
from logferry.http_client import client as http_client
from logferry.http_client.failures import bounded
from logferry.http_client.tls import AMAZON_ROOTS, TlsContexts, is_bundle_given
from logferry.sinks.s3 import endpoint, errors, sdk_clock, sdk_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from logferry.aws.role import Role
    from logferry.records.model import StoredObject
    from logferry.sinks.s3.existing_object import ExistingObjects

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
    "if-none-match": "IfNoneMatch",
}
"""Parameters of the SDK for the headers of `options.s3`."""
STS_RESPONSE_SECONDS = 2.0
"""Limit for a response of STS, in seconds, as in `aws.assumed_role`."""
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


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
        environ: Mapping[str, str] | None = None,
        replaced: Collection[str] = (),
        role: Role | None = None,
    ) -> None:
        """`object_headers` are further headers of each request, each of them one of `PARAMETERS`.

        `environ` has the AWS variables. `replaced` names those of them that differ from the variables of the process.
        """
        for name in MISLEADING:
            os.environ.pop(name, None)
        self._object_parameters = {PARAMETERS[name]: value for name, value in (object_headers or {}).items()}
        self._bucket = bucket
        self._prefix = prefix
        self._timeout = timeout_seconds
        self._region = region
        self._environ = os.environ if environ is None else environ
        self._replaced = replaced
        self._role = role
        self._session = self._make_session()
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._one_makes_it = asyncio.Lock()
        self._in_flight = 0
        self._roots = AMAZON_ROOTS if _is_host_of_amazon(region, self._environ) else None
        self._existing: ExistingObjects | None = None

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
            is_stored = await self._put_unless_stored(key, stored)
        except SinkError as error:
            raise error.restated(f"{where}: {error}") from error
        except (boto.BotoCoreError, boto.ClientError, aiohttp.ClientError, OSError, ValueError) as error:
            raise sdk_errors.translated(where, error) from error
        if not is_stored:
            raise errors.not_stored(where)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._stack.aclose()
        self._client = None

    async def _put_unless_stored(self, key: str, stored: StoredObject) -> bool:
        """Return whether S3 holds the object: it has given an ETag, or a conditional request has found the object."""
        try:
            return bool(await self._put_corrected(key, stored))
        except boto.ClientError as error:
            if "IfNoneMatch" not in self._object_parameters or sdk_errors.code_of(error) != "PreconditionFailed":
                raise
        await self._check_existing(key, stored)
        return True

    async def _check_existing(self, key: str, stored: StoredObject) -> None:
        """Return if S3 holds the object already. Raise SinkRejected or SinkUnavailable otherwise."""
        from logferry.sinks.s3 import existing_object  # noqa: PLC0415 - rarely needed

        names = [PARAMETERS[name] for name in existing_object.OWNER_HEADERS]
        request = {"Bucket": self._bucket, "Key": key}
        request |= {name: self._object_parameters[name] for name in names if name in self._object_parameters}

        async def head(further: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
            client = await self._made()
            try:
                response = await client.head_object(**request, **({"ChecksumMode": "ENABLED"} if further else {}))
            except boto.ClientError as error:
                response = error.response
            found = response["ResponseMetadata"]
            return found["HTTPStatusCode"], found["HTTPHeaders"]

        self._existing = self._existing or existing_object.ExistingObjects()
        await self._existing.check(stored, head)

    async def _put_corrected(self, key: str, stored: StoredObject) -> str:
        """Put one object, once more after each correction; botocore follows redirects itself."""
        corrected: set[str] = set()
        while True:
            try:
                return await self._put(key, stored)
            except boto.ClientError as error:
                code = sdk_errors.code_of(error)
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
            self._session, self._client = self._make_session(), None
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

    def _make_session(self) -> Any:
        """Return a session with the credentials of the requests to S3."""
        if not self._role:
            return self._session_of_caller()
        from logferry.sinks.s3.sdk_role import SdkRoleCredentials  # noqa: PLC0415 - only with a role

        core = aiobotocore.session.get_session()
        core.register_component("credential_provider", SdkRoleCredentials(self._role, self._open_sts))
        return aioboto3.Session(region_name=self._region, botocore_session=core)

    def _session_of_caller(self) -> Any:
        """Return a session with the credentials of the environment, or with those that replace them."""
        keys = {}
        if "AWS_ACCESS_KEY_ID" in self._replaced:
            keys = {name.lower(): self._environ.get(name) for name in _CREDENTIALS}
        return aioboto3.Session(region_name=self._region, **keys)

    def _open_sts(self) -> Any:
        """Return the context manager of an STS client with the credentials of the caller."""
        assert self._role  # noqa: S101 - the caller has one
        config = AioConfig(
            connect_timeout=http_client.CONNECT_SECONDS,
            read_timeout=STS_RESPONSE_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            defaults_mode="legacy",
            http_session_cls=VerifyingSession,
            use_dualstack_endpoint=self._role.dualstack,
            use_fips_endpoint=self._role.fips,
        )
        return self._session_of_caller().client(
            "sts", region_name=self._role.region, endpoint_url=self._role.sts_url or None, config=config
        )

    def _endpoint_url(self) -> str | None:
        return self._environ["AWS_ENDPOINT_URL_S3"] if "AWS_ENDPOINT_URL_S3" in self._replaced else None

    def _variants(self) -> dict[str, bool]:
        """Return the choice of the endpoint if it is not that of the process."""
        if not self._replaced:
            return {}
        names = {"use_dualstack_endpoint": "AWS_USE_DUALSTACK_ENDPOINT", "use_fips_endpoint": "AWS_USE_FIPS_ENDPOINT"}
        return {option: endpoint.is_on(name, self._environ) for option, name in names.items()}

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
            **self._variants(),
        )
        options = {"config": config, "verify": self._roots, "endpoint_url": self._endpoint_url()}
        try:
            client = await self._stack.enter_async_context(self._session.client("s3", **options))
        except (boto.BotoCoreError, ValueError) as error:
            raise SinkRejected(f"no S3 client can be made: {bounded(str(error))}; check the AWS_ variables") from error
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return client


def _is_host_of_amazon(region: str | None, environ: Mapping[str, str]) -> bool:
    """Return whether the host has a certificate of Amazon and no bundle is configured."""
    if is_bundle_given(environ) or endpoint.endpoint_url(environ):
        return False
    return endpoint.service_host(region or "", environ).endswith(".amazonaws.com")
