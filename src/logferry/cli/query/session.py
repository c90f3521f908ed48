"""A DuckDB session with views over fetched files: logs, the views over it, objects, segments, faults.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from logferry.cli.query import views
from logferry.cli.query.listed_files import COMPACTED, file_list, load, reader_of
from logferry.cli.sql import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logferry.cli.fetch.fetch import Fetched, FetchedHour, FetchedObject

T = TypeVar("T")

MAX_LINE_BYTES = 128 << 20
"""Longest line that is read after an error, in bytes (`cli/stored_objects`)."""
_READ_ERRORS = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.SerializationException,
)


class Session:
    """A connection with views over fetched files. Use it in a `with` statement."""

    def __init__(self, fetched: Fetched) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="logferry-duckdb-")
        self._fetched = fetched
        self._checked = False
        self._line_bytes = views.DEFAULT_LINE_BYTES
        self._objects: list[FetchedObject] = fetched.objects
        self._compacted: list[FetchedHour] = fetched.compacted
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
            self._without_damaged(self._create_views)
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
        """Run a statement such as CREATE TABLE, without the objects that DuckDB cannot read. Raise duckdb.Error.

        DuckDB reads the files of a SELECT while its rows are fetched, so use `rows` for it.
        """
        return self._without_damaged(lambda: self.connection.execute(query, parameters))

    def rows(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a query, without the objects that DuckDB cannot read. Raise duckdb.Error."""
        return self._without_damaged(lambda: self.connection.execute(query, parameters).fetchall())

    def _without_damaged(self, run: Callable[[], T]) -> T:
        """Return the result of a function, which runs again without damaged objects after an error."""
        try:
            return run()
        except _READ_ERRORS:
            if self._checked:
                raise
            self._exclude_damaged()
            return run()

    def _create_views(self) -> None:
        readers = load(self.connection, self._objects, self._compacted, self.folder)
        texts = {
            "lines": self._lines(readers),
            "logs": views.logs(self._fetched.selection),
            **{name: statement(name) for name in views.VIEWS},
            "segments": views.over_lines("segments"),
            "faults": statement("faults"),
            "listed_objects": views.LISTED_OBJECTS,
            "objects": views.OBJECTS,
        }
        for name, text in texts.items():
            self.connection.execute(f"CREATE OR REPLACE VIEW {name} AS {text}")

    def _lines(self, readers: Sequence[str]) -> str:
        """Return the query of all lines. A list without files has no reader, which would fail."""
        queries = []
        for reader in readers:
            if reader == COMPACTED:
                queries.append(views.read_compacted(f"getvariable('{reader}')"))
            else:
                kind, _, compression = reader.partition("_")
                read = views.read_partitioned if kind == "partitioned" else views.read_unpartitioned
                raw = read(f"getvariable('{reader}')", compression, line_bytes=self._line_bytes)
                queries.append(views.typed(f"({raw})"))
        return " UNION ALL BY NAME ".join(queries) or views.no_lines()

    def _exclude_damaged(self) -> None:
        """Exclude the objects and Parquet files that DuckDB cannot read, and read longer lines."""
        self._checked = True
        self._line_bytes = MAX_LINE_BYTES
        damaged = self._damaged(range(len(self._objects)))
        self.unreadable += [(self._objects[number].raw.listed.key, reason) for number, reason in damaged.items()]
        self._objects = [each for number, each in enumerate(self._objects) if number not in damaged]
        intact = []
        for each in self._compacted:
            if reason := self._parquet_error(each.path):
                self.unreadable.append(
                    (each.hour.parquet.key, f"{reason}; delete its manifest, and run `logferry compact`")
                )
            else:
                intact.append(each)
        self._compacted = intact
        self._create_views()

    def _damaged(self, numbers: range) -> dict[int, str]:
        """Return the numbers of the objects that DuckDB cannot read, with the reason."""
        reason = self._read_error(numbers)
        if not reason:
            return {}
        if len(numbers) == 1:
            return {numbers[0]: reason}
        middle = len(numbers) // 2
        return self._damaged(numbers[:middle]) | self._damaged(numbers[middle:])

    def _read_error(self, numbers: range) -> str:
        """Return the first error of DuckDB in these objects, or an empty string."""
        readers = dict.fromkeys(reader_of(self._objects[number]) for number in numbers)
        for reader in readers:
            limits = f"number BETWEEN {numbers.start} AND {numbers.stop - 1} AND reader = '{reader}'"
            self.connection.execute(f"SET VARIABLE examined = ({file_list(limits)})")
            compression = reader.partition("_")[2]
            lines = views.read_unpartitioned("getvariable('examined')", compression, line_bytes=self._line_bytes)
            try:
                self.connection.execute(f"SELECT count(*), bit_xor(hash(lines)) FROM ({lines}) AS lines")  # noqa: S608 - constants
            except _READ_ERRORS as error:
                return str(error).partition("\n")[0]
        return ""

    def _parquet_error(self, path: Path) -> str:
        """Return the error of DuckDB in a Parquet file, or an empty string."""
        lines = views.read_compacted(f"[{views.quoted(path)}]")
        try:
            self.connection.execute(f"SELECT count(*), bit_xor(hash(lines)) FROM ({lines}) AS lines")  # noqa: S608 - a quoted path
        except (*_READ_ERRORS, duckdb.BinderException) as error:
            return str(error).partition("\n")[0]
        return ""
