"""`logferry query` and `logferry tables`: formats, saved queries, errors, and the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import sqlglot

from logferry.cli.query import athena
from logferry.cli.query.saved import ONLY_DUCKDB, SAVED, saved_query
from logferry.cli.sql import ENGINES
from logferry.cli.stored_objects import DestinationError
from support.command_line import PROGRAM, in_terminal, run, without_colours
from support.stored_logs import START, invocation, make_object, make_objects, request_id, store_in

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.cli.sql import Engine

HOUR = timedelta(hours=1)


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """Return a destination with two functions and two hours, with a failed and a cold invocation."""
    failed = invocation(50, START, ["[ERROR]\torder 17 failed"], status="error", error_type="Handled", used_mb=500)
    cold = invocation(51, START + HOUR, ["order 18 stored", "order 19 stored"], init_ms=205.1, duration_ms=900.5)
    store_in(
        tmp_path / "objects",
        [
            *make_objects(4),
            make_object([*failed, *cold], function="orders-web", environment=2, final=True),
            *make_objects(2, environment=3, start=START + HOUR),
        ],
    )
    return f"file://{tmp_path}/objects"


def test_a_table_has_headers_and_aligned_numbers_and_no_colours_in_a_pipe(stored: str) -> None:
    """The rows are on stdout, and the summary of the read on stderr."""
    done = run("query", stored, "SELECT function, count(*) AS n FROM invocations GROUP BY 1 ORDER BY 1")
    assert done.status == 0
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "function    n",
        "orders-api  6",
        "orders-web  2",
    ]
    assert re.fullmatch(r"7 objects \([\d.]+ KiB\); \d+\.\d s\n", done.stderr)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_is_not_wider_than_the_terminal(stored: str, columns: int) -> None:
    """A row that does not fit is a block with one line for each column."""
    text = in_terminal(columns, "query", stored, "--saved", "slowest")
    assert "\x1b[" in text
    assert "fetch" in text  # the progress, which a pipe does not have
    plain = without_colours(text)
    rows = plain[plain.rfind("started_at") if columns > 100 else plain.index("started_at") :].splitlines()
    assert max(map(len, rows)) <= columns
    assert len([row for row in rows if request_id(51) in row]) == 1
    assert ("duration_ms  900.5" in plain) is (columns == 80)


def test_each_format_has_all_rows(stored: str, tmp_path: Path) -> None:
    """NDJSON and CSV go to stdout, and each format to a file that is complete or absent."""
    sql = "SELECT requestId, started_at, duration_ms FROM invocations ORDER BY ALL"
    rows = [json.loads(line) for line in run("query", stored, sql, "--json").stdout.splitlines()]
    assert len(rows) == 8
    assert rows == [json.loads(line) for line in run("query", stored, sql, "--format", "json").stdout.splitlines()]
    text = run("query", stored, sql, "--format", "csv").stdout
    assert [row["requestId"] for row in csv.DictReader(io.StringIO(text))] == [row["requestId"] for row in rows]
    file = tmp_path / "result.parquet"
    assert run("query", stored, sql, "--format", "parquet", "--output", str(file)).status == 0
    assert len(duckdb.read_parquet(str(file)).fetchall()) == 8
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["result.parquet"]


def test_statements_without_a_select_are_accepted(stored: str) -> None:
    """`DESCRIBE logs` shows the columns, and earlier statements of a text can define something."""
    described = run("query", stored, "DESCRIBE logs", "--json").stdout.splitlines()
    assert {"requestId", "duration_ms", "function", "hour"} <= {json.loads(line)["column_name"] for line in described}
    text = "CREATE TEMP VIEW a AS SELECT 7 AS n; FROM a -- the last one\n;"
    assert run("query", stored, text, "--json").stdout == '{"n":7}\n'
    assert json.loads(run("query", stored, "SELECT now() AS t", "--json").stdout)["t"].count("+") == 0


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM logs", 'column "nothing" not found'),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM read_parquet('/nonexistent.parquet')", "No files found"),
        ("SET threads = 1", "returns no rows"),
        (";", "the query is empty"),
    ],
)
def test_an_invalid_query_has_status_2_and_the_message_of_duckdb(stored: str, sql: str, message: str) -> None:
    """No traceback, and the position in the text of the user."""
    done = run("query", stored, sql)
    assert (done.status, done.stdout) == (2, "")
    assert message.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert "CREATE OR REPLACE TEMP TABLE" not in done.stderr


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_query_has_rows_and_is_shown(stored: str, name: str) -> None:
    """`--show` prints a text that gives the same rows."""
    done = run("query", stored, "--saved", name, "--json")
    assert (done.status, done.stdout.count("\n") > 0) == (0, True), done.stderr
    shown = run("query", stored, "--saved", name, "--show").stdout
    assert run("query", stored, shown, "--json").stdout == done.stdout


def test_the_saved_queries_find_what_their_names_state(stored: str) -> None:
    """The slowest, the failed, the cold one, and the message that is repeated."""

    def first(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run("query", stored, "--saved", name, "--json").stdout.splitlines()[0])
        return found

    assert first("slowest")["requestId"] == request_id(51)
    assert (first("errors")["requestId"], first("errors")["error_lines"]) == (request_id(50), 1)
    assert (first("cold-starts")["cold_starts"], first("cold-starts")["percent"]) == (1, 50.0)
    assert (first("memory")["max_used_mb"], first("memory")["percent"]) == (500, 97.7)
    assert first("noise")["pattern"] == "[INFO]\tline of invocation #"
    assert first("waits")["max_seconds"] > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_saved_queries_are_valid_in_each_dialect(engine: Engine) -> None:
    """The same template is the text of each engine, except for the list of the objects."""
    for name in SAVED:
        if name in ONLY_DUCKDB and engine != "duckdb":
            with pytest.raises(ValueError, match="use DuckDB"):
                saved_query(name, engine)
        else:
            (parsed,) = sqlglot.parse(saved_query(name, engine), dialect=engine)
            assert parsed


def test_parquet_and_raw_objects_answer_all_saved_queries_alike(stored: str) -> None:
    """After a compaction of both hours, each query has the same rows."""
    before = {name: run("query", stored, "--saved", name, "--json").stdout for name in SAVED}
    assert run("compact", stored, "--run").status == 0
    done = run("query", stored, "FROM segments", "--json")
    assert "2 Parquet files" in done.stderr, done.stderr
    assert {name: run("query", stored, "--saved", name, "--json").stdout for name in SAVED} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either SQL or --saved"),
        (("SELECT 1", "--saved", "slowest"), "give either SQL or --saved"),
        (("SELECT 1", "--output", "x"), "a file needs --format csv, json or parquet"),
        (("--saved", "fastest"), "'slowest', 'errors'"),
        (("--saved", "waits", "--engine", "athena"), "use DuckDB"),
        (("--saved", "noise", "--engine", "athena"), "give its name with --function"),
    ],
)
def test_invalid_options_are_named_with_the_remedy(stored: str, arguments: tuple[str, ...], message: str) -> None:
    """The status is 2."""
    done = run("query", stored, *arguments, environment={"COLUMNS": "200"})
    assert (done.status, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize("command", ["query", "logs", "tail"])
def test_an_unreadable_destination_is_one_sentence(command: str, tmp_path: Path) -> None:
    """The status is 2, without a traceback."""
    arguments = {"query": ("SELECT 1",), "logs": ("--since", "1h"), "tail": ()}[command]
    done = run(command, f"file://{tmp_path}/none", *arguments)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == f"cannot read file://{tmp_path}/none: the directory does not exist\n"


@pytest.mark.parametrize("command", ["query", "logs", "tail", "tables"])
def test_a_missing_library_is_one_sentence_with_the_command_that_installs_it(command: str, tmp_path: Path) -> None:
    """`pip install '.[cli]'` has no DuckDB."""
    arguments = {"query": ("SELECT 1",), "logs": ("--since", "1h"), "tail": (), "tables": ()}[command]
    missing = {"tail": "rich", "tables": "typer"}.get(command, "duckdb")
    hidden = f"import sys; sys.modules[{missing!r}] = None; {PROGRAM}"
    process = [sys.executable, "-c", hidden, command, f"file://{tmp_path}", *arguments]
    done = subprocess.run(process, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (message,) = done.stderr.splitlines()
    assert f"logferry {command} needs {missing}, which is not installed: install the extra read with" in message
    assert "pip install '.[read]'" in message


def test_tables_prints_the_definitions_of_a_directory_that_duckdb_executes(stored: str) -> None:
    """The views have the rows of the session."""
    text = run("tables", stored).stdout
    connection = duckdb.connect()
    connection.execute(text)
    query = "SELECT requestId, status, duration_ms FROM invocations ORDER BY ALL"
    rows = [json.loads(line) for line in run("query", stored, query, "--json").stdout.splitlines()]
    assert [tuple(row.values()) for row in rows] == connection.execute(query).fetchall()
    assert connection.execute("FROM faults").fetchall() == []
    parts = [json.loads(line) for line in run("tables", stored, "--json").stdout.splitlines()]
    assert [part["name"] for part in parts] == [
        *("logs_raw", "logs", "function_lines", "invocations", "failures", "invocation_summaries"),
        *("object_counts", "segments", "faults"),
    ]
    assert all(part["text"] in text for part in parts)
    assert run("tables", stored, "--engine", "athena").stderr.startswith("Athena cannot read file://")


# --- Athena


class Athena:
    """A client of Athena with one query, for tests without AWS."""

    def __init__(self, *states: str) -> None:
        self._states = list(states)
        self.calls: list[str] = []

    def start_query_execution(self, **arguments: Any) -> dict[str, str]:
        """Start the query."""
        assert arguments == {
            "QueryString": "SELECT 1",
            "WorkGroup": "primary",
            "QueryExecutionContext": {"Database": "logs"},
        }
        self.calls.append("start")
        return {"QueryExecutionId": "q-1"}

    def get_query_execution(self, QueryExecutionId: str) -> dict[str, Any]:  # noqa: N803 - the name of the API
        """Return the next state. An interrupt is Ctrl-C of the user."""
        assert QueryExecutionId == "q-1"
        state = self._states.pop(0)
        if state == "interrupt":
            raise KeyboardInterrupt
        status = {"State": state, "StateChangeReason": "TABLE_NOT_FOUND: logs"}
        return {"QueryExecution": {"Status": status, "Statistics": {"DataScannedInBytes": 3_000_000}}}

    def stop_query_execution(self, QueryExecutionId: str) -> None:  # noqa: N803
        """Stop the query."""
        self.calls.append(f"stop {QueryExecutionId}")

    def get_paginator(self, name: str) -> Any:
        """Return the pages of the result."""
        assert name == "get_query_results"
        return self

    def paginate(self, QueryExecutionId: str) -> list[dict[str, Any]]:  # noqa: N803
        """Return one page with the names and one row."""
        assert QueryExecutionId == "q-1"
        cells = [["function", "n"], ["orders-api", "7"]]
        rows = [{"Data": [{"VarCharValue": cell} for cell in row]} for row in cells]
        return [{"ResultSet": {"Rows": rows}}]


def test_athena_prints_the_text_without_a_workgroup(stored: str) -> None:
    """The text is that of the engine, and no object is read."""
    done = run("query", stored, "--saved", "noise", "--engine", "athena", "--function", "orders-api", "--since", "7d")
    assert done.stdout.endswith(f"{saved_query('noise', 'athena')};\n")
    assert (done.status, done.stderr) == (0, "")
    (parsed,) = sqlglot.parse(done.stdout, dialect="athena")
    assert parsed
    compared = [each.sql() for each in parsed.find_all(sqlglot.exp.EQ) if each.this.name == "function"]
    assert compared == ["\"function\" = 'orders-api'"]
    own = "WITH a AS (SELECT 1) SELECT * FROM a"
    assert run("query", stored, own, "--engine", "athena").stdout == f"{own};\n"
    assert "one function at a time" in run("query", stored, "SELECT 1", "--engine", "athena").stderr


@pytest.mark.parametrize("name", [name for name in SAVED if name not in ONLY_DUCKDB])
def test_saved_queries_for_athena_have_the_rows_of_duckdb(stored: str, name: str) -> None:
    """The text is translated by a parser of Trino's dialect, and runs over the raw table."""
    expected = run("query", stored, "--saved", name, "--function", "orders-web", "--json").stdout
    printed = run("query", stored, "--saved", name, "--function", "orders-web", "--engine", "athena").stdout
    translated = sqlglot.transpile(printed, read="trino", write="duckdb")[0]
    # Athena's functions give NULL for what is no JSON, and replace each occurrence.
    translated = re.sub(r"record ->> '(\$[\w.]*)'", r"TRY(json_extract_string(record, '\1'))", translated)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(run("tables", stored).stdout)
    hidden = f" EXCLUDE ({_time_of(name)})" if _time_of(name) else ""
    found = connection.execute(f"SELECT *{hidden} FROM ({translated})")  # noqa: S608 - constants
    names = [column[0] for column in found.description or []]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    wanted = [json.loads(line) for line in expected.splitlines()]
    assert rows == [{key: value for key, value in row.items() if key != _time_of(name)} for row in wanted]


