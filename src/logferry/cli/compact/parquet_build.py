"""Parquet file of a partition: load its lines, prove them, write the file, read it back and compare.

Guarantees:
- No file is written for lines with a fault: a missing, duplicated or unreadable line, or no closing line.
- The file has the rows that were loaded, with the same content, or `RefusedError` is raised.
- The same lines give the same rows in the same order.

Design: DuckDB holds the lines of one partition, and uses the disk where the memory is not sufficient.
The comparison is the number of rows, and the sum of a hash of each row. A sum finds duplicated rows,
and an exclusive or would not.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

import duckdb

from logferry.cli.proof.segment_table import SegmentRow
from logferry.cli.sql import COLUMNS, PARTITION_COLUMNS, statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


MAX_LINE_BYTES = 128 << 20
"""Longest line that is read if a shorter limit is not sufficient, in bytes."""
ROW_GROUP_ROWS = 122_880
ZSTD_LEVEL = 3

_NAMES = ", ".join(COLUMNS)
_PARTITION = ", ".join(PARTITION_COLUMNS)
_FINGERPRINT = f"count(*), coalesce(sum(hash({_NAMES}, {_PARTITION})::HUGEINT), 0)"
_LINE_FAULTS = """
    SELECT environment, first_segment, fault, amount FROM ({faults}) WHERE fault <> 'segments missing'
    UNION ALL
    SELECT NULL, NULL, 'times unreadable', count(*) FROM logs
    WHERE environment IS NOT NULL AND time IS NULL HAVING count(*) > 0
    ORDER BY ALL
"""
_READ_ERRORS = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException)


class RefusedError(Exception):
    """A partition that must not be compacted; the message names the object and the fault."""


class ParquetBuild:
    """The lines of one partition in DuckDB. Use it in a `with` statement."""

    def __init__(self, folder: Path) -> None:
        self._connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "temp_directory": str(folder),
            }
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_progress_bar = false")  # it writes to stdout
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        names = ", ".join(f"{name} VARCHAR" for name in (*PARTITION_COLUMNS, "filename"))
        self._connection.execute(f"CREATE TABLE logs ({columns}, {names})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def load_objects(self, files: Sequence[Path]) -> None:
        """Add the lines of raw objects. Raise RefusedError if DuckDB cannot read them."""
        if not files:
            return
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        listed = ", ".join(_quoted(_without_pattern(file)) for file in files)
        query = (
            f"INSERT INTO logs SELECT {_NAMES}, {_PARTITION}, filename "  # noqa: S608 - constants and quoted paths
            f"FROM read_json([{listed}], columns={{{columns}}}, "
            "format='newline_delimited', ignore_errors=true, filename=true, hive_partitioning=true, "
            "hive_types_autocast=false"
        )
        try:
            self._connection.execute(f"{query})")
        except _READ_ERRORS:
            try:
                self._connection.execute(f"{query}, maximum_object_size={MAX_LINE_BYTES})")
            except _READ_ERRORS as error:
                raise RefusedError(str(error).partition("\n")[0]) from error

    def load_file(self, file: Path, *, replacing: Sequence[Path | str] = ()) -> None:
        """Add the rows of a compacted file, without the segments of the raw objects in `replacing`."""
        names = _NAMES.replace("time", "time AT TIME ZONE 'UTC' AS time", 1)
        listed = ", ".join(_quoted(path) for path in replacing) or "NULL"
        try:
            self._connection.execute(
                f"INSERT INTO logs SELECT {names}, {_PARTITION}, NULL "  # noqa: S608 - quoted paths
                f"FROM read_parquet({_quoted(file)}, hive_partitioning=false) AS compacted "
                f"WHERE NOT EXISTS (SELECT 1 FROM logs WHERE filename IN ({listed}) "
                "AND logs.environment = compacted.environment AND logs.segment = compacted.segment)"
            )
        except duckdb.Error as error:
            raise RefusedError(f"the compacted file cannot be read: {str(error).partition(chr(10))[0]}") from error

    def prove(self) -> list[SegmentRow]:
        """Return the rows of all segments. Raise RefusedError if a line is missing, duplicated or unreadable."""
        self._connection.execute(f"CREATE OR REPLACE TABLE segments AS {statement('segments')}")
        fault = self._connection.execute(_LINE_FAULTS.format(faults=statement("faults")) + " LIMIT 1").fetchone()
        if fault:
            environment, segment, text, amount = fault
            raise RefusedError(f"{self._object_of(environment, segment)}: {text}" + (f" ({amount})" if amount else ""))
        rows = self._connection.execute(
            "SELECT environment, segment, loss, lines, distinct_lines, highest_line, closing_line, final, "
            "strftime(first_time, '%Y-%m-%dT%H:%M:%S.%gZ'), strftime(last_time, '%Y-%m-%dT%H:%M:%S.%gZ'), "
            "CASE WHEN loss IS NULL THEN 1 ELSE 0 END FROM segments ORDER BY environment, segment, loss NULLS FIRST"
        ).fetchall()
        return [SegmentRow(*row) for row in rows]

    def write(self, file: Path) -> int:
        """Write the Parquet file, read it back and compare. Return the number of rows. Raise RefusedError."""
        select = f"{statement('compacted').removesuffix('FROM logs').rstrip()}, {_PARTITION} FROM logs"
        self._connection.execute(
            f"COPY ({select} ORDER BY time, environment, segment, line) TO {_quoted(file)} "
            f"(FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL {ZSTD_LEVEL}, "
            f"ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
        )
        loaded = self._fingerprint("logs")
        names = (
            "time AT TIME ZONE 'UTC' AS time, "
            "* EXCLUDE (time) REPLACE (segment::BIGINT AS segment, line::BIGINT AS line)"
        )
        parquet = f"read_parquet({_quoted(file)}, hive_partitioning=false)"
        written = self._fingerprint(f"(SELECT {names} FROM {parquet})")  # noqa: S608 - a quoted path
        if loaded != written:
            raise RefusedError(
                f"the written file has {written[0]} rows with another content than the {loaded[0]} lines"
            )
        return loaded[0]

    def _fingerprint(self, relation: str) -> tuple[int, int]:
        row = self._connection.execute(f"SELECT {_FINGERPRINT} FROM {relation}").fetchone()  # noqa: S608
        assert row is not None  # noqa: S101 - an aggregate has one row
        return int(row[0]), int(row[1])

    def _object_of(self, environment: str | None, segment: int | None) -> str:
        """Return the files with lines of a segment, or with lines that could not be read."""
        where, values = "(environment IS NULL OR time IS NULL)", []
        if environment is not None:
            where, values = "environment = ? AND segment = ?", [environment, segment]
        query = f"SELECT DISTINCT filename FROM logs WHERE {where} AND filename IS NOT NULL ORDER BY 1 LIMIT 2"  # noqa: S608
        return (
            " and ".join(row[0] for row in self._connection.execute(query, values).fetchall()) or "the compacted file"
        )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _without_pattern(path: Path) -> str:
    """Return a path as DuckDB reads it: its pattern characters in brackets."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in str(path))
