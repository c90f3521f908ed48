"""Verification of a directory: list, scan in several processes, check the rest completely, and judge.

Guarantees: each object is read once, and those without the encoder's layout a second time, with their
metadata.

Design: almost all objects are intact and have the layout of the encoder. The scan of them takes less
time than the imports of this command. It therefore begins first, in other processes, while this one
imports DuckDB. No event loop is needed, because files are read without waiting.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from logferry.cli.local_files import object_names
from logferry.cli.proof.directory_scan import DirectoryScan

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from logferry.cli.compact.compactor import State
    from logferry.cli.proof.object_scan import ObjectScan
    from logferry.cli.proof.segment_table import SegmentTable
    from logferry.cli.verify.checked_object import CheckedObject
    from logferry.cli.verify.completeness import Report
    from logferry.cli.verify.scanned_objects import FurtherCheck
    from logferry.cli.verify.window import Window

    Progress = Callable[[], AbstractContextManager[Callable[[int, int], None]]]

COMPACT = "compact"
"""Folder of the compacted hours (`fetch/selection`)."""
STORE_MARGIN_SECONDS = 60
"""Allowance for different clocks, and for times without fractions of a second."""


def _no_progress() -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda _done, _total: None)


def verify_directory(
    path: str,
    window: Window | None = None,
    *,
    function: str = "*",
    state: Path | None = None,
    check_further: FurtherCheck | None = None,
    progress: Progress = _no_progress,
) -> Report:
    """Read every object of a directory and return the report. Raise DestinationError.

    `function` is a glob of names. `state` is a file with the rows of earlier runs, which is read and replaced.
    `check_further` checks the objects of the fallback destination (`add_further`).
    `progress` gives a function that receives the number of read objects and their total. It is called after the start
    of the processes, because a progress bar has a thread.
    """
    root = path.rstrip("/")
    names = _names(root, window, function)
    scan = DirectoryScan(root, names)
    try:
        from logferry.cli.proof.segment_table import SegmentTable  # noqa: PLC0415 - see Design
        from logferry.cli.verify.scanned_objects import add_further, judge_scanned, load_state  # noqa: PLC0415
        from logferry.cli.verify.window import EVERYTHING  # noqa: PLC0415

        with SegmentTable() as table:
            load_state(table, state)
            with progress() as update:
                scanned = scan.finish(update)
            checked = _check(table, scanned, names, root)
            summary = add_further(table, checked, check_further)
            compacted = _compacted(root, function)
            return judge_scanned(
                table, checked, window or EVERYTHING, compacted=compacted, state=state, fallback=summary
            )
    finally:
        scan.stop()


def _names(root: str, window: Window | None, function: str) -> list[str]:
    """Return the names of the objects of the functions that can have records in the window. Raise DestinationError."""
    since = window.since.timestamp() - STORE_MARGIN_SECONDS if window and window.since else 0.0
    try:
        names = [*object_names(root, stored_since=since, without=COMPACT)]
    except OSError as error:
        from logferry.cli.directory_reader import unreadable  # noqa: PLC0415 - only for its message

        raise unreadable(root, error) from error
    if function == "*":
        return names
    from logferry.cli.fetch.selection import Selection  # noqa: PLC0415

    return [name for name in names if Selection(function).has_name(name)]


def _check(table: SegmentTable, scan: ObjectScan, names: list[str], root: str) -> list[CheckedObject]:
    """Check the objects without the encoder's layout completely, and those whose segment another one has too."""
    from logferry.cli.verify.scanned_objects import keys_to_check, keys_to_check_again  # noqa: PLC0415

    others = keys_to_check(table, scan, names)
    if not others:
        return []
    from pathlib import Path  # noqa: PLC0415

    from logferry.cli.directory_reader import Directory  # noqa: PLC0415
    from logferry.cli.verify.object_check import check_object  # noqa: PLC0415

    directory = Directory(Path(root or "/"))
    checked = [check_object(directory.read_now(key)) for key in others]
    again = keys_to_check_again(table, checked, names)
    return checked + [check_object(directory.read_now(key)) for key in again]


def _compacted(root: str, function: str) -> State | None:
    """Return the compacted hours of a directory, or None if it has none. Raise DestinationError."""
    if not os.path.isdir(f"{root}/{COMPACT}"):  # noqa: PTH112 - pathlib takes 5 ms to import
        return None
    from logferry.cli.verify.compacted_state import compacted_state  # noqa: PLC0415 - it needs an event loop

    return compacted_state(root or "/", function)
