"""Place of each fault and of each reported loss on the time line. Pure.

Guarantees: each fault of an environment with a stored object has a begin and an end within the window.

Design: missing segments lie between the newest record before them and the oldest one after them. Every other fault
lies within its own object.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Held(NamedTuple):
    """Content of an object of a faulty environment. Times are epoch milliseconds."""

    segment: int
    first: int
    last: int
    function: str
    key: str | None
    records: int


def placed(faults: Sequence[Mapping[str, Any]], rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the faults with `function`, `from` and `to` in epoch milliseconds, or None without a place."""
    held = _held(rows)
    return [_placed(fault, held.get(fault["environment"], [])) for fault in faults]


def _held(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Held]]:
    held: dict[str, list[Held]] = defaultdict(list)
    for environment, *row in rows:
        held[environment].append(Held(*row))
    return held


def _placed(fault: Mapping[str, Any], held: Sequence[Held]) -> dict[str, Any]:
    first, last = fault["first_segment"], fault["last_segment"]
    within = [one for one in held if first is not None and first <= one.segment <= last]
    start, end = _times(within) if within else _between(first, last, held)
    return {
        "kind": fault["fault"],
        "function": held[0].function if held else None,
        "environment": fault["environment"],
        "first_segment": first,
        "last_segment": last,
        "count": fault["amount"],
        "from": start,
        "to": end,
        "key": within[0].key if within else None,
    }


def _times(within: Sequence[Held]) -> tuple[int, int]:
    return min(one.first for one in within), max(one.last for one in within)


def _between(first: int | None, last: int | None, held: Sequence[Held]) -> tuple[int | None, int | None]:
    """Return the time between the objects around missing segments."""
    if not held or first is None or last is None:
        return None, None
    before = [one.last for one in held if one.segment < first]
    after = [one.first for one in held if one.segment > last]
    start = max(before) if before else min(after)
    end = min(after) if after else max(before)
    return min(start, end), max(start, end)


def losses(rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the losses that logferry or the platform has reported, which are no faults. They have no place yet."""
    found = []
    for function, environment, ms, text in rows:
        try:
            record = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        found.append(
            {
                "function": function,
                "environment": str(record.get("environment", environment)),
                "by": "platform" if "droppedRecords" in record else "logferry",
                "at": ms,
                "first_segment": _count(record.get("segment")),
                "last_segment": _count(record.get("until", record.get("segment"))),
                "records": _count(record.get("records", record.get("droppedRecords"))),
                "bytes": _count(record.get("bytes", record.get("droppedBytes"))),
                "reason": str(record.get("reason", ""))[:200],
            }
        )
    return found


def placed_losses(reported: Sequence[Mapping[str, Any]], rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the losses with `from` and `to` in epoch milliseconds.

    The time of a loss is that of its segments. Without segments in the report, it is the time of the report.
    """
    held = _held(rows)
    found = []
    for loss in reported:
        start, end = _between(loss["first_segment"], loss["last_segment"], held.get(loss["environment"], []))
        is_placed = start is not None and end is not None
        found.append(dict(loss) | {"from": start if is_placed else loss["at"], "to": end if is_placed else loss["at"]})
    return found


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None
