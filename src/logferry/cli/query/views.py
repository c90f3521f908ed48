"""Texts of DuckDB's views over fetched files. Pure.

Guarantees:
- The columns are always named, so that no record changes a type.
- `logs` and `invocations` have the same columns for raw objects and for compacted hours.
- The window limits the rows of `logs` and `invocations`. `segments` and `faults` use complete
  objects, because a limit inside an object would be a fault.

Design: `lines` has all rows of the files. Function, date and hour come from the key. An object of
another key template has no function in its key, so the closing line gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.sql import COLUMNS, PARTITION_COLUMNS, statement

if TYPE_CHECKING:
    from datetime import datetime

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.sql import Engine

VIEWS = ("function_lines", "invocations", "failures", "invocation_summaries", "object_counts")
"""Views over `logs`: the names of their statements in `logferry.cli.sql`."""
TYPED_COLUMNS = {
    "level": "VARCHAR",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "duration_ms": "DOUBLE",
    "billed_ms": "BIGINT",
    "init_ms": "DOUBLE",
    "memory_mb": "INTEGER",
    "used_mb": "INTEGER",
}
"""Columns that `compacted.sql` derives from the records."""
DEFAULT_LINE_BYTES = 16 << 20
"""Longest line that DuckDB reads by default, in bytes. A buffer of each thread has this size."""

_COLUMN_LIST = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items()) + "}"


def quoted(text: object) -> str:
    """Return a text as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def read_partitioned(files: str, compression: str, *, line_bytes: int = DEFAULT_LINE_BYTES) -> str:
    """Return the query for objects with the default key.

    `files` is an SQL expression of a list, and `compression` is `gzip`, `zstd` or `uncompressed`.
    """
    return (
        f"SELECT {', '.join(COLUMNS)}, function, dt, hour, filename FROM {_read_json(files, compression, line_bytes)}, "  # noqa: S608 - constants
        "hive_partitioning = true, hive_types_autocast = false)"
    )


def read_unpartitioned(files: str, compression: str, *, line_bytes: int = DEFAULT_LINE_BYTES) -> str:
    """Return the query for objects of another key template."""
    function = (
        "max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN TRY(record ->> '$.function') END)"
        " OVER (PARTITION BY filename)"
    )
    return (
        f"SELECT {', '.join(COLUMNS)}, {function} AS function, "  # noqa: S608 - constants
        "strftime(time, '%Y-%m-%d') AS dt, strftime(time, '%H') AS hour, filename "
        f"FROM {_read_json(files, compression, line_bytes)}, hive_partitioning = false)"
    )


def read_compacted(files: str) -> str:
    """Return the query for Parquet files, with the columns of `typed`."""
    names = ["time AT TIME ZONE 'UTC' AS time", *[*COLUMNS][1:], *TYPED_COLUMNS, *PARTITION_COLUMNS]
    return (
        f"SELECT {', '.join(names)}, NULL AS filename FROM read_parquet({files}, "  # noqa: S608 - constants
        "hive_partitioning = false, union_by_name = true)"
    )


def typed(relation: str) -> str:
    """Return the query that adds the typed columns of `compacted.sql` to the lines of a relation."""
    return f"{typed_columns('duckdb')}, function, dt, hour, filename FROM {relation}"


def typed_columns(engine: Engine) -> str:
    """Return the columns of `compacted.sql` without its table. DuckDB's time has no zone, but is UTC.

    DuckDB 1.5 returns a time with a zone only if pytz is installed.
    """
    select = statement("compacted", engine).removesuffix("FROM logs").rstrip()
    return select.replace("(time AT TIME ZONE 'UTC') AS time", "time") if engine == "duckdb" else select


def logs(selection: Selection) -> str:
    """Return the query of `logs`: the lines of the selected functions in the window."""
    conditions = ["environment IS NOT NULL"]
    if selection.function != "*":
        conditions.append(f"function GLOB {quoted(selection.function)}")
    if selection.window.since:
        conditions.append(f"time >= TIMESTAMP {quoted(_instant(selection.window.since))}")
    if selection.window.until:
        conditions.append(f"time <= TIMESTAMP {quoted(_instant(selection.window.until))}")
    return f"SELECT * EXCLUDE (filename) FROM lines WHERE {' AND '.join(conditions)}"  # noqa: S608 - quoted values


def over_lines(name: str) -> str:
    """Return a statement of the proof over the complete objects instead of the rows of `logs`."""
    return f"WITH logs AS (SELECT * FROM lines) SELECT * FROM ({statement(name)})"  # noqa: S608 - a constant


def no_lines() -> str:
    """Return the query of `lines` without any file."""
    columns = COLUMNS | TYPED_COLUMNS | dict.fromkeys((*PARTITION_COLUMNS, "filename"), "VARCHAR")
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in columns.items())} WHERE false"


LISTED_OBJECTS = "SELECT key, filename, environment, segment, size, stored_at FROM listed_files WHERE key IS NOT NULL"
"""Query of `listed_objects`: the objects without their lines. Those in a Parquet file have no file."""

_OBJECT_COLUMNS = """
    listed.key, listed.size, listed.stored_at, held.function, held.environment, held.segment, held.records,
    held.first_time, held.last_time, listed.stored_at - held.first_time AS waited"""

OBJECTS = f"""
WITH held AS MATERIALIZED (
    SELECT
        filename, environment, segment, max(function) AS function,
        count(*) FILTER (type NOT IN ('logferry.segment', 'logferry.final')) AS records,
        min(time) AS first_time, max(time) AS last_time
    FROM lines WHERE environment IS NOT NULL GROUP BY filename, environment, segment
)
SELECT {_OBJECT_COLUMNS}
FROM (FROM listed_objects WHERE filename IS NOT NULL) AS listed
LEFT JOIN held ON held.filename = listed.filename
UNION ALL
SELECT {_OBJECT_COLUMNS}
FROM (FROM listed_objects WHERE filename IS NULL) AS listed
LEFT JOIN (FROM held WHERE filename IS NULL) AS held
    ON held.environment = listed.environment AND held.segment = listed.segment
"""  # noqa: S608 - constants
"""Query of `objects`: one row for each object with its times. `waited` is the time from the first record
until the object was stored. It is unknown for an object that was deleted after its compaction."""


def _instant(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")


def _read_json(files: str, compression: str, line_bytes: int) -> str:
    # DuckDB infers the compression from the name, but ends the name at a question mark.
    return (
        f"read_json({files}, format = 'newline_delimited', compression = '{compression}', filename = true, "
        f"columns = {_COLUMN_LIST}, "
        f"maximum_object_size = {line_bytes}"
    )
