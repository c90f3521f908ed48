"""Collection of the report's data from a DuckDB session, with a bounded result.

Guarantees:
- Each object is read once. Every other query reads the tables that this first read makes.
- The result has a bounded size for any number of objects: each list has a limit, and totals are complete.
- The faults are those of the proof (`cli/sql`). With a beginning of the window, segments before it are no fault.

Design: DuckDB aggregates, because Python would take a minute for a million lines. The proof uses complete objects, and
everything else uses the records in the window.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.cli.fetch.selection import Selection
from logferry.cli.object_names import segment_in
from logferry.cli.report import fault_places
from logferry.cli.report import lanes as lane_choice
from logferry.cli.report.lanes import Environment, Lane
from logferry.cli.sql import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from logferry.cli.query.session import Session

EVERYTHING = Selection()

MAX_FAULTS = 500
"""Maximum number of listed faults, and of listed losses."""
MAX_ERRORS = 300
"""Maximum number of listed kinds of errors."""
SAMPLE_IDS = 3
"""Request IDs for each kind of error."""
MAX_LISTED = 600
"""Maximum number of failed invocations, and of slow ones."""
MAX_SLOWEST_EACH = 20
"""Maximum number of slow invocations of one function."""
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
    losses: list[dict[str, Any]]
    """Losses that logferry or the platform has reported."""
    unreadable: Sequence[tuple[str, str]]
    """Key and reason of each object that could not be read."""
    rows: Mapping[str, list[Row]]


def collect(session: Session, selection: Selection = EVERYTHING) -> Collected | None:
    """Return the data of the report, or None if there are no records."""
    connection = session.connection
    _limit(connection, selection)
    session.execute(_text("tables.sql"))
    queries = _queries()
    start, end, count = connection.execute(queries["window"]).fetchall()[0]
    if not count:
        return None
    environments = [Environment(*row) for row in connection.execute(queries["environments"]).fetchall()]
    faults = _faults(session, has_beginning=selection.window.since is not None)
    lanes = lane_choice.choose(environments, {fault["environment"] for fault in faults})
    _store_lanes(connection, lanes)
    losses = fault_places.losses(connection.execute(queries["losses"], {"most": MAX_FAULTS}).fetchall())
    functions = _mappings(connection.execute(queries["functions"]))
    each = max(MAX_LISTED_EACH, MAX_LISTED // max(1, len(functions) - 1))
    span = max(1, end - start)
    values: Mapping[str, Mapping[str, Any]] = {
        "activity": {"start": start, "span": span, "bins": ACTIVITY_BINS},
        "lane_bins": {"start": start, "span": span, "bins": BINS},
        "errors": {"most": MAX_ERRORS, "ids": SAMPLE_IDS},
        "failed": {"most": MAX_LISTED, "each": each},
        "slowest": {"most": MAX_LISTED, "each": min(each, MAX_SLOWEST_EACH)},
        "neighbours": {"environments": [each["environment"] for each in (*faults[:MAX_FAULTS], *losses)]},
    }
    done = {"window", "environments", "functions", "losses"}
    return Collected(
        start=start,
        end=end,
        environments=environments,
        lanes=lanes,
        functions=functions,
        faults=faults[:MAX_FAULTS],
        faults_total=len(faults),
        losses=losses,
        unreadable=session.unreadable,
        rows={
            name: connection.execute(text, values.get(name)).fetchall()
            for name, text in queries.items()
            if name not in done
        },
    )


def _limit(connection: duckdb.DuckDBPyConnection, selection: Selection) -> None:
    window = selection.window
    times = {"report_since": window.since, "report_until": window.until}
    for name, time in times.items():
        connection.execute(f"SET VARIABLE {name} = $1::TIMESTAMP", [time and time.replace(tzinfo=None)])
    connection.execute("SET VARIABLE report_function = $1", [selection.function])


def _faults(session: Session, *, has_beginning: bool) -> list[Mapping[str, Any]]:
    """Return the faults of the proof. An unreadable object is no missing segment.

    Segments before the first fetched one of an environment are older than the beginning of the window.
    """
    connection = session.connection
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE report_segments AS "  # noqa: S608 - a constant
        f"WITH logs AS (SELECT * FROM report_lines) SELECT * FROM ({statement('segments')})"
    )
    places = [place for key, _ in session.unreadable if (place := segment_in(key))]
    if places:
        connection.execute(
            "INSERT INTO report_segments (environment, segment, lines, distinct_lines, highest_line, closing_line) "
            "SELECT unnest($1::VARCHAR[]), unnest($2::BIGINT[]), 0, 0, 0, 0",
            [list(column) for column in zip(*places, strict=True)],
        )
    found = connection.execute(
        "WITH segments AS (SELECT * FROM report_segments), "  # noqa: S608 - a constant
        "lowest AS (SELECT environment, min(segment) AS segment FROM report_segments GROUP BY environment) "
        f"SELECT found.* FROM ({statement('faults')}) AS found LEFT JOIN lowest USING (environment) "
        "WHERE NOT ($1 AND found.fault = 'segments missing' AND found.last_segment < lowest.segment) "
        "ORDER BY environment, first_segment, fault",
        [has_beginning],
    )
    return _mappings(found)


def _store_lanes(connection: duckdb.DuckDBPyConnection, lanes: list[Lane]) -> None:
    """Store the lane of each environment as a table, for the queries of the marks."""
    places = [
        (one.environment, number, lane.is_single) for number, lane in enumerate(lanes) for one in lane.environments
    ]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE report_lanes AS "
        "SELECT unnest($names::VARCHAR[]) AS environment, unnest($lanes::INT[]) AS lane, "
        "unnest($alone::BOOL[]) AS alone",
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
