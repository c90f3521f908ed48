"""Rows of the scan in DuckDB, until all objects have been read and the rows are stored.

Guarantees:
- A segment that several objects have is never stored from the scan, because only their line numbers show
  whether one is a copy of the other.
- Counts of filtered and masked records are sums over the stored rows, limited as the faults are.

Design: DuckDB converts each Python parameter slowly, and imports pandas for the first one if it is there.
It reads a file of 10,000 rows in 10 ms. No value contains a comma or a quote.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from duckdb import DuckDBPyConnection

COLUMNS = {
    "environment": "VARCHAR",
    "segment": "BIGINT",
    "lines": "BIGINT",
    "final": "INTEGER",
    "first_time": "VARCHAR",
    "last_time": "VARCHAR",
    "filtered": "BIGINT",
    "masked": "BIGINT",
    "failed": "BIGINT",
    "object": "BIGINT",
}
"""Columns of a row. The first ones are those of `Layout`, and `object` is the number of the object."""

_NAME = re.compile(r"[0-9A-Za-z_.-]+")
"""Environment in a row."""


class ScannedSegments:
    """Rows of objects whose lines have the encoder's layout, in the connection of a `SegmentTable`."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        self._connection.execute(f"CREATE TABLE scanned_segments ({columns})")

    def add(self, rows: Sequence[str]) -> None:
        """Add rows, each as text with commas."""
        if rows:
            with _file_of(rows) as path:
                self._connection.execute(f"INSERT INTO scanned_segments SELECT * FROM {_read(path, COLUMNS)}")  # noqa: S608 - a path of this process

    def take_several(self) -> list[int]:
        """Remove the rows of segments that have several, and return the numbers of their objects."""
        return self._take("SELECT environment, segment FROM scanned_segments GROUP BY ALL HAVING count(*) > 1")

    def take(self, segments: Iterable[tuple[str, int]]) -> list[int]:
        """Remove the rows of these segments, and return the numbers of their objects."""
        names = [f"{environment},{number}" for environment, number in segments if _NAME.fullmatch(environment)]
        if not names:
            return []
        with _file_of(names) as path:
            return self._take(f"SELECT * FROM {_read(path, {'environment': 'VARCHAR', 'segment': 'BIGINT'})}")  # noqa: S608

    def store(self) -> None:
        """Store the rows as those of intact segments."""
        self._connection.execute(
            "INSERT INTO stored_segments SELECT environment, segment, NULL, lines, lines, lines, lines, final, "
            "first_time, last_time, 1 FROM scanned_segments"
        )

    def counts(self, *, limited: bool) -> tuple[int, int, int]:
        """Return the numbers of filtered, masked and failed records, of all rows or of those within the limits."""
        limits = "JOIN covered USING (environment) WHERE segment BETWEEN first_segment AND last_segment"
        sums = ", ".join(f"coalesce(sum({name}), 0)::BIGINT" for name in ("filtered", "masked", "failed"))
        query = f"SELECT {sums} FROM scanned_segments {limits if limited else ''}"  # noqa: S608 - constants
        filtered, masked, failed = self._connection.execute(query).fetchall()[0]
        return filtered, masked, failed

    def _take(self, segments: str) -> list[int]:
        query = f"DELETE FROM scanned_segments WHERE (environment, segment) IN ({segments}) RETURNING object"  # noqa: S608
        return [row[0] for row in self._connection.execute(query).fetchall()]


@contextmanager
def _file_of(rows: Sequence[str]) -> Iterator[str]:
    """Provide the path of a temporary file with rows."""
    with tempfile.NamedTemporaryFile("w", prefix="logferry-", suffix=".csv", encoding="ascii") as file:
        file.write("\n".join(rows))
        file.flush()
        yield file.name


def _read(path: str, columns: dict[str, str]) -> str:
    """Return the expression that reads a file of rows."""
    names = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    options = "auto_detect=false, header=false, delim=',', quote='', escape=''"
    return "read_csv('{}', columns={{{}}}, {})".format(path.replace("'", "''"), names, options)
