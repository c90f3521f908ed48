"""Figures of the reading side: proof, compaction, queries on raw and compacted objects, and fetches, with their growth.

The proof is compared, in the same run, with the complete check of each object, which was the only one before the proof
by SQL. Growth is the time per object at ten times as many objects. Figures of 100,000 objects take several minutes: set
READING_OBJECTS=100000.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.statistic import Row, Target, exactly, ratio, spread
from logferry.cli.compact.command import Options, compact
from logferry.cli.fetch.fetch import fetch
from logferry.cli.fetch.selection import Selection
from logferry.cli.object_reader import open_destination, read_all
from logferry.cli.query.session import Session
from logferry.cli.verify.completeness import judge
from logferry.cli.verify.directory_verification import verify_directory
from logferry.cli.verify.names import verify_names
from logferry.cli.verify.object_check import check_object
from logferry.emulator.s3_server import S3Server
from support import stored_prefix
from support.fault_proxy import FaultProxy
from support.s3_faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmark.run_context import RunContext
    from logferry.cli.stored_objects import ReadObject, UnreadableObject
    from logferry.cli.verify.checked_object import CheckedObject

OBJECTS = int(os.environ.get("READING_OBJECTS", "10000"))
"""Number of objects of the larger prefix; the smaller one has a tenth."""
LINES = 40
"""Number of lines in an object."""
FETCHED = 500
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
QUERIES = {
    "count by type": "SELECT type, count(*) FROM logs GROUP BY type",
    "p99 of durations": "SELECT quantile_cont(duration_ms, 0.99) FROM logs WHERE type = 'platform.report'",
    "text search": "SELECT count(*) FROM logs WHERE message LIKE '%id=4711%'",
}


def proof(run: RunContext) -> Iterator[Row]:
    """Time of `verify` for many objects, against the complete check of each, and its growth."""
    with _prefixes() as (small, large):
        samplers: dict[str, Callable[[], float]] = {
            "verify": lambda: _seconds(lambda: verify_directory(str(_root(large)))),
            "complete check": lambda: _seconds(lambda: asyncio.run(_complete_check(large))),
            "command": lambda: _seconds(lambda: _run("verify", large)),
            "verify of a tenth": lambda: _seconds(lambda: verify_directory(str(_root(small)))),
            "names": lambda: _seconds(lambda: asyncio.run(verify_names(large))),
        }
        found = run.interleaved(samplers, rounds=min(run.rounds, 3))
    yield Row(
        f"verify of {OBJECTS:,} objects, / complete check of each",
        ratio(found["verify"], found["complete check"]),
        "x",
        Target(at_most=0.2),
        f"{LINES} lines each, without the imports",
    )
    yield Row(
        f"`logferry verify` of {OBJECTS:,} objects, / complete check of each",
        ratio(found["command"], found["complete check"]),
        "x",
        Target(at_most=0.25),
        "the command with its start, the check without",
    )
    yield Row(f"verify of {OBJECTS:,} objects", spread(found["verify"]), "s", Target(at_most=5.0))
    yield _growth("verify", found["verify"], found["verify of a tenth"])
    yield Row(f"verify --keys of {OBJECTS:,} names, / verify", ratio(found["names"], found["verify"]), "x")


def compaction(run: RunContext) -> Iterator[Row]:
    """Time and size of a compaction, and the time of queries before and after it."""
    with _prefixes() as (small, large):
        raw_bytes = sum(path.stat().st_size for path in _root(large).rglob("*.gz"))
        samplers = {
            "compaction": lambda: _compacted_in(large),
            "compaction of a tenth": lambda: _compacted_in(small),
        }
        found = run.interleaved(samplers, rounds=min(run.rounds, 3), discard=False)
        files = [path.stat().st_size for path in _root(large).rglob("*.parquet")]
        second = _seconds(lambda: asyncio.run(compact(large, Options(run=True, now=NOON))))
        queries = {name: _query_seconds(run, large, query) for name, query in QUERIES.items()}
    yield Row(f"compaction of {OBJECTS:,} objects", spread(found["compaction"]), "s")
    yield _growth("compaction", found["compaction"], found["compaction of a tenth"])
    yield Row(
        "second compaction without new objects, / first",
        exactly(second / found["compaction"][-1]),
        "x",
        Target(at_most=0.2),
    )
    yield Row(
        "size of the Parquet files, / gzip",
        exactly(sum(files) / raw_bytes),
        "x",
        Target(at_most=0.8),
        f"{len(files)} files",
    )
    for name, seconds in queries.items():
        target = Target(at_most=0.5)
        yield Row(f"query {name}, compacted / raw", ratio(seconds["compacted"], seconds["raw"]), "x", target)


def fetching(run: RunContext) -> Iterator[Row]:
    """Time of a fetch over S3 with 20 ms of latency, per latency of one request, and of the second one."""
    run.progress(f"{FETCHED} objects")
    first, second, gets = asyncio.run(_fetch_seconds())
    detail = f"{first:.2f} s; one after the other they would take {FETCHED * 0.02:.0f} s"
    yield Row(
        f"fetch of {FETCHED} objects at 20 ms, / sequential",
        exactly(first / (FETCHED * 0.02)),
        "x",
        Target(at_most=0.3),
        detail,
    )
    yield Row("GETs of the second fetch", exactly(gets), "", Target(at_most=0), f"{second:.2f} s")


@contextmanager
def _prefixes() -> Iterator[tuple[str, str]]:
    """Provide the URLs of two directories, the second with ten times as many objects."""
    with tempfile.TemporaryDirectory(prefix="reading-") as folder:
        for name, count in (("small", OBJECTS // 10), ("large", OBJECTS)):
            stored_prefix.write(Path(folder, name), count, lines=LINES)
        yield f"file://{folder}/small", f"file://{folder}/large"


async def _complete_check(url: str) -> None:
    """Check each object completely and judge, as `verify` did before."""
    checked: list[CheckedObject] = []

    def take(stored: ReadObject | UnreadableObject) -> None:
        checked.append(check_object(stored))

    async with open_destination(url) as opened:
        await read_all(opened, await opened.keys(), take)
    assert judge(checked).status == 0


def _run(*arguments: str) -> None:
    """Run a command in a process."""
    program = "from logferry.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def _compacted_in(url: str) -> float:
    """Compact a prefix from the beginning and return the time in seconds."""
    shutil.rmtree(_root(url) / "compact", ignore_errors=True)
    return _seconds(lambda: asyncio.run(compact(url, Options(run=True, now=NOON))))


def _query_seconds(run: RunContext, url: str, query: str) -> Mapping[str, list[float]]:
    """Return the times of a query on raw objects and on the compacted files."""
    with (
        Session(fetch(url, Selection(), raw_only=True)) as raw,
        Session(fetch(url, Selection())) as compacted,
    ):
        assert raw.rows(query) == compacted.rows(query) or "GROUP BY" in query
        samplers = {
            "raw": lambda: _seconds(lambda: raw.rows(query)),
            "compacted": lambda: _seconds(lambda: compacted.rows(query)),
        }
        return run.interleaved(samplers, rounds=min(run.rounds, 3))


async def _fetch_seconds() -> tuple[float, float, int]:
    """Return the times of two fetches of the same objects, and the GETs of the second one."""
    with tempfile.TemporaryDirectory(prefix="reading-") as folder:
        prefix = stored_prefix.write(Path(folder, "objects"), FETCHED, metadata=False)
        async with S3Server(buckets=("logs",)) as s3, FaultProxy(s3.endpoint_url) as proxy:
            async with s3.client() as client:
                for path in prefix.paths.values():
                    key = f"logs/{path.relative_to(prefix.root)}"
                    await client.put_object(Bucket="logs", Key=key, Body=path.read_bytes())
            await proxy.set_fault(Fault.NEARBY)
            kept = dict(os.environ)
            os.environ.update(s3.environment(s3.admin))
            os.environ.update({"AWS_ENDPOINT_URL_S3": proxy.endpoint_url, "XDG_CACHE_HOME": folder})
            try:
                times = []
                for _ in range(2):
                    begun = time.perf_counter()
                    found = await asyncio.to_thread(fetch, "s3://logs/logs")
                    times.append(time.perf_counter() - begun)
                    assert len(found.objects) == len(prefix.paths)
            finally:
                os.environ.clear()
                os.environ.update(kept)
    return times[0], times[1], found.usage.gets


def _growth(name: str, large: list[float], small: list[float]) -> Row:
    """Return the row of the time per object at ten times as many objects."""
    value = ratio([each / 10 for each in large], small)
    return Row(f"{name}: time per object, {OBJECTS:,} objects / {OBJECTS // 10:,}", value, "x", Target(at_most=1.3))


def _root(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
