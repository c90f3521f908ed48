"""Verification of a destination: list, scan, check the rest completely, and judge.

Guarantees: each object is read once, and those with a fault a second time, with their metadata.

Design: almost all objects are intact and have the layout of the encoder. The scan proves them by SQL.
The complete check reads each line of the others, so that the report names the fault of each object.
Rows of compacted hours and of earlier runs stand for the objects that are not read now.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.cli.compact.compactor import read_state
from logferry.cli.compact.partition import MANIFEST_NAME
from logferry.cli.fetch.selection import Selection
from logferry.cli.object_reader import read_all
from logferry.cli.proof.object_scan import ObjectScan
from logferry.cli.proof.segment_table import SegmentTable
from logferry.cli.stored_objects import DestinationError
from logferry.cli.verify.completeness import report_of
from logferry.cli.verify.fallback_objects import check_fallback
from logferry.cli.verify.object_bodies import open_bodies
from logferry.cli.verify.object_check import CheckedObject, check_object
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logferry.cli.stored_objects import Destination, ReadObject, UnreadableObject
    from logferry.cli.verify.completeness import Report
    from logferry.cli.verify.object_bodies import Bodies
    from logferry.cli.verify.window import Window

CONCURRENCY = 64
"""Number of objects that are read concurrently."""
STORE_MARGIN = timedelta(minutes=1)
"""Allowance for different clocks, and for S3's times without fractions of a second."""


async def verify(
    destination: str,
    window: Window = EVERYTHING,
    *,
    function: str = "*",
    state: Path | None = None,
    fallback: str = "",
    confirm: Callable[[str], bool] | None = None,
    update: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Read every object of a destination and return the report. Raise DestinationError.

    `function` is a glob of names. `fallback` is the fallback destination, whose objects are read too. `state` is a file
    with the rows of earlier runs, which is read and replaced. `update` receives the number of objects that have been
    read, and their total.
    """
    with SegmentTable() as table, tempfile.TemporaryDirectory(prefix="logferry-verify-") as folder:
        if state is not None:
            _load(table, state)
        # Objects that were stored earlier have no records in the window.
        stored_since = window.since - STORE_MARGIN if window.since else None
        async with open_bodies(destination, confirm) as (bodies, complete):
            keys = await bodies.keys(stored_since, Selection(function))
            scan = ObjectScan(table, Path(folder))
            await _scan(bodies, keys, scan, update)
            checked = await _check(complete, scan)
            compacted = await read_state(bodies.source, bodies.listed, Selection(function))
        summary = None
        if fallback:
            summary, further = await check_fallback(
                destination,
                fallback,
                checked,
                intact={(row.environment, row.segment) for row in table.rows() if row.loss is None},
                selection=Selection(function),
                stored_since=stored_since,
                confirm=confirm,
            )
            checked += further
        for rows in compacted.segments():
            table.keep(rows)
        checked += [
            CheckedObject(f"{folder}/{MANIFEST_NAME}", None, unreadable=reason)
            for folder, reason in compacted.damaged.items()
        ]
        report = report_of(table, checked, window, all_rows=state is not None)
        report = dataclasses.replace(report, fallback=summary)
        if state is not None:
            _save(table, state)
        return report


async def _scan(bodies: Bodies, keys: Sequence[str], scan: ObjectScan, update: Callable[[int, int], None]) -> None:
    """Give the body of each object to the scan."""
    waiting, done = iter(keys), itertools.count(1)

    async def work() -> None:
        for key in waiting:
            body = await bodies.body(key)
            if body is None:
                scan.others.append(key)
            else:
                scan.take(key, body)
            update(next(done), len(keys))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENCY, len(keys))):
                group.create_task(work())
    except* DestinationError as errors:
        raise errors.exceptions[0] from None
    scan.finish()


async def _check(complete: Destination, scan: ObjectScan) -> list[CheckedObject]:
    """Check the other objects completely. A segment with a row can have a second object among them."""
    checked: list[CheckedObject] = []

    def take(stored: ReadObject | UnreadableObject) -> None:
        checked.append(check_object(stored))

    await read_all(complete, scan.others, take)
    again = [scan.withdraw(each.place.environment, each.place.segment) for each in checked if each.place]
    await read_all(complete, [key for key in again if key is not None], take)
    return checked


def _load(table: SegmentTable, state: Path) -> None:
    if not state.exists():
        return
    try:
        table.load(state)
    except ValueError as error:
        raise DestinationError(f"{error}; name another file with --state, or remove this one") from error


def _save(table: SegmentTable, state: Path) -> None:
    try:
        table.save(state)
    except OSError as error:
        raise DestinationError(f"cannot write {state}: {error}") from error
