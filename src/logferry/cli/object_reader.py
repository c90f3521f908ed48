"""Reader of stored objects, for `s3://bucket/prefix` and `file:///directory`.

Guarantees:
- Markers of folders and jobs, such as `_SUCCESS`, are no objects (`object_names`).
- Markers of folders and jobs, such as `_SUCCESS`, are no objects (`object_names`).
- The reader returns every object of the destination exactly once: lines and metadata, or a reason
  why it is unreadable. An unreadable object does not affect others.
- Reading always ends. An object above `MAX_OBJECT_BYTES` or with a line above `MAX_LINE_BYTES` is
  unreadable. Lines are decompressed one at a time, so that a small object of compressed zeros does
  not fill the memory.
- An error of the destination (no such bucket, no permission, no such directory) raises
  `DestinationError`.
- At most `CONCURRENCY` objects are in memory at a time.

Design: in a directory an object is a file, and its metadata are a JSON object of strings in
`<key>.meta.json`. A prefix consists of complete path segments: `s3://b/logs` does not cover
`logs-of-another/...`. AWS's variables and files (endpoint, region, profile, credentials, CA bundle,
proxies) have the same meaning as in any AWS SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from logferry import destination
from logferry.cli.object_names import is_marker
from logferry.settings_validation import aws_mistakes
from logferry.sinks.s3.sdk_session import VerifyingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

CONCURRENCY = 16
"""Number of objects that are read concurrently. It hides S3's latency, at some megabytes of memory
each."""

CONNECT_SECONDS = 10
READ_SECONDS = 60
"""Time limits of a connection and of each read, in seconds. Then the SDK tries again."""

MAX_OBJECT_BYTES = 1 << 30
"""Maximum stored size, in bytes. logferry's objects are smaller than `LOGFERRY_FLUSH_BYTES` (256
MiB at most)."""

MAX_LINE_BYTES = 128 << 20
"""Maximum decompressed size, in bytes. The largest batch has 64 MiB (journal/frame), and base64
adds a third."""

MAX_METADATA_BYTES = 64 << 10
"""Maximum size of a metadata file, in bytes. S3 allows 2 KB (User Guide, "Working with object
metadata")."""

METADATA_SUFFIX = ".meta.json"

_S3_ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError)


class DestinationError(Exception):
    """A destination that cannot be read; the message names it with the reason and the remedy."""


class BrokenLinesError(Exception):
    """An object with a damaged or truncated body; the message names the reason."""


@dataclass(frozen=True)
class ReadObject:
    """One object: its key, its user metadata, and its decompressed lines without newlines.

    Iteration over the lines raises `BrokenLinesError`.
    """

    key: str
    metadata: Mapping[str, str]
    lines: Iterable[bytes]


@dataclass(frozen=True)
class UnreadableObject:
    """An object that cannot be read, with its metadata, if they are known, and the reason."""

    key: str
    metadata: Mapping[str, str]
    reason: str


class Destination(Protocol):
    """A bucket prefix or a directory."""

    async def keys(self, *, stored_since: datetime | None = None) -> list[str]:
        """Return the key of every object, or of those stored since a time. Raise DestinationError."""
        ...

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        """Return one object, or the reason why it is unreadable."""
        ...


def open_destination(url: str) -> AbstractAsyncContextManager[Destination]:
    """Return the destination of a URL, for use with `async with`. Raise DestinationError."""
    try:
        place = destination.parse(url)
    except ValueError as error:
        raise DestinationError(f"{url!r} is not a valid destination: {error}") from error
    if mistakes := [*aws_mistakes(place, os.environ)]:
        raise DestinationError(f"cannot read {url}: {'; '.join(mistakes)}")
    if place.scheme == "s3":
        return _open_s3(place.bucket, place.path)
    return contextlib.nullcontext(_Directory(Path(place.path)))


async def read_all(
    opened: Destination,
    keys: Iterable[str],
    take: Callable[[ReadObject | UnreadableObject], None],
    *,
    concurrency: int = CONCURRENCY,
) -> None:
    """Read the objects concurrently and call `take` with each of them, in any order."""
    waiting = iter(keys)

    async def work() -> None:
        for key in waiting:
            take(await opened.read(key))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


def _decode(key: str, metadata: Mapping[str, str], body: bytes) -> ReadObject | UnreadableObject:
    """Return an object with its lines. The key's suffix gives the compression."""
    if key.endswith(".zst"):
        return UnreadableObject(key, metadata, "zstd compression is not supported")
    return ReadObject(key, metadata, _Lines(body, compressed=key.endswith(".gz")))


class _Lines:
    """The lines of a body, decompressed one at a time."""

    def __init__(self, body: bytes, *, compressed: bool) -> None:
        self._body = body
        self._compressed = compressed

    def __iter__(self) -> Iterator[bytes]:
        stored = io.BytesIO(self._body)
        try:
            with gzip.GzipFile(fileobj=stored) if self._compressed else stored as file:
                while line := file.readline(MAX_LINE_BYTES + 1):
                    if len(line) > MAX_LINE_BYTES:
                        raise BrokenLinesError(f"a line is longer than {MAX_LINE_BYTES} bytes")
                    yield line.removesuffix(b"\n")
        except (OSError, EOFError, zlib.error) as error:
            raise BrokenLinesError(f"incomplete gzip data: {error}") from error


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"its size of {size} bytes exceeds the limit of {most} bytes")


@contextlib.asynccontextmanager
async def _open_s3(bucket: str, prefix: str) -> AsyncIterator[Destination]:
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONCURRENCY,
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
                f"cannot list s3://{self._bucket}/{self._prefix}: {_reason(error)}; "
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
                _check_size(answer["ContentLength"], MAX_OBJECT_BYTES)
                body = await stream.read()
        except (*_S3_ERRORS, ValueError) as error:
            return UnreadableObject(key, metadata, _reason(error))
        return _decode(key, metadata, body)


class _Directory:
    """The objects of a directory: each file has its metadata in a second file."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def keys(self, *, stored_since: datetime | None = None) -> list[str]:
        if not self._root.is_dir():
            raise DestinationError(f"cannot read file://{self._root}: the directory does not exist")
        earliest = stored_since.timestamp() if stored_since else 0.0
        paths = [path for path in self._root.rglob("*") if path.is_file() and path.stat().st_mtime >= earliest]
        names = {str(path.relative_to(self._root)) for path in paths}
        return sorted({name.removesuffix(METADATA_SUFFIX) for name in names if not is_marker(name)})

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        metadata: Mapping[str, str] = {}
        try:
            metadata = self._metadata_of(key)
            body = _content(self._root / key, MAX_OBJECT_BYTES)
        except (OSError, ValueError, RecursionError) as error:
            return UnreadableObject(key, metadata, _reason(error))
        return _decode(key, metadata, body)

    def _metadata_of(self, key: str) -> Mapping[str, str]:
        """Return the metadata of a file, which are empty after a download of the object alone."""
        path = self._root / f"{key}{METADATA_SUFFIX}"
        return _metadata(_content(path, MAX_METADATA_BYTES)) if path.exists() else {}


def _content(path: Path, most: int) -> bytes:
    _check_size(path.stat().st_size, most)
    return path.read_bytes()


def _metadata(text: bytes) -> dict[str, str]:
    parsed = json.loads(text)
    if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
        raise ValueError("its metadata are not a JSON object of strings")
    return parsed


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
