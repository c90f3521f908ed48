"""`logferry verify --keys`: a proof of the segments from the names of the objects, without a GET.

Guarantees: a missing segment is found, and a segment with two objects. The lines of an object, reported
losses and the end of an environment are in the objects, so they are not verified here.

Design: environment and segment stand in the name, if the key template has both, as the default does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.fetch.directory import is_missing_directory
from logferry.cli.fetch.fetch import open_source
from logferry.cli.fetch.selection import ListRange, Selection
from logferry.cli.object_names import is_marker, segment_in
from logferry.cli.proof.segment_table import SegmentRow, SegmentTable
from logferry.cli.verify.checked_object import CheckedObject
from logferry.cli.verify.completeness import FallbackSummary, report_of
from logferry.cli.verify.fallback_objects import is_selected
from logferry.cli.verify.verification import STORE_MARGIN
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from logferry.cli.fetch.source import ListedObject
    from logferry.cli.verify.completeness import Report
    from logferry.cli.verify.window import Window


async def verify_names(
    destination: str,
    window: Window = EVERYTHING,
    *,
    function: str = "*",
    fallback: str = "",
    update: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Return the report for the names of a destination. Raise DestinationError.

    In a window, only objects that were stored since its begin count, and a gap before the first one is no fault.
    """
    selection = Selection(function)
    earliest = window.since - STORE_MARGIN if window.since else None
    found: dict[tuple[str, int], int] = {}
    others: list[CheckedObject] = []
    count = 0
    async for each in _raw_objects(destination, selection, earliest):
        segment = segment_in(each.name)
        if segment is None:
            others.append(CheckedObject(each.key, None, foreign=True))
        else:
            found[segment] = found.get(segment, 0) + 1
            count += 1
            update(count, count)
    summary = await _add_fallback(fallback, found, selection, earliest) if fallback else None
    with SegmentTable() as table:
        # A second object of a segment is a copy: all its lines are there twice, whatever their number is.
        table.add([SegmentRow(*segment, lines=copies - 1, objects=copies) for segment, copies in found.items()])
        report = report_of(table, others, window, names_only=True)
    return report._replace(fallback=summary)


async def _raw_objects(url: str, selection: Selection, earliest: datetime | None) -> AsyncIterator[ListedObject]:
    """Yield the objects of the selected functions that were stored since a time. Raise DestinationError."""
    async with open_source(url) as source:
        async for page in source.objects(ListRange("")):
            for each in page:
                if is_marker(each.name) or (earliest and each.stored_at < earliest):
                    continue
                if is_selected(each.name, selection):
                    yield each


async def _add_fallback(
    url: str, found: dict[tuple[str, int], int], selection: Selection, earliest: datetime | None
) -> FallbackSummary:
    """Add the segments of the fallback destination. One that the first destination has too is taken for a copy."""
    second: dict[tuple[str, int], int] = {}
    if is_missing_directory(url):
        return FallbackSummary(url.rstrip("/"))
    async for each in _raw_objects(url, selection, earliest):
        if segment := segment_in(each.name):
            second[segment] = second.get(segment, 0) + 1
    copies = second.keys() & found.keys()
    for segment, count in second.items():
        found[segment] = found[segment] + count - 1 if segment in copies else count
    return FallbackSummary(url.rstrip("/"), sum(second.values()), len(copies))
