"""The objects of a destination, read back: ``s3://bucket/prefix`` and ``file:///directory``.

Promises
  * Every object under the destination is handed over exactly once: as its lines and metadata, or as unreadable with the
    reason. One bad object never hides another.
  * Whatever lies there, reading it ends: larger than ``MAX_OBJECT_BYTES``, or with a line beyond ``MAX_LINE_BYTES``, it
    is unreadable. Lines are decompressed as they are read, so a small object of endless zeros fills no memory.
  * What concerns all objects (no such bucket, no rights, no such directory) raises ``DestinationError`` instead.
  * At most ``CONCURRENCY`` objects are in memory at a time.

In a directory an object is a file, and its metadata are a JSON object of strings in ``<key>.meta.json`` beside it.
A prefix is a whole number of path segments: ``s3://b/logs`` does not cover ``logs-of-another/...``.
AWS's variables and files (endpoint, region, profile, credentials, CA bundle, proxies) mean what they mean to any SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from logferry.sinks.s3.sdk_session import VerifyingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

CONCURRENCY = 16
"""Objects read at a time: enough to hide S3's latency, few enough to hold in memory at some megabytes each."""

CONNECT_SECONDS = 10
READ_SECONDS = 60
"""Bounds on connecting to S3 and on waiting for each piece of an answer, before the SDK tries again."""

MAX_OBJECT_BYTES = 1 << 30
"""As stored. logferry's own are a fraction of ``LOGFERRY_FLUSH_BYTES``, which is 256 MiB at most."""

MAX_LINE_BYTES = 128 << 20
"""Decompressed. The largest delivery is 64 MiB (journal/frame), and takes a third more where it is kept as base64."""

MAX_METADATA_BYTES = 64 << 10
"""Of a file; S3 allows 2 KB (Amazon S3 User Guide, "Working with object metadata")."""

METADATA_SUFFIX = ".meta.json"

_S3_ERRORS = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError)


class DestinationError(Exception):
    """The destination as a whole cannot be read; the message says which, why, and what to do."""


class BrokenLinesError(Exception):
    """The lines of an object end in its middle; the message says why."""


@dataclass(frozen=True)
class ReadObject:
    """One object: its key, its user metadata, and its lines, decompressed and without their newlines.

    Going through the lines raises ``BrokenLinesError``.
    """

    key: str
    metadata: Mapping[str, str]
    lines: Iterable[bytes]


@dataclass(frozen=True)
class UnreadableObject:
    """An object that is there and cannot be read, with what is known of it and the reason."""

    key: str
    metadata: Mapping[str, str]
    reason: str


class Destination(Protocol):
    """A place that holds objects."""

    async def keys(self) -> list[str]:
        """Return the key of every object. Raises ``DestinationError``."""
        ...

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        """Return one object, or why it cannot be read."""
        ...


def open_destination(url: str) -> AbstractAsyncContextManager[Destination]:
    """Return the destination that a URL names, to be used with ``async with``. Raises ``DestinationError``."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return _open_s3(parts.netloc, unquote(parts.path).strip("/"))
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return contextlib.nullcontext(_Directory(Path(unquote(parts.path))))
    raise DestinationError(f"{url!r} is no destination: write s3://bucket/prefix or file:///directory")


async def read_all(
    destination: Destination,
    keys: Iterable[str],
    take: Callable[[ReadObject | UnreadableObject], None],
    *,
    concurrency: int = CONCURRENCY,
) -> None:
    """Read the objects, so many at a time, and hand each to ``take`` as soon as it is there, in no order."""
    waiting = iter(keys)

    async def work() -> None:
        for key in waiting:
            take(await destination.read(key))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


def _decode(key: str, metadata: Mapping[str, str], body: bytes) -> ReadObject | UnreadableObject:
    """Make lines of a body, compressed as its key says."""
    if key.endswith(".zst"):
        return UnreadableObject(key, metadata, "compressed with zstd, which this command does not read")
    return ReadObject(key, metadata, _Lines(body, compressed=key.endswith(".gz")))


class _Lines:
    """The lines of a body, one at a time."""

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
            raise BrokenLinesError(f"not a whole gzip file: {error}") from error


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it takes {size} bytes, and at most {most} are read")


@contextlib.asynccontextmanager
async def _open_s3(bucket: str, prefix: str) -> AsyncIterator[Destination]:
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONCURRENCY,
        retries={"mode": "standard", "total_max_attempts": 3},
        http_session_cls=VerifyingSession,  # it looks at the names in certificates
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
    """The objects of an S3 bucket under a prefix."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    async def keys(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        try:
            return [entry["Key"] async for page in pages for entry in page.get("Contents", [])]
        except _S3_ERRORS as error:
            raise DestinationError(
                f"cannot list s3://{self._bucket}/{self._prefix}: {_reason(error)}; "
                "reading back needs s3:ListBucket and s3:GetObject, which a function's own role need not have"
            ) from error

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
    """The objects of a directory: files with their metadata beside them. What is named ``.something`` is not one."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def keys(self) -> list[str]:
        if not self._root.is_dir():
            raise DestinationError(f"cannot read file://{self._root}: there is no such directory")
        paths = [path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file()]
        names = {str(path) for path in paths if not any(part.startswith(".") for part in path.parts)}
        return sorted({name.removesuffix(METADATA_SUFFIX) for name in names})

    async def read(self, key: str) -> ReadObject | UnreadableObject:
        metadata: Mapping[str, str] = {}
        try:
            metadata = _metadata(_content(self._root / f"{key}{METADATA_SUFFIX}", MAX_METADATA_BYTES))
            body = _content(self._root / key, MAX_OBJECT_BYTES)
        except (OSError, ValueError, RecursionError) as error:
            return UnreadableObject(key, metadata, _reason(error))
        return _decode(key, metadata, body)


def _content(path: Path, most: int) -> bytes:
    _check_size(path.stat().st_size, most)
    return path.read_bytes()


def _metadata(text: bytes) -> dict[str, str]:
    said = json.loads(text)
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise ValueError("its metadata are no JSON object of strings")
    return said


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
