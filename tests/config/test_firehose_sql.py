"""The SQL for objects of Firehose: it removes repetitions, and gives the other views what they need."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from support.firehose_delivery import connected

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "config" / "tables"
(QUERY,) = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
_COLUMNS = re.compile(r"columns = \{(.*?)\}", re.DOTALL)


def lines(*places: tuple[int, int, str]) -> list[dict[str, Any]]:
    """Return lines of one environment: segment, line and type."""
    record = json.dumps({"function": "orders", "records": 1})
    return [
        {"time": "2026-11-21T02:26:24.357Z", "type": kind, "environment": "0a1b", "segment": segment, "line": line}
        | ({"record": record} if kind.startswith("logferry") else {"message": "text"})
        for segment, line, kind in places
    ]


DELIVERED = lines(
    (1, 2, "logferry.segment"),
    (1, 1, "function"),
    (1, 1, "function"),
    (2, 1, "function"),
    (2, 2, "logferry.segment"),
    (2, 2, "logferry.final"),
    (2, 1, "function"),
)
"""Two segments with one record each. The second one was sent before and after it became the final one."""


def test_query_of_the_readme_keeps_each_place_once() -> None:
    """The final closing line counts."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE delivered_lines (environment VARCHAR, segment BIGINT, line BIGINT, type VARCHAR)")
    for each in DELIVERED:
        row = [each[name] for name in ("environment", "segment", "line", "type")]
        connection.execute("INSERT INTO delivered_lines VALUES (?, ?, ?, ?)", row)
    found = connection.execute(f"SELECT segment, line, type FROM ({QUERY}) ORDER BY ALL").fetchall()  # noqa: S608
    assert found == [(1, 1, "function"), (1, 2, "logferry.segment"), (2, 1, "function"), (2, 2, "logferry.final")]


@pytest.mark.parametrize("dialect", ["duckdb", "trino", "spark", "redshift", "snowflake"])
def test_query_of_the_readme_is_valid_for_each_engine(dialect: str) -> None:
    """It has no syntax of one engine."""
    (parsed,) = sqlglot.parse(QUERY, dialect=dialect)
    assert parsed is not None
    assert len(list(parsed.find_all(sqlglot.exp.Window))) == 1


def test_view_of_a_stream_has_the_columns_of_the_other_view() -> None:
    """A new column of a line belongs to both files."""
    first, second = (_COLUMNS.search((TABLES / name).read_text()) for name in ("duckdb.sql", "duckdb-firehose.sql"))
    assert first
    assert second
    assert first[1].split() == second[1].split()


@pytest.mark.parametrize(
    ("missing", "faults"),
    [
        ((), []),
        (((1, 1, "function"),), [("lines missing", 1)]),
        (((2, 2, "logferry.segment"), (2, 2, "logferry.final")), [("no closing line", None)]),
        (((1, 1, "function"), (1, 2, "logferry.segment")), [("segments missing", 1)]),
    ],
)
def test_proof_reads_a_stream(
    tmp_path: Path, missing: tuple[tuple[int, int, str], ...], faults: list[tuple[str, int | None]]
) -> None:
    """A repetition is no fault, and a gap is one."""
    kept = [each for each in DELIVERED if (each["segment"], each["line"], each["type"]) not in missing]
    (tmp_path / "one").write_text("".join(json.dumps(each) + "\n" for each in kept))
    connection = connected(tmp_path, TABLES)
    assert connection.execute("SELECT fault, amount FROM faults").fetchall() == faults
    assert connection.execute("SELECT DISTINCT function, dt, hour FROM logs").fetchall() == [
        ("orders", "2026-11-21", "02")
    ]
