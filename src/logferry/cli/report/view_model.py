"""View model of the report: the JSON that the page shows. Pure.

Guarantees:
- The model has scalars, lists and objects only. Every text of a function or of a record is shortened to `TEXT`.
- Times are milliseconds since `window.start`, so that a mark needs few bytes.
- Names that repeat are numbers: a mark refers to a function by its place in `functions`.

Design: the page computes no totals, because the lists are bounded and the totals are not. A mark is a list of values.
The field `columns` names these values once (`model_values`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.cli.report import fault_places
from logferry.cli.report.collect import ACTIVITY_BINS, BINS
from logferry.cli.report.lane_model import lane_models
from logferry.cli.report.model_values import BIN, INVOCATION, OBJECT, PHASE, TEXT, result_of, rounded, short
from logferry.cli.report.window_cost import window_cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from logferry.cli.report.collect import Collected, Row

FORMAT = 1
"""Version of the model, for readers of `--json`."""
MAX_FUNCTIONS = 1_000
"""Maximum number of listed functions. The others are in the totals, and have no number."""
MAX_UNREADABLE = 100
"""Maximum number of listed unreadable objects."""


class Subject(NamedTuple):
    """Subject of the report, as the user has given it."""

    destination: str
    function: str | None
    since_ms: int | None
    until_ms: int | None
    made_ms: int
    version: str
    read: str = ""
    """Sentence about the requests of this run and their cost."""


def view_model(subject: Subject, found: Collected) -> dict[str, Any]:
    """Return the complete model of the page."""
    start, end = found.start, max(found.end, found.start + 1)
    totals, *functions = found.functions
    faults = fault_places.placed(found.faults, found.rows["neighbours"])
    losses = fault_places.placed_losses(found.losses, found.rows["neighbours"])
    listed, other = _listed_functions(functions, {fault["function"] for fault in faults})
    numbers = {row["function"]: number for number, row in enumerate(listed)}
    return {
        "format": FORMAT,
        "subject": subject._asdict(),
        "window": {"start": start, "length": end - start},
        "totals": _totals(totals),
        "proof": _proof(found, losses),
        "functions": _functions(listed, found, faults),
        "other": _other(other, found),
        "columns": {"invocation": INVOCATION, "object": OBJECT, "phase": PHASE, "bin": BIN},
        "bins": {"lane": BINS, "activity": ACTIVITY_BINS},
        "lanes": lane_models(found, numbers, start, faults, losses),
        "failed": [_listed(row, numbers, start) for row in found.rows["failed"]],
        "slowest": [_listed(row, numbers, start) for row in found.rows["slowest"]],
        "errors": [_error(row, numbers, start) for row in found.rows["errors"]],
        "faults": [_fault(fault, numbers, start) for fault in faults],
        "unreadable": [[short(key), short(reason)] for key, reason in found.unreadable[:MAX_UNREADABLE]],
        "losses": [_loss(loss, numbers, start) for loss in losses],
        "cost": window_cost(functions, length_ms=end - start),
    }


def _totals(row: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        *("environments", "open", "invocations", "failed", "cold", "p50", "p99", "longest", "objects", "size"),
        *("records", "lines", "bytes", "wait_p50", "wait_max"),
    )
    return {name: rounded(row[name]) for name in names}


def _proof(found: Collected, losses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the result of the proof, as `logferry verify` gives it."""
    # 1. a fault, 2. an unreadable object, 3. neither
    result = "incomplete" if found.faults_total else "unreadable" if found.unreadable else "complete"
    return {
        "result": result,
        "faults": found.faults_total,
        "unreadable": len(found.unreadable),
        "lost_records": sum(loss["records"] or 0 for loss in losses),
    }


def _listed_functions(
    functions: Sequence[Mapping[str, Any]], faulty: set[str | None]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the listed functions by name, and the others. Faulty and busy ones are listed first."""
    ranked = sorted(functions, key=lambda row: (row["function"] not in faulty, -row["invocations"]))
    return sorted(ranked[:MAX_FUNCTIONS], key=lambda row: row["function"]), ranked[MAX_FUNCTIONS:]


def _functions(
    listed: Sequence[Mapping[str, Any]], found: Collected, faults: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the totals and distributions of each listed function."""
    bins = {name: _by_function(found.rows[name]) for name in ("durations", "waits", "activity")}
    faulty: dict[str | None, int] = defaultdict(int)
    for fault in faults:
        faulty[fault["function"]] += 1
    return [
        {"name": short(row["function"]), "faults": faulty[row["function"]]}
        | _totals(row)
        | {name: by_function.get(row["function"], []) for name, by_function in bins.items()}
        for row in listed
    ]


def _other(other: Sequence[Mapping[str, Any]], found: Collected) -> dict[str, Any]:
    """Return the sum of the distributions of the functions that are not listed."""
    names = {row["function"] for row in other}
    summed: dict[str, Any] = {"functions": len(names)}
    for name in ("durations", "waits"):
        bins: dict[int, list[int]] = {}
        for function, number, *counts in found.rows[name] if names else ():
            if function in names:
                before = bins.get(number, [0] * len(counts))
                bins[number] = [one + more for one, more in zip(before, counts, strict=True)]
        summed[name] = [[number, *counts] for number, counts in sorted(bins.items())]
    return summed


def _listed(row: Row, numbers: Mapping[str, int], start: int) -> list[Any]:
    """Return an invocation with the columns `INVOCATION`."""
    function, environment, request_id, at, took, responded, status, error, init, used, memory = row
    return [
        *(at - start, rounded(took), rounded(responded), result_of(status), rounded(init), used, memory),
        *(request_id[:TEXT], status[:TEXT], error[:TEXT], environment[:TEXT], numbers.get(function)),
    ]


def _error(row: Row, numbers: Mapping[str, int], start: int) -> dict[str, Any]:
    function, status, error, times, latest, ids, starts = row
    return {
        "function": numbers.get(function),
        "status": status[:TEXT],
        "error": error[:TEXT],
        "times": times,
        "latest": latest - start,
        "requests": [[request_id[:TEXT], at - start] for request_id, at in zip(ids, starts, strict=True)],
    }


def _fault(fault: Mapping[str, Any], numbers: Mapping[str, int], start: int) -> dict[str, Any]:
    times = {name: None if fault[name] is None else fault[name] - start for name in ("from", "to")}
    return dict(fault) | times | {"function": numbers.get(fault["function"]), "key": short(fault["key"])}


def _loss(loss: Mapping[str, Any], numbers: Mapping[str, int], start: int) -> dict[str, Any]:
    times = {name: loss[name] - start for name in ("at", "from", "to")}
    return dict(loss) | times | {"function": numbers.get(loss["function"])}


def _by_function(rows: Iterable[Row]) -> dict[str, list[list[Any]]]:
    grouped: dict[str, list[list[Any]]] = defaultdict(list)
    for function, *row in rows:
        grouped[function].append(row)
    return grouped
