"""The rows of statement 1 in DuckDB, and the statements of the proof over them.

Guarantees:
- A segment has one row without a loss, and one row for each loss that it reports.
- `replace` leaves no older row of the same segments, so that a segment can be read again.
- `save` replaces the file as a whole: after a kill the old or the new rows are there.

Design: the rows are small (one per object), so that those of all hours stay together. `window`
limits the segments of an environment that the faults are about. The statements are the files of
`logferry.cli.sql`, which also run in Spark and Athena.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import TYPE_CHECKING, NamedTuple, Self

import duckdb

from logferry.cli.proof.scanned_segments import ScannedSegments
from logferry.cli.sql import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from logferry.cli.verify.window import Window

TYPES = {
    "environment": "VARCHAR",
    "segment": "BIGINT",
    "loss": "VARCHAR",
    "lines": "BIGINT",
    "distinct_lines": "BIGINT",
    "highest_line": "BIGINT",
    "closing_line": "BIGINT",
    "final": "INTEGER",
    "first_time": "VARCHAR",
    "last_time": "VARCHAR",
    "objects": "INTEGER",
}
"""Columns of a row. `objects` is the number of objects with lines of the segment."""

_COLUMNS = ", ".join(TYPES)


class SegmentRow(NamedTuple):
    """One row. A row without lines is a segment that exists, but whose lines are unknown."""

    environment: str
    segment: int
    loss: str | None = None
    lines: int = 0
    distinct_lines: int = 0
    highest_line: int = 0
    closing_line: int = 0
    final: int = 0
    first_time: str | None = None
    last_time: str | None = None
    objects: int = 0


class Fault(NamedTuple):
    """One row of statement 2. `amount` is a number of segments or lines, or None."""

    environment: str | None
    first_segment: int | None
    last_segment: int | None
    fault: str
    amount: int | None


class EnvironmentRow(NamedTuple):
    """Totals of one execution environment, from `environments.sql`."""

    environment: str
    segments: int
    records: int
    first_time: str | None
    last_time: str | None
    highest_segment: int
    is_open: int


class SegmentTable:
    """Rows of segments in an own DuckDB connection. Close it, or use it in a `with` statement."""

    def __init__(self) -> None:
        # The rows of 10,000 objects are less work than the start of more threads.
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET enable_progress_bar = false")  # it writes to stdout
        columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
        self._connection.execute(f"CREATE TABLE stored_segments ({columns})")
        self._connection.execute(f"CREATE TABLE new_segments ({columns})")
        self._connection.execute(f"CREATE TABLE kept_segments ({columns})")
        self._connection.execute(
            "CREATE TABLE covered (environment VARCHAR, first_segment BIGINT, last_segment BIGINT)"
        )
        self._connection.execute("CREATE VIEW segments AS SELECT * FROM stored_segments")
        self._has_kept = False
        self.scanned = ScannedSegments(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def add(self, rows: Sequence[SegmentRow], *, into: str = "stored_segments") -> None:
        """Add rows."""
        if not rows:
            return
        # DuckDB converts each Python parameter slowly, and a file of rows fast.
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson", encoding="utf-8") as file:
            file.writelines(json.dumps(row._asdict()) + "\n" for row in rows)
            file.flush()
            columns = ", ".join(f"{name}: '{kind}'" for name, kind in TYPES.items())
            self._connection.execute(
                f"INSERT INTO {into} SELECT * FROM read_json({_quoted(file.name)}, columns={{{columns}}}, "  # noqa: S608
                "format='newline_delimited')"
            )

    def replace(self, rows: Sequence[SegmentRow]) -> None:
        """Add rows, after removing all older rows of their segments."""
        if not rows:
            return
        self._connection.execute("DELETE FROM new_segments")
        self.add(rows, into="new_segments")
        self._connection.execute(
            "DELETE FROM stored_segments WHERE (environment, segment) IN "
            "(SELECT (environment, segment) FROM new_segments)"
        )
        self._connection.execute("INSERT INTO stored_segments SELECT * FROM new_segments")

    def keep(self, rows: Sequence[SegmentRow]) -> None:
        """Hold rows of an earlier proof for `merge_kept`."""
        self._has_kept = True
        self.add(rows, into="kept_segments")

    def load(self, file: Path) -> None:
        """Hold the rows of a Parquet file for `merge_kept`. Raise ValueError if it has not the columns of a row."""
        self._has_kept = True
        try:
            self._connection.execute(f"INSERT INTO kept_segments SELECT {_COLUMNS} FROM read_parquet({_quoted(file)})")  # noqa: S608
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{file} has no rows of segments: {reason}") from error

    def merge_kept(self) -> int:
        """Add the rows of earlier proofs whose segments were not read now. Return the number of their segments."""
        if not self._has_kept:
            return 0
        self._connection.execute(
            "INSERT INTO stored_segments SELECT DISTINCT * REPLACE (0 AS objects) FROM kept_segments "
            "WHERE (environment, segment) NOT IN (SELECT (environment, segment) FROM stored_segments)"
        )
        kept = self._rows(
            "SELECT count(DISTINCT (environment, segment)) FROM stored_segments WHERE objects = 0 AND loss IS NULL"
        )
        return int(kept[0][0])

    def save(self, file: Path) -> None:
        """Write all rows to a Parquet file, which is replaced as a whole.

        Segments whose lines are unknown are left out, so that a later proof does not take them as proven.
        Raise OSError.
        """
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            self._connection.execute(
                f"COPY (SELECT * FROM stored_segments WHERE lines > 0 OR loss IS NOT NULL "  # noqa: S608
                f"ORDER BY environment, segment, loss NULLS FIRST) TO {_quoted(part)} "
                "(FORMAT parquet, COMPRESSION zstd)"
            )
            part.replace(file)
        except duckdb.IOException as error:
            raise OSError(str(error).splitlines()[0]) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def limit(self, window: Window) -> None:
        """Limit the statements to the segments between the first and the last one in a window."""
        self._connection.execute("DELETE FROM covered")
        self._connection.execute(
            "INSERT INTO covered SELECT environment, min(segment), max(segment) FROM stored_segments "
            "WHERE loss IS NULL AND ($1 IS NULL OR coalesce(last_time, '') = '' OR last_time >= $1) "
            "AND ($2 IS NULL OR coalesce(first_time, '') = '' OR first_time <= $2) GROUP BY environment",
            [window.since_text, window.until_text],
        )
        self._connection.execute(
            "CREATE OR REPLACE VIEW segments AS SELECT stored_segments.* FROM stored_segments LEFT JOIN covered "
            "ON stored_segments.environment = covered.environment "
            "WHERE stored_segments.loss IS NOT NULL OR segment BETWEEN first_segment AND last_segment"
        )

    def covered(self) -> dict[str, range]:
        """Return the segment numbers of each environment that `limit` has set."""
        return {name: range(first, last + 1) for name, first, last in self._rows("SELECT * FROM covered")}

    def faults(self) -> list[Fault]:
        """Run statement 2 and return its rows."""
        found = self._rows(statement("faults"))
        return sorted(
            (Fault(*row) for row in found), key=lambda fault: (fault.environment or "", fault[1] or 0, fault[3])
        )

    def environments(self) -> list[EnvironmentRow]:
        """Return the totals of each environment within the limits."""
        return [EnvironmentRow(*row) for row in self._rows(statement("environments"))]

    def final_segments(self) -> dict[str, int]:
        """Return the highest final segment of each environment, also outside the limits."""
        return dict(self._rows("SELECT environment, max(segment) FROM stored_segments WHERE final = 1 GROUP BY 1"))

    def highest_segments(self) -> dict[str, int]:
        """Return the highest stored segment of each environment, also outside the limits."""
        return dict(self._rows("SELECT environment, max(segment) FROM stored_segments WHERE loss IS NULL GROUP BY 1"))

    def objects(self) -> int:
        """Return the number of objects within the limits."""
        return int(self._rows("SELECT coalesce(sum(objects), 0) FROM segments")[0][0])

    def losses(self) -> list[str]:
        """Return the text of each reported loss."""
        return [row[0] for row in self._rows("SELECT DISTINCT loss FROM stored_segments WHERE loss IS NOT NULL")]

    def stored_between(self, environment: str, first: int, last: int) -> int:
        """Return how many segments of a range are stored, within the limits."""
        query = (
            "SELECT count(DISTINCT segment) FROM segments "
            "WHERE loss IS NULL AND environment = ? AND segment BETWEEN ? AND ?"
        )
        return int(self._connection.execute(query, [environment, first, last]).fetchall()[0][0])

    def rows(self) -> list[SegmentRow]:
        """Return all rows, by environment and segment."""
        query = "SELECT * FROM stored_segments ORDER BY environment, segment, loss NULLS FIRST"
        return [SegmentRow(*row) for row in self._rows(query)]

    def _rows(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        return self._connection.execute(query).fetchall()


def merged(tables: Iterable[Iterable[SegmentRow]]) -> SegmentTable:
    """Return one table with the rows of several hours."""
    table = SegmentTable()
    for rows in tables:
        table.add([*rows])
    return table


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"
