"""Reader of stored objects, for `s3://bucket/prefix` and `file:///directory`.

Guarantees:
- The reader returns every object of the destination exactly once: lines and metadata, or a reason
  why it is unreadable. An unreadable object does not affect others. Markers such as `_SUCCESS` are
  no objects (`object_names`).
- An error of the destination (no such bucket, no permission, no such directory) raises
  `DestinationError`.
- At most `CONCURRENCY` objects are in memory at a time.

Design: a prefix consists of complete path segments: `s3://b/logs` does not cover
`logs-of-another/...`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from logferry import destination
from logferry.cli.directory_reader import Directory
from logferry.cli.stored_objects import DestinationError, check_bucket
from logferry.settings_validation import aws_mistakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from logferry.cli.stored_objects import Destination, ReadObject, UnreadableObject

CONCURRENCY = 16
"""Number of objects that are read concurrently. It hides S3's latency, at some megabytes of memory
each."""


def open_destination(url: str) -> AbstractAsyncContextManager[Destination]:
    """Return the destination of a URL, for use with `async with`. Raise DestinationError."""
    try:
        place = destination.parse_readable(url)
    except ValueError as error:
        raise DestinationError(f"{url!r} is not a valid destination: {error}") from error
    check_bucket(url, place.bucket)
    if mistakes := [*aws_mistakes(place, os.environ)]:
        raise DestinationError(f"cannot read {url}: {'; '.join(mistakes)}")
    if place.scheme == "file":
        return contextlib.nullcontext(Directory(Path(place.path)))
    from logferry.cli.bucket_reader import open_bucket  # noqa: PLC0415 - takes 0.3 s

    return open_bucket(place.bucket, place.path, connections=CONCURRENCY)


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