def _time_of(name: str) -> str:
    """Return the column with a time, which has a zone in Athena."""
    return "started_at" if name in {"slowest", "errors"} else ""


def test_athena_runs_the_text_and_prints_rows_and_price(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait ends with the query. A scan is billed with 10 MB at least."""
    monkeypatch.setattr(athena, "POLL_SECONDS", 0.0)
    client = Athena("QUEUED", "RUNNING", "SUCCEEDED")
    assert athena.run("SELECT 1", workgroup="primary", database="logs", as_json=True, client=client) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"function": "orders-api", "n": "7"}
    assert "scanned 2.9 MiB; 0.00005 USD" in err


def test_athena_errors_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of Athena, and the command that defines the tables."""
    monkeypatch.setattr(athena, "POLL_SECONDS", 0.0)
    with pytest.raises(DestinationError, match="TABLE_NOT_FOUND: logs; define the tables with `logferry tables"):
        athena.run("SELECT 1", workgroup="primary", database="logs", as_json=True, client=Athena("FAILED"))


def test_ctrl_c_stops_the_query_in_athena(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would otherwise continue, and be billed."""
    monkeypatch.setattr(athena, "POLL_SECONDS", 0.0)
    client = Athena("RUNNING", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        athena.run("SELECT 1", workgroup="primary", database="logs", as_json=True, client=client)
    assert client.calls == ["start", "stop q-1"]
