"""Lanes of the view model: the marks of an environment, or the counts of several ones. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from logferry.cli.report.model_values import TEXT, result_of, rounded, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.report.collect import Collected, Row
    from logferry.cli.report.lanes import Lane


def lane_models(
    found: Collected,
    numbers: Mapping[str, int],
    start: int,
    faults: Sequence[Mapping[str, Any]],
    losses: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the model of each lane. `numbers` are those of the functions, and times are relative to `start`."""
    marks = {
        name: _by_lane(found.rows[name]) for name in ("lane_invocations", "lane_objects", "lane_phases", "lane_bins")
    }
    places = {"faults": _by_environment(faults), "losses": _by_environment(losses)}
    return [
        _head(lane, numbers, start)
        | {
            name: [number for one in lane.environments for number in place.get(one.environment, ())]
            for name, place in places.items()
        }
        | (_marks(marks, number, start) if lane.is_single else {"bin_marks": marks["lane_bins"].get(number, [])})
        for number, lane in enumerate(found.lanes)
    ]


def _by_environment(places: Sequence[Mapping[str, Any]]) -> Mapping[str, list[int]]:
    """Return the numbers of the faults or losses of each environment."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, place in enumerate(places):
        numbers[place["environment"]].append(number)
    return numbers


def _head(lane: Lane, numbers: Mapping[str, int], start: int) -> dict[str, Any]:
    single = lane.environments[0]
    return {
        "function": numbers.get(lane.function),
        "environment": single.environment if lane.is_single else None,
        "environments": len(lane.environments),
        "first": min(one.first for one in lane.environments) - start,
        "last": max(one.last for one in lane.environments) - start,
        "final": all(one.final for one in lane.environments),
        "invocations": sum(one.invocations for one in lane.environments),
        "failed": sum(one.failed for one in lane.environments),
        "objects": sum(one.objects for one in lane.environments),
    }


def _marks(marks: Mapping[str, Mapping[int, list[Row]]], number: int, start: int) -> dict[str, Any]:
    return {
        "invocation_marks": [
            [
                *(at - start, rounded(took), rounded(responded), result_of(status), rounded(init), used, memory),
                *(request_id[:TEXT], status[:TEXT], error[:TEXT]),
            ]
            for at, took, responded, status, error, init, used, memory, request_id, _ in marks["lane_invocations"].get(
                number, ()
            )
        ],
        "object_marks": [
            [
                *(segment, first - start, last - start, None if stored is None else stored - start, records, size),
                *(int(final), short(key)),
            ]
            for segment, first, last, stored, records, size, final, key, _ in marks["lane_objects"].get(number, ())
        ],
        "phase_marks": [
            [kind, at - start, rounded(took), status[:TEXT]]
            for kind, at, took, status in marks["lane_phases"].get(number, ())
        ],
    }


def _by_lane(rows: Iterable[Row]) -> dict[int, list[Any]]:
    grouped: dict[int, list[Any]] = defaultdict(list)
    for lane, *row in rows:
        grouped[lane].append(row)
    return grouped
