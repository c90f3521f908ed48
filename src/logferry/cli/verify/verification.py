"""Verification of a destination: a directory, or a bucket whose objects are read concurrently.

Guarantees: each object is read once, and those without the encoder's layout a second time, with their
metadata.

Design: almost all objects are intact and have the layout of the encoder. The scan makes their rows,
and the statements of the proof judge them. The complete check reads each line of the others, so that
the report names the fault of each object.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

from logferry import destination as destinations
from logferry.cli.compact.compactor import read_state
from logferry.cli.fetch.selection import Selection
from logferry.cli.object_reader import read_all
from logferry.cli.proof.object_scan import ObjectScan
from logferry.cli.proof.segment_table import SegmentTable
from logferry.cli.stored_objects import DestinationError
from logferry.cli.verify.directory_verification import verify_directory
from logferry.cli.verify.fallback_objects import check_fallback
from logferry.cli.verify.object_bodies import open_bodies
from logferry.cli.verify.object_check import check_object
from logferry.cli.verify.scanned_objects import (
    add_further,
    judge_scanned,
    keys_to_check,
    keys_to_check_again,
    load_state,
)
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from logferry.cli.stored_objects import Destination, ReadObject, UnreadableObject
    from logferry.cli.verify.checked_object import CheckedObject
    from logferry.cli.verify.completeness import FallbackSummary, Report
    from logferry.cli.verify.object_bodies import BucketBodies
    from logferry.cli.verify.scanned_objects import FurtherCheck
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

    `function` is a glob of names. `state` is a file with the rows of earlier runs, which is read and replaced.
    `fallback` is the fallback destination, whose objects are read too.
    `confirm` answers the question before an expensive read. `update` receives the number of objects that have been
    read, and their total.
    """
    try:
        place = destinations.parse_readable(destination)
    except ValueError as error:
        raise DestinationError(f"{destination!r} is not a valid destination: {error}") from error
    # Objects that were stored earlier have no records in the window.
    stored_since = window.since - STORE_MARGIN if window.since else None

    async def check_copies(
        checked: Sequence[CheckedObject], intact: Collection[tuple[str, int]]
    ) -> tuple[FallbackSummary, list[CheckedObject]]:
        return await check_fallback(
            destination,
            fallback,
            checked,
            intact=intact,
            selection=Selection(function),
            stored_since=stored_since,
            confirm=confirm,
        )

    further: FurtherCheck | None = (lambda *given: asyncio.run(check_copies(*given))) if fallback else None
    if place.scheme == "file":
        return await asyncio.to_thread(
            verify_directory,
            place.path,
            window,
            function=function,
            state=state,
            check_further=further,
            progress=lambda: nullcontext(update),
        )
    with SegmentTable() as table:
        load_state(table, state)
        async with open_bodies(destination, confirm) as (bodies, complete):
            keys = await bodies.keys(stored_since, Selection(function))
            scan = await _scan(bodies, keys, update)
            checked = await _check(complete, keys_to_check(table, scan, keys))
            checked += await _check(complete, keys_to_check_again(table, checked, keys))
            compacted = await read_state(bodies.source, bodies.listed, Selection(function))
        summary = await asyncio.to_thread(add_further, table, checked, further)
        return judge_scanned(table, checked, window, compacted=compacted, state=state, fallback=summary)


async def _scan(bodies: BucketBodies, keys: Sequence[str], update: Callable[[int, int], None]) -> ObjectScan:
    """Give the body of each object to a scan, and return it."""
    scan = ObjectScan()
    waiting, done = enumerate(keys), itertools.count(1)

    async def work() -> None:
        for number, key in waiting:
            scan.take(number, key, await bodies.body(key))
            update(next(done), len(keys))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENCY, len(keys))):
                group.create_task(work())
    except* DestinationError as errors:
        raise errors.exceptions[0] from None
    return scan


async def _check(complete: Destination, keys: Sequence[str]) -> list[CheckedObject]:
    """Check objects completely."""
    checked: list[CheckedObject] = []

    def take(stored: ReadObject | UnreadableObject) -> None:
        checked.append(check_object(stored))

    await read_all(complete, keys, take)
    return checked
