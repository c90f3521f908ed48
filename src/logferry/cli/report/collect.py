"""Collection of the report's data from a DuckDB session, with a bounded result.

Guarantees:
- Each object is read once. Every other query reads the tables that this first read makes.
- The result has a bounded size for any number of objects: each list has a limit, and totals are complete.

Design: the session has the views `logs` (the lines), `objects` (what was listed) and `faults` (the proof). DuckDB
aggregates, because Python would take a minute for a million lines.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.cli.report import lanes as lane_choice
from logferry.cli.report.lanes import Environment, Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

MAX_FAULTS = 500
"""Maximum number of listed faults, and of listed losses."""
MAX_ERRORS = 300
"""Maximum number of listed kinds of errors."""
SAMPLE_IDS = 3
"""Request IDs for each kind of error."""
MAX_LISTED = 600
"""Maximum number of failed invocations, and of slow ones."""
MAX_LISTED_EACH = 8
"""Maximum number of them for one function, if there are many functions."""
BINS = 240
"""Number of time bins of a lane that several environments share."""
ACTIVITY_BINS = 48
"""Number of time bins of a function in the list of functions."""

Row = tuple[Any, ...]


class Collected(NamedTuple):
    """Rows of the queries in `queries.sql`, under their names."""

    start: int
    """Beginning of the window, in epoch milliseconds."""
    end: int
    environments: list[Environment]
    lanes: list[Lane]
    functions: list[Mapping[str, Any]]
    """Totals of all functions, then of each one."""
    faults: list[Mapping[str, Any]]
    faults_total: int
    rows: Mapping[str, list[Row]]


def collect(session: duckdb.DuckDBPyConnection) -> Collected | None:
    """Return the data of the report, or None if there are no records."""
    session.execute(_text("tables.sql"))
    queries = _queries()
    start, end, count = session.execute(queries["window"]).fetchall()[0]
    if not count:
        return None
    environments = [Environment(*row) for row in session.execute(queries["environments"]).fetchall()]
    faults = _faults(session)
    lanes = lane_choice.choose(environments, {fault["environment"] for fault in faults})
    _store_lanes(session, lanes)
    functions = _mappings(session.execute(queries["functions"]))
    each = max(MAX_LISTED_EACH, MAX_LISTED // max(1, len(functions) - 1))
    values: Mapping[str, Mapping[str, Any]] = {
        "activity": {"start": start, "span": max(1, end - start), "bins": ACTIVITY_BINS},
        "lane_bins": {"start": start, "span": max(1, end - start), "bins": BINS},
        "errors": {"most": MAX_ERRORS, "ids": SAMPLE_IDS},
        "failed": {"most": MAX_LISTED, "each": each},
        "slowest": {"most": MAX_LISTED, "each": min(each, 20)},
        "losses": {"most": MAX_FAULTS},
    }
    done = {"window", "environments", "functions"}
    return Collected(
        start=start,
        end=end,
        environments=environments,
        lanes=lanes,
        functions=functions,
        faults=faults[:MAX_FAULTS],
        faults_total=len(faults),
        rows={
            name: session.execute(text, values.get(name)).fetchall()
            for name, text in queries.items()
            if name not in done
        },
    )


def _faults(session: duckdb.DuckDBPyConnection) -> list[Mapping[str, Any]]:
    found = session.execute("SELECT * FROM faults ORDER BY environment, first_segment, fault")
    return _mappings(found)


def _store_lanes(session: duckdb.DuckDBPyConnection, lanes: list[Lane]) -> None:
    """Store the lane of each environment as a table, for the queries of the marks."""
    places = [
        (one.environment, number, lane.is_single) for number, lane in enumerate(lanes) for one in lane.environments
    ]
    session.execute(
        "CREATE OR REPLACE TEMP TABLE report_lanes AS "
        "SELECT unnest($names::VARCHAR[]) AS environment, unnest($lanes::INT[]) AS lane, unnest($alone::BOOL[]) AS alone",
        dict(zip(("names", "lanes", "alone"), map(list, zip(*places, strict=True)), strict=True)),
    )


def _mappings(found: duckdb.DuckDBPyConnection) -> list[Mapping[str, Any]]:
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text()


def _queries() -> dict[str, str]:
    """Return each query of `queries.sql` by its name."""
    parts = re.split(r"(?m)^-- name: (\w+)\n", _text("queries.sql"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))
