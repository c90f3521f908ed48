"""A DuckDB session with views over fetched files: logs, function_lines, invocations, objects, segments, faults.

Guarantees:
- Compacted hours are read from Parquet and all others from raw objects, with the same columns.
- An object that DuckDB cannot read makes no query fail. It is excluded, named in `unreadable`, and
  the query runs again.
- DuckDB uses no network: extensions are neither installed nor loaded.

Design: DuckDB names only the first damaged file, and reads some damaged files without an error. The
fetch has verified the gzip data. After an error the files are divided until each damaged one is
found, with the engine itself as the judge.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from logferry.cli.object_names import segment_in
from logferry.cli.query import views
from logferry.cli.sql import statement
from logferry.cli.stored_objects import compression_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logferry.cli.fetch.fetch import Fetched, FetchedObject

MAX_LINE_BYTES = 128 << 20
"""Longest line that is read after an error, in bytes (`cli/stored_objects`)."""
_ListedRow = tuple[str, str | None, str | None, int | None, int, datetime | None]
_LISTED_COLUMNS = {
    "key": "VARCHAR",
    "filename": "VARCHAR",
    "environment": "VARCHAR",
    "segment": "BIGINT",
    "size": "BIGINT",
    "stored_at": "TIMESTAMP",
}
"""Columns of the listed objects. Environment and segment are set for objects of compacted hours."""

_READ_ERRORS = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException)


class Session:
    """A connection with views over fetched files. Use it in a `with` statement."""

    def __init__(self, fetched: Fetched) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="logferry-duckdb-")
        self._fetched = fetched
        self._checked = False
        self._line_bytes = views.DEFAULT_LINE_BYTES
        self._objects: list[FetchedObject] = fetched.objects
        self.unreadable: list[tuple[str, str]] = list(fetched.unreadable)
        """Pairs of key and reason of the objects that are not in the views."""
        self.connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "temp_directory": self._folder.name,
            }
        )
        try:
            self.connection.execute("SET TimeZone = 'UTC'")
            # The engine would print its progress on stdout, in the middle of a result.
            self.connection.execute("SET enable_progress_bar = false")
            self._create_views()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and remove its temporary files."""
        self.connection.close()
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """The folder for temporary files, which ends with the session."""
        return Path(self._folder.name)

    @property
    def objects(self) -> Sequence[FetchedObject]:
        """The raw objects in the views."""
        return self._objects

    def execute(self, query: str, parameters: Sequence[Any] | None = None) -> duckdb.DuckDBPyConnection:
        """Run a query, without the objects that DuckDB cannot read. Raise duckdb.Error.

        A later fetch of rows does not fail, because the result is complete when this method returns.
        """
        try:
            return self.connection.execute(query, parameters)
        except _READ_ERRORS:
            if self._checked or not self._exclude_damaged():
                raise
            return self.connection.execute(query, parameters)

    def rows(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.execute(query, parameters).fetchall()

    def _create_views(self) -> None:
        self._set_files()
        self.connection.execute(f"CREATE OR REPLACE VIEW lines AS {self._lines()}")
        self.connection.execute(f"CREATE OR REPLACE VIEW logs AS {views.logs(self._fetched.selection)}")
        for name in ("function_lines", "invocations"):
            self.connection.execute(f"CREATE OR REPLACE VIEW {name} AS {statement(name)}")
        self.connection.execute(f"CREATE OR REPLACE VIEW segments AS {views.over_lines('segments')}")
        self.connection.execute(f"CREATE OR REPLACE VIEW faults AS {statement('faults')}")
        self.connection.execute(f"CREATE OR REPLACE VIEW objects AS {views.OBJECTS}")

    def _set_files(self) -> None:
        """Give the engine the lists of files, and the objects with their keys."""
        for name, files in self._file_lists().items():
            self.connection.execute(f"SET VARIABLE {name} = $1", [files])
        names = ", ".join(f"{name} {kind}" for name, kind in _LISTED_COLUMNS.items())
        self.connection.execute(f"CREATE OR REPLACE TABLE listed_objects ({names})")
        rows = [*self._listed_raw(), *self._listed_compacted()]
        if rows:
            # One parameter for each column is much faster than one statement for each row.
            lists = ", ".join(f"unnest(${n}::{kind}[])" for n, kind in enumerate(_LISTED_COLUMNS.values(), 1))
            columns = [list(column) for column in zip(*rows, strict=True)]
            self.connection.execute(f"INSERT INTO listed_objects SELECT {lists}", columns)

    def _listed_raw(self) -> Iterator[_ListedRow]:
        for each in self._objects:
            listed = each.raw.listed
            yield listed.key, str(each.path), None, None, listed.size, _utc(listed.stored_at)

    def _listed_compacted(self) -> Iterator[_ListedRow]:
        """Yield the objects that a manifest names. The list has the time of those that still exist."""
        for each in self._fetched.compacted:
            stored = {one.listed.name: one.listed for one in each.hour.raw}
            for name, _etag, size in each.manifest["objects"]:
                listed = stored.get(name)
                environment, segment = segment_in(name) or (None, None)
                stored_at = _utc(listed.stored_at) if listed else None
                yield listed.key if listed else name, None, environment, segment, size, stored_at

    def _file_lists(self) -> dict[str, list[str]]:
        """Return the files by the name of their variable: raw objects by key and compression, and Parquet files."""
        lists: dict[str, list[str]] = {"compacted": [str(each.path) for each in self._fetched.compacted]}
        for each in self._objects:
            kind = "partitioned" if each.raw.place else "unpartitioned"
            lists.setdefault(f"{kind}_{_compression(each)}", []).append(str(each.path))
        return lists

    def _lines(self) -> str:
        """Return the query of all lines. A list without files has no reader, which would fail."""
        queries = []
        for name, files in self._file_lists().items():
            kind, _, compression = name.partition("_")
            read = views.read_partitioned if kind == "partitioned" else views.read_unpartitioned
            if name == "compacted":
                queries += [views.read_compacted("getvariable('compacted')")] if files else []
            else:
                raw = read(f"getvariable('{name}')", compression, line_bytes=self._line_bytes)
                queries.append(views.typed(f"({raw})"))
        return " UNION ALL BY NAME ".join(queries) or views.no_lines()

    def _exclude_damaged(self) -> bool:
        """Exclude the objects that DuckDB cannot read, and return whether there are any."""
        self._checked = True
        self._line_bytes = MAX_LINE_BYTES
        damaged = self._damaged(self._objects)
        self.unreadable += [(each.raw.listed.key, reason) for each, reason in damaged]
        keys = {each.raw.listed.key for each, _ in damaged}
        self._objects = [each for each in self._objects if each.raw.listed.key not in keys]
        self._create_views()
        return True

    def _damaged(self, objects: Sequence[FetchedObject]) -> list[tuple[FetchedObject, str]]:
        """Return the objects that DuckDB cannot read, with the reason."""
        reason = self._read_error(objects)
        if not reason:
            return []
        if len(objects) == 1:
            return [(objects[0], reason)]
        middle = len(objects) // 2
        return self._damaged(objects[:middle]) + self._damaged(objects[middle:])

    def _read_error(self, objects: Sequence[FetchedObject]) -> str:
        """Return the first error of DuckDB in these objects, or an empty string."""
        for compression in ("gzip", "zstd", "uncompressed"):
            files = [str(each.path) for each in objects if _compression(each) == compression]
            if not files:
                continue
            self.connection.execute("SET VARIABLE examined = $1", [files])
            lines = views.read_unpartitioned("getvariable('examined')", compression, line_bytes=self._line_bytes)
            try:
                self.connection.execute(f"SELECT count(*), bit_xor(hash(lines)) FROM ({lines}) AS lines")  # noqa: S608 - constants
            except _READ_ERRORS as error:
                return str(error).partition("\n")[0]
        return ""


def _compression(fetched: FetchedObject) -> str:
    found = compression_of(fetched.raw.listed.name)
    return "uncompressed" if found == "none" else found


def _utc(time: datetime) -> datetime:
    """Return a time as DuckDB's TIMESTAMP, which has no zone."""
    return time.astimezone(UTC).replace(tzinfo=None)
