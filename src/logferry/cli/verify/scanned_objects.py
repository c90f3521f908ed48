"""Steps of a verification after the scan, which a directory and a bucket share.

Guarantees:
- An object without the encoder's layout is checked completely, and so is each object of a segment that
  has several.
- Rows of compacted hours and of earlier runs stand for the objects that are not read now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.verify.checked_object import CheckedObject
from logferry.cli.verify.completeness import report_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from logferry.cli.compact.compactor import State
    from logferry.cli.proof.object_scan import ObjectScan
    from logferry.cli.proof.segment_table import SegmentTable
    from logferry.cli.verify.completeness import FallbackSummary, Report
    from logferry.cli.verify.window import Window

    FurtherCheck = Callable[
        [Sequence[CheckedObject], Collection[tuple[str, int]]], tuple[FallbackSummary, list[CheckedObject]]
    ]


def load_state(table: SegmentTable, state: Path | None) -> None:
    """Hold the rows of earlier runs. Raise DestinationError if the file has others."""
    if state is None or not state.exists():
        return
    try:
        table.load(state)
    except ValueError as error:
        from logferry.cli.stored_objects import DestinationError  # noqa: PLC0415 - only for this mistake

        raise DestinationError(f"{error}; name another file with --state, or remove this one") from error


def keys_to_check(table: SegmentTable, scan: ObjectScan, keys: Sequence[str]) -> list[str]:
    """Add the rows of the scan to the table, and return the keys of all other objects."""
    table.scanned.add(scan.rows)
    return [keys[number] for number in (*scan.others, *table.scanned.take_several())]


def keys_to_check_again(table: SegmentTable, checked: Iterable[CheckedObject], keys: Sequence[str]) -> list[str]:
    """Return the keys of scanned objects whose segment a checked object has too. Their rows are removed."""
    segments = [(text_of(each.place.environment), each.place.segment) for each in checked if each.place]
    return [keys[number] for number in table.scanned.take(segments)]


def add_further(
    table: SegmentTable, checked: list[CheckedObject], check: FurtherCheck | None
) -> FallbackSummary | None:
    """Store the scanned rows, and add the objects of another destination. Raise DestinationError.

    `check` receives the checked objects and the segments of all others, and returns a summary and further objects.
    Their rows replace those of the scan.
    """
    table.scanned.store()
    if check is None:
        return None
    intact = {(row.environment, row.segment) for row in table.rows() if row.loss is None}
    summary, further = check(checked, intact)
    checked += further
    table.scanned.take((text_of(each.place.environment), each.place.segment) for each in further if each.place)
    return summary


def judge_scanned(
    table: SegmentTable,
    checked: list[CheckedObject],
    window: Window,
    *,
    compacted: State | None = None,
    state: Path | None = None,
    fallback: FallbackSummary | None = None,
) -> Report:
    """Return the report for the scanned and the checked objects, and write the state. Raise DestinationError."""
    if compacted is not None:
        for rows in compacted.segments():
            table.keep(rows)
        checked = [*checked, *map(_damaged, compacted.damaged.items())]
    report = report_of(table, checked, window, all_rows=state is not None)._replace(fallback=fallback)
    if state is not None:
        try:
            table.save(state)
        except OSError as error:
            from logferry.cli.stored_objects import DestinationError  # noqa: PLC0415

            raise DestinationError(f"cannot write {state}: {error}") from error
    return report


def _damaged(manifest: tuple[str, str]) -> CheckedObject:
    from logferry.cli.compact.partition import MANIFEST_NAME  # noqa: PLC0415 - few destinations have a manifest

    folder, reason = manifest
    return CheckedObject(f"{folder}/{MANIFEST_NAME}", None, unreadable=reason)
