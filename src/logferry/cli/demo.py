"""`logferry demo`: the whole way on one machine, for somebody who has five minutes.

A sample function runs in the local Lambda with the real extension beside it, and ships to a real S3 server that lives
in a temporary folder. Then what is in S3 is listed, the records of one invocation are read back, and the proof of
completeness that `logferry verify` gives is run.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

import logferry.emulator.samples
from logferry.cli.console import progress
from logferry.cli.emulate.report import show_summary, show_timeline
from logferry.cli.emulate.session import Session, play
from logferry.cli.object_reader import ReadObject, open_destination, read_all
from logferry.cli.verify.report import render, verify
from logferry.emulator.s3_server import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from logferry.cli.object_reader import UnreadableObject

SAMPLES = Path(logferry.emulator.samples.__file__).parent
SAMPLE_FUNCTION = (sys.executable, "-m", "awslambdaric", "app.handler")
BUCKET = "demo-bucket"
PREFIX = "logs"
INVOCATIONS = 6
PAUSE_SECONDS = 0.3
SHOWN = 12
"""Records of the invocation that are shown: a screen, not a listing."""


async def demo(console: Console) -> int:
    """Run it, show it, and return the exit status of the proof."""
    console.print("Starting a real S3 server (SeaweedFS) on loopback, in a temporary folder …")
    async with S3Server(buckets=(BUCKET,)) as s3:
        with tempfile.TemporaryDirectory(prefix="logferry-demo-") as folder, _environ(s3.environment(s3.admin)):
            destination = f"s3://{BUCKET}/{PREFIX}"
            session = Session(
                function=SAMPLE_FUNCTION,
                events=[{"lines": 3, "marker": f"invocation {n + 1} line", "sleep_ms": 20} for n in range(INVOCATIONS)],
                environment={"LOGFERRY_DESTINATION": destination, **s3.environment(s3.shipper)},
                working_directory=SAMPLES,
                interval_seconds=PAUSE_SECONDS,
                function_name="sample",
            )
            console.print(f"A Python function is invoked {INVOCATIONS} times; its environment is frozen in between.\n")
            with progress(console, "invocations", INVOCATIONS) as step:
                outcome = await play(session, tmp=Path(folder), step=step)
            objects = await _read(destination)
            show_timeline(console, outcome.timeline)
            show_summary(console, outcome, objects=len(objects))
            _list_objects(console, objects)
            _show_invocation(console, objects, outcome.invocations[-1].request_id)
            report = await verify(destination)
            for part in render(report):
                console.print(part)
            return report.status


@contextmanager
def _environ(variables: Mapping[str, str]) -> Iterator[None]:
    """AWS's variables, as a person would have set them to read this bucket back; none of the caller's is mixed in."""
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


async def _read(destination: str) -> list[ReadObject]:
    found: list[ReadObject] = []

    def take(stored: ReadObject | UnreadableObject) -> None:
        if isinstance(stored, ReadObject):
            found.append(stored)

    async with open_destination(destination) as opened:
        await read_all(opened, await opened.keys(), take)
    return sorted(found, key=lambda stored: stored.key)


def _list_objects(console: Console, objects: Sequence[ReadObject]) -> None:
    table = Table(title=f"objects in s3://{BUCKET}/{PREFIX}", title_justify="left")
    for column in ("key", "records", "from", "to", "final"):
        table.add_column(column, overflow="fold")
    for stored in objects:
        meta = stored.metadata
        row = (meta["records"], meta["first-time"][11:], meta["last-time"][11:], meta.get("final", ""))
        table.add_row(stored.key, *row)
    console.print(table)


def _show_invocation(console: Console, objects: Sequence[ReadObject], request_id: str) -> None:
    records = [json.loads(line) for stored in objects for line in stored.lines]
    own = [record for record in records if record.get("requestId") == request_id]
    console.rule(f"the last invocation, read back from S3 ({len(own)} records)")
    for record in own[:SHOWN]:
        what = record["record"] if isinstance(record["record"], str) else json.dumps(record["record"])
        console.print(
            f"{record['time'][11:]}  {record['type']:<21}{what.rstrip()}",
            no_wrap=True,
            overflow="ellipsis",
            markup=False,
        )
    console.print()
