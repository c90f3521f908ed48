"""A bucket prefix as a source: lists with the AWS SDK, GETs with obstore (see `object_client`).

Guarantees:
- Both clients use one session of the SDK: credentials, profile, region, endpoint, CA bundle.
- A bucket in another region is read there. S3 names its region in the redirect.
- An error of the destination raises `DestinationError`, and one of an object `ValueError`.

Design: obstore's list fails for all objects if one key is not a valid path (`a//b`), so the SDK
lists. The SDK also sends the GETs that obstore cannot send. It parses times with dateutil, which
takes most of a list's CPU time; `datetime` replaces it.
"""

from __future__ import annotations

import contextlib
import email.utils
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aioboto3
import aiobotocore.session
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from botocore.utils import parse_timestamp

from logferry.cli.fetch import s3_failures
from logferry.cli.fetch.object_client import (
    CONNECT_SECONDS,
    MAX_ATTEMPTS,
    READ_SECONDS,
    ObjectClient,
    UnsupportedRequestError,
    error_of,
)
from logferry.cli.fetch.source import Folder, ListedObject
from logferry.cli.object_limits import MAX_OBJECT_BYTES
from logferry.cli.stored_objects import (
    DestinationError,
    TransientDestinationError,
    check_size,
    reason_of,
)
from logferry.sinks.s3.sdk_session import VerifyingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from logferry.cli.fetch.cache import Cache
    from logferry.cli.fetch.request_usage import RequestUsage
    from logferry.cli.fetch.selection import ListRange


_SDK_ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError)
_SIGNED_REGION = re.compile(rb"Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/")


@contextlib.asynccontextmanager
async def open_bucket(bucket: str, prefix: str, *, cache: Cache, usage: RequestUsage) -> AsyncIterator[Bucket]:
    """Yield a bucket prefix. Raise DestinationError."""
    session = aiobotocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_parse_time)
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        http_session_cls=VerifyingSession,  # it verifies host names in certificates
    )
    url = "/".join(filter(None, (f"s3://{bucket}", prefix)))
    async with contextlib.AsyncExitStack() as stack:
        try:
            opening = aioboto3.Session(botocore_session=session).client("s3", config=config)
            client = await stack.enter_async_context(opening)
            credentials = await session.get_credentials()
        except NoRegionError as error:
            raise DestinationError(s3_failures.no_region(url)) from error
        except BotoCoreError as error:
            raise DestinationError(s3_failures.failure(url, "", str(error))) from error
        if credentials is None:
            raise DestinationError(s3_failures.no_credentials(url))
        bundle = session.get_config_variable("ca_bundle") or ""
        yield Bucket(client, credentials, bucket, prefix, url=url, cache=cache, usage=usage, ca_bundle=bundle)


class Bucket:
    """The objects under a prefix of an S3 bucket."""

    is_local = False

    def __init__(
        self,
        client: Any,
        credentials: Any,
        bucket: str,
        prefix: str,
        *,
        url: str,
        cache: Cache,
        usage: RequestUsage,
        ca_bundle: str = "",
    ) -> None:
        self.url = url
        self.usage = usage
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache = cache
        self._region: str = client.meta.region_name or "us-east-1"
        self._objects = ObjectClient(url, bucket, client.meta.endpoint_url, credentials, ca_bundle=ca_bundle)
        self.clock_offset = timedelta()
        client.meta.events.register("before-send.s3.ListObjectsV2", self._before_send)

    async def folder(self, prefix: str) -> Folder:
        """Return the direct content of a folder."""
        folders: list[str] = []
        objects: list[ListedObject] = []
        arguments = {"Prefix": self._prefix + prefix, "Delimiter": "/"}
        async for page in self._pages(arguments):
            folders += (found["Prefix"].removeprefix(self._prefix) for found in page.get("CommonPrefixes", []))
            objects += self._entries(page)
        return Folder(folders, objects)

    async def objects(self, listed: ListRange) -> AsyncIterator[Sequence[ListedObject]]:
        """Yield the entries of a list in pages."""
        arguments = {"Prefix": self._prefix + listed.prefix}
        if listed.start_after:
            arguments["StartAfter"] = self._prefix + listed.start_after
        async for page in self._pages(arguments):
            entries = self._entries(page)
            inside = [each for each in entries if not listed.stop_at or each.name <= listed.stop_at]
            yield inside
            if len(inside) < len(entries):
                return

    def is_cached(self, listed: ListedObject) -> bool:
        """Return whether the cache has the object."""
        return self._cache.find(listed) is not None

    async def fetch(self, listed: ListedObject) -> Path:
        """Return the file of an object in the cache, and fetch it if it is not there."""
        path = self._cache.find(listed)
        if path is not None:
            self.usage.cached += 1
            return path
        check_size(listed.size, MAX_OBJECT_BYTES)
        self.usage.gets += 1
        body = await self._get(listed.key)
        self.usage.bytes += len(body)
        return self._cache.add(listed, body)

    async def _get(self, key: str) -> bytes:
        """Return the body of an object, with the SDK if obstore cannot send the request."""
        with contextlib.suppress(UnsupportedRequestError):
            return await self._objects.get(key, region=self._region)
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            async with answer["Body"] as stream:
                body: bytes = await stream.read()
        except ClientError as error:
            raise error_of(self.url, error.response.get("Error", {}).get("Code", ""), error) from error
        except _SDK_ERRORS as error:
            raise ValueError(reason_of(error)) from error
        return body

    async def _pages(self, arguments: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, **arguments)
        try:
            async for page in pages:
                self._note_clock(page)
                yield page
        except NoCredentialsError as error:
            raise DestinationError(s3_failures.no_credentials(self.url)) from error
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            kind = TransientDestinationError if code in s3_failures.TRANSIENT_CODES else DestinationError
            raise kind(s3_failures.failure(self.url, code, str(error))) from error
        except _SDK_ERRORS as error:
            raise TransientDestinationError(s3_failures.failure(self.url, "", reason_of(error))) from error

    def _entries(self, page: dict[str, Any]) -> list[ListedObject]:
        """Return the objects of a page."""
        cut = len(self._prefix)
        return [
            ListedObject(
                entry["Key"][cut:], entry["Key"], entry["Size"], entry.get("ETag", "").strip('"'), entry["LastModified"]
            )
            for entry in page.get("Contents", [])
        ]

    def _before_send(self, request: Any, **_: object) -> None:
        """Count a LIST, with each repetition, and note the region that it is signed for."""
        self.usage.lists += 1
        authorization = request.headers.get("Authorization", b"")
        match = _SIGNED_REGION.search(authorization if isinstance(authorization, bytes) else authorization.encode())
        if match:
            self._region = match[1].decode()

    def _note_clock(self, page: dict[str, Any]) -> None:
        """Note the difference of the clocks. The header has complete seconds."""
        date = page["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        with contextlib.suppress(ValueError):
            self.clock_offset = email.utils.parsedate_to_datetime(date) - datetime.now(UTC)


def _parse_time(value: Any) -> datetime:
    """Return a time of a response. Those of lists are in ISO 8601, which `datetime` parses much faster."""
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(value)
    parsed: datetime = parse_timestamp(value)
    return parsed
