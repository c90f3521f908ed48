"""Result of a query as a table, CSV, NDJSON or Parquet.

Guarantees:
- The query runs once. Its result is a temporary table of DuckDB, which can be larger than memory.
- A file of the result is complete or absent: it is written under another name and renamed.
- Times in all formats are UTC.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Literal

import duckdb
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from logferry.cli.query.views import quoted

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from logferry.cli.query.session import Session

Format = Literal["table", "csv", "json", "parquet"]
MAX_TABLE_ROWS = 1000
"""Maximum number of rows of a printed table."""

MIN_TEXT_WIDTH = 12
"""Minimum width of a column of text in a table. Below it, each row is a block."""
_CREATE = "CREATE OR REPLACE TEMP TABLE result AS "
_GAP = 2
_TIMES = ("TIMESTAMP", "DATE", "TIME", "INTERVAL")
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "UBIGINT")
_COPY = {
    "csv": "(FORMAT csv, HEADER true)",
    "json": "(FORMAT json)",
    "parquet": "(FORMAT parquet, COMPRESSION zstd)",
}


class QueryError(Exception):
    """A query that DuckDB rejects; the message is its first line with the position."""


def run_query(session: Session, query: str) -> int:
    """Run the statements of a text, keep the rows of the last one in `result`, and return their number.

    Raise QueryError.
    """
    try:
        statements = session.connection.extract_statements(query)
        if not statements:
            raise QueryError("the query is empty")
        for each in statements[:-1]:
            session.execute(each.query)
        _create_result(session, statements[-1].query)
        _convert_times(session)
        ((count,),) = session.rows("SELECT count(*) FROM result")
    except duckdb.Error as error:
        raise QueryError(_without_create(str(error))) from error
    return int(count)


def write_result(session: Session, kind: Literal["csv", "json", "parquet"], output: Path | None) -> None:
    """Write the rows of `result` to a file or to stdout. Raise OSError."""
    if output is None:
        part = session.folder / f"result.{kind}"
        session.execute(f"COPY result TO {quoted(part)} {_COPY[kind]}")
        with part.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        session.execute(f"COPY result TO {quoted(part)} {_COPY[kind]}")
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def show_table(session: Session, console: Console, count: int) -> None:
    """Print the rows of `result` as a table, or each row as a block if the terminal is too narrow."""
    columns = [(name, kind.partition("(")[0]) for name, kind, *_ in session.rows("DESCRIBE result")]
    names = ", ".join(f"{quoted_name(name)}::VARCHAR" for name, _ in columns)
    rows = session.rows(f"SELECT {names} FROM result LIMIT {MAX_TABLE_ROWS}")  # noqa: S608 - quoted names
    cells = [["" if cell is None else cell.rstrip("\n") for cell in row] for row in rows]
    widths = [_width([name, *(row[n] for row in cells)]) for n, (name, _) in enumerate(columns)]
    fixed = [kind in _NUMBERS or kind in _TIMES for _, kind in columns]
    least = sum(
        _GAP + (width if is_fixed else min(width, MIN_TEXT_WIDTH))
        for width, is_fixed in zip(widths, fixed, strict=True)
    )
    if console.is_terminal and least > console.width:
        _show_blocks(console, [name for name, _ in columns], cells)
    else:
        # A pipe has no width, so that no cell is folded.
        console.width = console.width if console.is_terminal else max(console.width, sum(widths) + _GAP * len(widths))
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for (name, kind), is_fixed in zip(columns, fixed, strict=True):
            justify: Literal["left", "right"] = "right" if kind in _NUMBERS else "left"
            table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=is_fixed)
        for row in cells:
            table.add_row(*map(Text, row))
        console.print(table)
    if count > MAX_TABLE_ROWS:
        more = count - MAX_TABLE_ROWS
        console.print(f"... and {more:,} more rows: add a LIMIT, or use --format csv, json or parquet")


def _show_blocks(console: Console, names: list[str], rows: list[list[str]]) -> None:
    """Print each row as one line for each column."""
    width = max(map(len, names))
    for row in rows:
        for name, cell in zip(names, row, strict=True):
            console.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", cell), soft_wrap=True)
        console.print()


def _width(texts: list[str]) -> int:
    """Return the width of the widest line of the texts, in columns of the terminal."""
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def quoted_name(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _create_result(session: Session, query: str) -> None:
    """Store the rows of a statement. DESCRIBE and SHOW are accepted in parentheses only."""
    try:
        session.execute(f"{_CREATE}{query}")
    except duckdb.ParserException:
        try:
            session.execute(f"{_CREATE}FROM ({query.rstrip().rstrip(';')}\n)")
        except duckdb.ParserException:
            session.execute(query)  # its error names the position in the text of the user
            raise QueryError("the last statement returns no rows: end with a SELECT") from None


def _without_create(message: str) -> str:
    """Return an error message of DuckDB without the statement around the text of the user."""
    start = f"LINE 1: {_CREATE}"
    lines = message.split("\n")
    for number, line in enumerate(lines):
        if line.startswith(start):
            lines[number] = f"LINE 1: {line.removeprefix(start)}"
            lines[number + 1 :] = [following[len(_CREATE) :] for following in lines[number + 1 :]]
            break
    return "\n".join(lines)


def _convert_times(session: Session) -> None:
    """Convert times with a zone to UTC without one, so that all times look alike."""
    zoned = [name for name, kind, *_ in session.rows("DESCRIBE result") if kind == "TIMESTAMP WITH TIME ZONE"]
    for name in zoned:
        column = quoted_name(name)
        session.execute(f"ALTER TABLE result ALTER {column} TYPE TIMESTAMP USING {column} AT TIME ZONE 'UTC'")
