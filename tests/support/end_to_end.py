"""The complete way of a record, for tests: a function and the real extension in the emulator, and the objects.

The comparison is the second guarantee: each record that was accepted (answered with 200) is read back once.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import logferry.emulator.samples
from logferry.cli.run import argv
from logferry.emulator.environment_config import EnvironmentConfig
from logferry.emulator.lambda_service import Lambda
from support.format_1 import read_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from logferry.emulator.s3_server import S3Server

SAMPLES = Path(logferry.emulator.samples.__file__).parent
PYTHON = (sys.executable, "-m", "awslambdaric", "app.handler")
SHIPPED = ("platform", "function")


@asynccontextmanager
async def environment(
    tmp_path: Path, settings: Mapping[str, str], *, function: Sequence[str] = PYTHON, **config: Any
) -> AsyncIterator[Lambda]:
    """Run an environment with `function` and the real extension; its /tmp is `tmp_path/tmp`.

    `launcher` replaces the command line of the extension.
    """
    tmp = tmp_path / "tmp"
    tmp.mkdir(exist_ok=True)
    given = EnvironmentConfig(
        function=function,
        extensions={"logferry": config.pop("launcher", None) or argv()},
        environment={
            "LOGFERRY_SPOOL_DIR": str(tmp / "logferry"),
            "LOGFERRY_DESTINATION": f"file://{tmp_path}/out",
            **settings,
        },
        working_directory=config.pop("working_directory", SAMPLES),
        tmp_directory=tmp,
        **{"function_name": "orders", **config},
    )
    async with Lambda(given) as service:
        yield service


def to_s3(s3: S3Server, bucket: str, **settings: str) -> dict[str, str]:
    """Return settings that ship to a bucket of the real server, with the rights that a function's role needs."""
    return {"LOGFERRY_DESTINATION": f"s3://{bucket}/logs", **s3.environment(s3.shipper), **settings}


@dataclass(frozen=True)
class Arrived:
    """One object, read back."""

    key: str
    metadata: Mapping[str, str]
    records: Sequence[dict[str, Any]]


async def arrived_in_s3(s3: S3Server, bucket: str) -> list[Arrived]:
    """Return every object of the bucket, in the order of the segments."""
    return _in_order(_arrived(o.key, o.body, o.metadata) for o in await s3.get_all(bucket))


def arrived_in(directory: Path) -> list[Arrived]:
    """Return every object of a directory, in the order of the segments."""
    found = []
    for meta in directory.rglob("*.meta.json"):
        path = meta.with_name(meta.name.removesuffix(".meta.json"))
        metadata = json.loads(meta.read_text())
        found.append(_arrived(str(path.relative_to(directory)), path.read_bytes(), metadata))
    return _in_order(found)


def _in_order(objects: Iterable[Arrived]) -> list[Arrived]:
    return sorted(
        objects, key=lambda o: (o.metadata["first-time"], o.metadata["environment"], int(o.metadata["segment"]))
    )


def _arrived(key: str, body: bytes, metadata: Mapping[str, str]) -> Arrived:
    records, _ = read_object(body, metadata)
    return Arrived(key, metadata, records)


def records_of(objects: Iterable[Arrived]) -> list[dict[str, Any]]:
    """Return all records in order."""
    return [record for one in objects for record in one.records]


def lines_of(objects: Iterable[Arrived]) -> list[str]:
    """Return the lines of the function."""
    return [str(r["record"]).rstrip("\n") for r in records_of(objects) if r["type"] == "function"]


def assert_exactly_once(service: Lambda, objects: Sequence[Arrived]) -> None:
    """Assert that each accepted record has arrived once, without gaps, and that the last object is final."""
    accepted = Counter(_identity(r) for r in service.records_delivered if r["type"].partition(".")[0] in SHIPPED)
    arrived = Counter(_identity(r) for r in records_of(objects) if r["type"].partition(".")[0] in SHIPPED)
    assert arrived - accepted == Counter(), "arrived, but was never accepted, or twice"
    assert accepted - arrived == Counter(), "accepted, but did not arrive"
    environments: dict[str, list[Arrived]] = {}
    for one in objects:
        environments.setdefault(one.metadata["environment"], []).append(one)
    for name, own in environments.items():
        own.sort(key=lambda o: int(o.metadata["segment"]))
        assert [int(o.metadata["segment"]) for o in own] == list(range(1, len(own) + 1)), name
        for one in own:
            number = int(one.metadata["segment"])
            places = [(number, i) for i in range(1, len(one.records) + 1)]
            assert [(r["segment"], r["line"]) for r in one.records] == places
            assert one.metadata["records"] == str(len(one.records))
        assert [o.metadata.get("final") for o in own] == [None] * (len(own) - 1) + ["true"], name


def _identity(record: Mapping[str, Any]) -> str:
    return json.dumps([record["time"], record["type"], record["record"]], sort_keys=True)


def own_messages(service: Lambda) -> list[str]:
    """Return the output of the extension on stdout and stderr."""
    return [line for process, line in service.console if process == "logferry"]


def shipper_pid(service: Lambda) -> int:
    """Return the process ID of the shipper, whose parent is the supervisor."""
    pids = service.extension_pids("logferry")
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
    return next(pid for pid in pids if parents[pid] in pids)
