"""The statements of the proof find each planted fault, in DuckDB and in the translation of every dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import sqlglot

from logferry.cli.sql import ENGINES, Engine, statement
from support import stored_prefix

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = 1_000
DIALECTS = {"duckdb": "duckdb", "spark": "spark", "athena": "trino"}
STATEMENTS = ("segments", "faults", "environments", "compacted")
COLUMNS = (
    "{time: 'TIMESTAMP', type: 'VARCHAR', message: 'VARCHAR', record: 'VARCHAR', event: 'VARCHAR', "
    "requestId: 'VARCHAR', requestIdSource: 'VARCHAR', environment: 'VARCHAR', segment: 'BIGINT', line: 'BIGINT'}"
)
"""Columns of the shipped view."""


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prefix without faults."""
    root = tmp_path_factory.mktemp("intact")
    stored_prefix.write(root, OBJECTS, metadata=False)
    return root


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Any, ...]]]:
    """Return a prefix with faults of all kinds, and the rows that find them."""
    root = tmp_path_factory.mktemp("planted")
    return root, stored_prefix.plant(stored_prefix.write(root, OBJECTS, metadata=False))


def text(name: str, engine: Engine) -> str:
    """Return a statement for DuckDB: that of another engine is translated by sqlglot."""
    if engine == "duckdb":
        return statement(name)
    translated = sqlglot.transpile(statement(name, engine), read=DIALECTS[engine], write="duckdb")
    # Spark and Athena return NULL for a text that is not JSON, and DuckDB's function needs TRY.
    return translated[0]


def rows(root: Path, engine: Engine, name: str = "faults") -> list[tuple[Any, ...]]:
    """Return the rows of a statement over the objects of a prefix."""
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE VIEW logs AS SELECT * FROM read_json('{root}/**/*.gz', columns={COLUMNS}, "  # noqa: S608 - a test
            "format='newline_delimited', ignore_errors=true)"
        )
        connection.execute(f"CREATE TABLE segments AS {text('segments', engine)}")
        found = connection.execute(text(name, engine)).fetchall()
    return sorted(found, key=lambda row: (row[0] or "", row[1] or 0, str(row[3])))


@pytest.mark.parametrize("engine", ENGINES)
def test_statements_find_each_planted_fault_and_no_other(
    engine: Engine, planted: tuple[Path, list[tuple[Any, ...]]]
) -> None:
    """Segments, lines and closing lines are found, and a reported loss is no fault."""
    root, expected = planted
    assert len(expected) == 10
    assert rows(root, engine) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_statements_find_nothing_in_an_intact_prefix(engine: Engine, intact: Path) -> None:
    """No fault is reported where none is planted."""
    assert rows(intact, engine) == []


@pytest.mark.parametrize("engine", ["spark", "athena"])
@pytest.mark.parametrize("name", ["segments", "environments"])
def test_each_dialect_gives_the_rows_of_duckdb(
    name: str, engine: Engine, planted: tuple[Path, list[tuple[Any, ...]]]
) -> None:
    """One template gives the same rows in each dialect."""
    root, _ = planted
    if name == "segments":
        with duckdb.connect() as connection:
            connection.execute(
                f"CREATE VIEW logs AS SELECT * FROM read_json('{root}/**/*.gz', columns={COLUMNS})"  # noqa: S608 - a test
            )
            results = [sorted(connection.execute(text(name, each)).fetchall(), key=str) for each in (engine, "duckdb")]
        assert results[0] == results[1]
    else:
        assert rows(root, engine, name) == rows(root, "duckdb", name)


def test_an_object_that_is_cut_inside_its_gzip_stream_is_found(tmp_path: Path) -> None:
    """DuckDB reads the lines before the cut and half a line, and the closing line is missing."""
    prefix = stored_prefix.write(tmp_path, 40, metadata=False, lines=64)
    environment = min(name for name, _ in prefix.paths)
    stored_prefix.cut_gzip(prefix, environment, 3)
    found = {row[3] for row in rows(tmp_path, "duckdb")}
    assert found <= {"no closing line", "segments missing", "lines unreadable"}
    assert found & {"no closing line", "segments missing"}


def test_environments_without_a_final_object_are_open(tmp_path: Path) -> None:
    """Records after the last object of an environment cannot be known from the objects."""
    prefix = stored_prefix.write(tmp_path, 60, metadata=False)
    first = min(name for name, _ in prefix.paths)
    prefix.remove(first, stored_prefix.SEGMENTS)
    found = {row[0]: (row[1], row[2], row[5], row[6]) for row in rows(tmp_path, "duckdb", "environments")}
    assert found.pop(first) == (19, 19 * 16, 19, 1)
    assert set(found.values()) == {(20, 20 * 16, 20, 0)}
    assert rows(tmp_path, "duckdb") == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", STATEMENTS)
def test_each_dialect_parses_and_has_no_function_of_the_templates(name: str, engine: Engine) -> None:
    """The engines receive complete statements of their own dialect."""
    shown = statement(name, engine)
    assert "json_text" not in shown
    assert "instant(" not in shown
    (parsed,) = sqlglot.parse(shown, dialect=DIALECTS[engine])
    assert parsed is not None
    assert not list(parsed.find_all(sqlglot.exp.Command))


def test_a_record_of_a_function_cannot_make_a_cast_fail() -> None:
    """Only the records of the platform become typed columns, and other values are NULL."""
    odd = [
        ("function", '{"metrics":{"durationMs":"many"},"level":7}'),
        ("function", '{"half": '),
        ("platform.report", '{"metrics":{"durationMs":"many","maxMemoryUsedMB":1e99},"status":[1]}'),
        ("platform.report", '{"half": '),
    ]
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE logs (time TIMESTAMP, type VARCHAR, message VARCHAR, record VARCHAR, event VARCHAR, "
            "requestId VARCHAR, requestIdSource VARCHAR, environment VARCHAR, segment BIGINT, line BIGINT)"
        )
        for number, (kind, record) in enumerate(odd, 1):
            connection.execute(
                "INSERT INTO logs VALUES ('2026-11-29', ?, NULL, ?, NULL, NULL, NULL, 'e', 1, ?)",
                [kind, record, number],
            )
        connection.execute(
            "INSERT INTO logs VALUES ('2026-11-29', 'function', '[ERROR] x', NULL, NULL, NULL, NULL, 'e', 1, 5)"
        )
        query = f"SELECT level, status, duration_ms, used_mb FROM ({statement('compacted')}) ORDER BY line"  # noqa: S608
        found = connection.execute(query).fetchall()
    assert found == [
        ("7", None, None, None),
        (None, None, None, None),
        (None, "[1]", None, None),
        (None, None, None, None),
        ("ERROR", None, None, None),
    ]
