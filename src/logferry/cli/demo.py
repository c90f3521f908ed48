"""`logferry demo`: a sample function, the real extension and a real S3 server on one machine.

The function runs in the emulated environment and calls an HTTP service on loopback. The S3 server
stores objects in a temporary directory. The demo lists the objects, reads the records of one
invocation with its HTTP calls and its summary, and shows the report of `logferry verify`. With
`report` it also writes the page of `logferry report`.

Design: on Lambda the exec wrapper of the layer adds the hook that observes the calls. The demo sets
the variable for the hook itself, so that it needs no layer and no C compiler.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

import logferry.emulator.samples
from logferry.cli.console import counted, progress
from logferry.cli.demo_service import local_service
from logferry.cli.emulate.own_records import own_records_of
from logferry.cli.emulate.report import show_summary, show_timeline
from logferry.cli.emulate.session import Session, play
from logferry.cli.object_reader import open_destination, read_all
from logferry.cli.stored_objects import ReadObject
from logferry.cli.verify.report import render
from logferry.cli.verify.verification import verify
from logferry.emulator.s3_server import S3Server
from logferry.layer import inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from logferry.cli.stored_objects import UnreadableObject

SAMPLES = Path(logferry.emulator.samples.__file__).parent
SAMPLE_FUNCTION = (sys.executable, "-m", "awslambdaric", "app.handler")
BUCKET = "demo-bucket"
PREFIX = "logs"
REPORT = "logferry-demo-report.html"
"""File of the page, in the working directory."""
INVOCATIONS = 6
PAUSE_SECONDS = 0.3
SHOWN_INVOCATION = -2
"""Place of the shown invocation. The last one may end with the environment, before its usage is read."""
CALLED_PATHS = ("/orders/7", "/orders/8", "/status/404")
"""Paths of the HTTP calls of each invocation."""
SHOWN_USAGE = ("cpuMs", "ownCpuMs", "rssBytes", "peakRssBytes", "descriptors", "threads")
"""Fields of the usage that are shown. The other ones are those of the machine."""
SHOWN = 14
"""Maximum number of records shown, to fit on one screen."""


async def demo(console: Console, *, report: Path | None = None) -> int:
    """Run the demo, print it, and return the exit status of the verification.

    `report` is the file of the page, if it is wanted.
    """
    console.print("Starting a real S3 server (SeaweedFS) on loopback, in a temporary directory …")
    async with S3Server(buckets=(BUCKET,)) as s3:
        with (
            tempfile.TemporaryDirectory(prefix="logferry-demo-") as folder,
            _environ({**s3.environment(s3.admin), "XDG_CACHE_HOME": f"{folder}/cache"}),
            local_service() as service,
        ):
            destination = f"s3://{BUCKET}/{PREFIX}"
            session = Session(
                function=SAMPLE_FUNCTION,
                events=_events(service),
                environment={
                    "LOGFERRY_DESTINATION": destination,
                    "LOGFERRY_CALLS": "each",
                    "LOGFERRY_USAGE": "true",
                    "LOGFERRY_USAGE_COMPLETE_SECONDS": "0",
                    "PYTHONPATH": str(inputs.find(f"{inputs.HOOKS}/python")),
                    **s3.environment(s3.shipper),
                },
                working_directory=SAMPLES,
                interval_seconds=PAUSE_SECONDS,
                function_name="sample",
            )
            console.print(f"Invoking a Python function {INVOCATIONS} times, frozen between invocations …\n")
            with progress(console, "invocations") as update:
                outcome = await play(session, tmp=Path(folder), update=update)
            objects = await _read(destination)
            show_timeline(console, outcome.timeline)
            show_summary(console, outcome, objects=len(objects), own_records=own_records_of(objects))
            _list_objects(console, objects)
            _show_invocation(console, objects, outcome.invocations[SHOWN_INVOCATION].request_id)
            verified = await verify(destination)
            for part in render(verified):
                console.print(part, soft_wrap=isinstance(part, Text))  # a sentence is one line
            if report:
                # The thread has no event loop. The fetch starts its own one.
                await asyncio.to_thread(_write_report, console, destination, report)
            return verified.status


def _write_report(console: Console, destination: str, file: Path) -> None:
    """Write the page of `logferry report` and print its path."""
    from logferry.cli.fetch.selection import Selection  # noqa: PLC0415 - DuckDB takes 0.2 s to import
    from logferry.cli.report.command import ReportRequest, write  # noqa: PLC0415

    write(ReportRequest(destination, Selection(), output=file, yes=True))
    console.print(f"Report of the demo: {file.absolute()}", soft_wrap=True, markup=False)


def _events(service: str) -> list[dict[str, object]]:
    """Return the events: each invocation writes lines and calls a service."""
    urls = [f"{service}{path}" for path in CALLED_PATHS]
    return [{"lines": 2, "marker": f"invocation {n + 1} line", "get": urls, "sleep_ms": 20} for n in range(INVOCATIONS)]


@contextmanager
def _environ(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace the caller's AWS variables with those for this bucket. All changes are undone at the end."""
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
    console.rule(f"one invocation, read from S3 ({len(own)} records)")
    for record in own[:SHOWN]:
        content = next((record[name] for name in ("message", "record", "event") if name in record), "")
        text = content if isinstance(content, str) else json.dumps(content)
        console.print(
            f"{record['time'][11:]}  {record['type']:<21}{text.rstrip()}",
            no_wrap=True,
            overflow="ellipsis",
            markup=False,
        )
    console.print()
    for record in own:
        if record["type"] == "logferry.invocation":
            _show_summary(console, json.loads(record["record"]))


def _show_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the calls by host, and the resources that the invocation used."""
    calls, usage = summary.get("calls", {}), summary.get("usage", {})
    table = Table(title="its summary (logferry.invocation)", title_justify="left", show_header=False)
    table.add_row("status", f"{summary.get('status')}, {summary.get('durationMs')} ms")
    for host in calls.get("hosts", ()):
        errors = counted(host["errors"], "error")
        table.add_row(f"calls to {host['host']}", f"{host['count']} in {host['ms']} ms, {errors}")
    for name in SHOWN_USAGE:
        if name in usage:
            table.add_row(f"usage: {name}", f"{usage[name]:,}")
    console.print(table)
    console.print()
