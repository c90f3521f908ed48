"""Reader of objects in an S3 bucket, with the AWS SDK.

Design: AWS's variables and files (endpoint, region, profile, credentials, CA bundle, proxies) have
the same meaning as in any AWS SDK. The import takes 0.3 s, so the commands import this module for
an S3 destination only.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from logferry.cli.object_limits import MAX_OBJECT_BYTES
from logferry.cli.object_names import is_marker
from logferry.cli.stored_objects import (
    DestinationError,
    UnreadableObject,
    check_size,
    decode,
    reason_of,
)
from logferry.sinks.s3.sdk_session import VerifyingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from logferry.cli.stored_objects import Destination, ReadObject

CONNECT_SECONDS = 10
READ_SECONDS = 60
"""Time limits of a connection and of each read, in seconds. Then the SDK tries again."""


_S3_ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError)


@contextlib.asynccontextmanager
async def open_bucket(bucket: str, prefix: str, *, connections: int) -> AsyncIterator[Destination]:
    """Yield the objects under a prefix of a bucket. Raise DestinationError."""
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": 3},
        http_session_cls=VerifyingSession,  # it verifies host names in certificates
    )
    try:
        opening = aioboto3.Session().client("s3", config=config)
        client = await opening.__aenter__()
    except BotoCoreError as error:
        raise DestinationError(f"cannot read s3://{bucket}: {error}") from error
    try:
        yield _Bucket(client, bucket, prefix)
    finally:
        await opening.__aexit__(None, None, None)


class _Bucket:
    """The objects under a prefix of an S3 bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    async def keys(self, *, stored_since: datetime | None = None) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        try:
            entries = [entry async for page in pages for entry in page.get("Contents", [])]
        except _S3_ERRORS as error:
            raise DestinationError(
                f"cannot list s3://{self._bucket}/{self._prefix}: {reason_of(error)}; "
                "reading requires s3:ListBucket and s3:GetObject, which the role of a function does not need"
            ) from error
        return [
            entry["Key"]
            for entry in entries
            if not is_marker(entry["Key"].removeprefix(self._prefix))
            and (stored_since is None or entry["LastModified"] >= stored_since)
        ]

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        metadata: Mapping[str, str] = {}
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            metadata = answer["Metadata"]
            async with answer["Body"] as stream:
                check_size(answer["ContentLength"], MAX_OBJECT_BYTES)
                body = await stream.read()
        except (*_S3_ERRORS, ValueError) as error:
            return UnreadableObject(key, metadata, reason_of(error))
        return decode(key, metadata, body)
