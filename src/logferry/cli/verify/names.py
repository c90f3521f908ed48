"""`logferry verify --keys`: a proof of the segments from the names of the objects, without a GET.

Guarantees: a missing segment is found, and a segment with two objects. The lines of an object, reported
losses and the end of an environment are in the objects, so they are not verified here.

Design: environment and segment stand in the name, if the key template has both, as the default does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.fetch.fetch import open_source
from logferry.cli.fetch.selection import COMPACT, ListRange, Selection, place_of
from logferry.cli.object_names import is_marker, segment_in
from logferry.cli.proof.segment_table import SegmentRow, SegmentTable
from logferry.cli.verify.checked_object import CheckedObject
from logferry.cli.verify.completeness import report_of
from logferry.cli.verify.verification import STORE_MARGIN
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.cli.verify.completeness import Report
    from logferry.cli.verify.window import Window


async def verify_names(
    destination: str,
    window: Window = EVERYTHING,
    *,
    function: str = "*",
    update: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Return the report for the names of a destination. Raise DestinationError.

    In a window, only objects that were stored since its begin count, and a gap before the first one is no fault.
    """
    selection = Selection(function)
    earliest = window.since - STORE_MARGIN if window.since else None
    found: dict[tuple[str, int], int] = {}
    others: list[CheckedObject] = []
    async with open_source(destination) as source:
        async for page in source.objects(ListRange("")):
            for each in page:
                if each.name.startswith(f"{COMPACT}/") or is_marker(each.name):
                    continue
                place = place_of(each.name)
                if (place and not selection.has_function(place.function)) or (earliest and each.stored_at < earliest):
                    continue
                segment = segment_in(each.name)
                if segment is None:
                    others.append(CheckedObject(each.key, None, foreign=True))
                else:
                    found[segment] = found.get(segment, 0) + 1
            update(sum(found.values()), sum(found.values()))
    with SegmentTable() as table:
        # A second object of a segment is a copy: all its lines are there twice, whatever their number is.
        table.add([SegmentRow(*segment, lines=count - 1, objects=count) for segment, count in found.items()])
        return report_of(table, others, window, names_only=True)
