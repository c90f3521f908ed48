"""Writes and conditional deletes under a bucket prefix, with the AWS SDK.

Guarantees: a delete names the ETag that was read. S3 then deletes no object that was replaced.

Design: compaction sends two PUTs for a partition, so the SDK's time does not matter here. Some servers
ignore the ETag of a delete. A HEAD request therefore compares each ETag first, and the condition of the
delete covers the time between both.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from logferry.cli.compact.store import CHUNK_BYTES
from logferry.cli.stored_objects import DestinationError, reason_of
from logferry.sinks.s3.sdk_session import VerifyingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from logferry.cli.compact.partition import Input
    from logferry.cli.compact.store import Store

CONNECT_SECONDS = 10
READ_SECONDS = 60
CONCURRENCY = 32
CHANGED = ("PreconditionFailed", "412", "ConditionalRequestConflict")
_S3_ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError)
_PERMISSIONS = "compaction requires s3:PutObject on compact/*, and --delete-proven requires s3:DeleteObject"


@contextlib.asynccontextmanager
async def open_bucket_store(bucket: str, prefix: str) -> AsyncIterator[Store]:
    """Yield the objects under a prefix of a bucket. Raise DestinationError."""
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONCURRENCY,
        retries={"mode": "standard", "total_max_attempts": 4},
        http_session_cls=VerifyingSession,  # it verifies host names in certificates
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(aioboto3.Session().client("s3", config=config))
        except BotoCoreError as error:
            raise DestinationError(f"cannot write to s3://{bucket}: {error}") from error
        yield _BucketStore(client, bucket, f"{prefix}/" if prefix else "")


class _BucketStore:
    """The objects under a prefix of an S3 bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    async def put(self, name: str, file: Path) -> str:
        """Store a file as one object."""
        key = self._prefix + name
        kind = "application/json" if name.endswith(".json") else "application/vnd.apache.parquet"
        try:
            with file.open("rb") as body:
                answer = await self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=kind)
        except _S3_ERRORS as error:
            raise DestinationError(
                f"cannot write s3://{self._bucket}/{key}: {reason_of(error)}; {_PERMISSIONS}"
            ) from error
        return str(answer["ETag"]).strip('"')

    async def sha256(self, name: str) -> str:
        """Read an object and return its SHA-256."""
        key, digest = self._prefix + name, hashlib.sha256()
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            async for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                digest.update(chunk)
        except _S3_ERRORS as error:
            raise DestinationError(f"cannot read s3://{self._bucket}/{key}: {reason_of(error)}") from error
        return digest.hexdigest()

    async def delete(self, objects: Sequence[Input]) -> list[tuple[str, str]]:
        """Delete objects with unchanged ETags."""
        limit, kept = asyncio.Semaphore(CONCURRENCY), []

        async def work(each: Input) -> None:
            async with limit:
                if reason := await self._delete(each):
                    kept.append((each.name, reason))

        async with asyncio.TaskGroup() as group:
            for each in objects:
                group.create_task(work(each))
        return sorted(kept)

    async def _delete(self, each: Input) -> str:
        """Delete one object and return the reason if it is kept."""
        arguments = {"Bucket": self._bucket, "Key": self._prefix + each.name}
        try:
            found = await self._client.head_object(**arguments)
            if str(found["ETag"]).strip('"') != each.etag:
                return "it has changed since it was read"
            await self._client.delete_object(**arguments, IfMatch=f'"{each.etag}"')
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"404", "NoSuchKey"}:
                return ""
            return "it has changed since it was read" if code in CHANGED else reason_of(error)
        except _S3_ERRORS as error:
            return reason_of(error)
        return ""
