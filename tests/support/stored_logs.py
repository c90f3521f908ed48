"""Objects of an invocation's records for the tests of the reading commands, made by the extension's encoder."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from logferry.records.encoder import encode
from logferry.records.model import Header, Origin, StoredObject
from logferry.records.object_key import DEFAULT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

START = datetime(2026, 11, 21, 2, 10, tzinfo=UTC)
TYPES = frozenset({"platform", "function"})
CONCURRENT_PUTS = 32


def request_id(number: int) -> str:
    """Return the request ID of an invocation, the same in each run."""
    return str(uuid.UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC834 % (1 << 128), version=4))


def stamp(at: datetime) -> str:
    """Return a time as the platform writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def invocation(
    number: int,
    at: datetime,
    lines: Sequence[Any] = ("hello",),
    *,
    status: str = "success",
    error_type: str = "",
    duration_ms: float = 34.1,
    init_ms: float | None = None,
    used_mb: int = 73,
) -> list[dict[str, Any]]:
    """Return the events of one invocation, from its start to its report."""
    request = request_id(number)
    end = at + timedelta(milliseconds=duration_ms)
    error = {"errorType": error_type} if error_type else {}
    metrics = {
        "durationMs": duration_ms,
        "billedDurationMs": int(duration_ms) + 1,
        "memorySizeMB": 512,
        "maxMemoryUsedMB": used_mb,
        **({"initDurationMs": init_ms} if init_ms else {}),
    }
    step = timedelta(milliseconds=duration_ms) / (len(lines) + 1)
    return [
        _event(at, "platform.start", {"requestId": request, "version": "$LATEST"}),
        *(_event(at + step * (n + 1), "function", line) for n, line in enumerate(lines)),
        _event(end, "platform.runtimeDone", {"requestId": request, "status": status, **error}),
        _event(end, "platform.report", {"requestId": request, "status": status, "metrics": metrics, **error}),
    ]


def make_object(
    events: Iterable[dict[str, Any]],
    *,
    function: str = "orders-api",
    environment: int = 1,
    segment: int = 1,
    final: bool = False,
    key: str = DEFAULT_KEY,
    running: str | None = None,
) -> StoredObject:
    """Return the object of one segment with these events. `running` is the request that runs at its begin."""
    origin = Origin(
        f"{environment:016x}", function, "$LATEST", "eu-central-1", concurrent=False, account="123456789012"
    )
    header = Header(origin, segment, int(START.timestamp() * 1000), running, (running,) if running else ())
    body = json.dumps(list(events), separators=(",", ":")).encode()
    return encode(header, [body], final=final, key=key, compress=key.endswith(".gz"), types=TYPES)


def make_objects(
    count: int,
    *,
    function: str = "orders-api",
    start: datetime = START,
    step: timedelta = timedelta(seconds=1),
    **more: Any,
) -> list[StoredObject]:
    """Return objects of one environment with one invocation each; the last one is final."""
    return [
        make_object(
            invocation(n, start + n * step, [f"[INFO]\tline of invocation {n}"]),
            function=function,
            segment=n + 1,
            final=n == count - 1,
            **more,
        )
        for n in range(count)
    ]


def store_in(root: Path, objects: Iterable[StoredObject]) -> None:
    """Write objects into a directory, without their metadata."""
    for each in objects:
        path = root / each.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.body)


async def store_in_s3(s3: S3Server, bucket: str, objects: Iterable[StoredObject]) -> None:
    """Store objects in a bucket of the real server, concurrently."""
    waiting = iter(list(objects))
    async with s3.client() as client:

        async def work() -> None:
            for each in waiting:
                await client.put_object(Bucket=bucket, Key=each.key, Body=each.body, Metadata=each.metadata)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_PUTS):
                group.create_task(work())


def _event(at: datetime, kind: str, record: Any) -> dict[str, Any]:
    return {"time": stamp(at), "type": kind, "record": record}
