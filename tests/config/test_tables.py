"""The table definitions in config/tables read every stored object, and Athena's DDL follows the rules of its SerDe."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import duckdb
import pytest
import sqlglot
from botocore.validate import ParamValidator
from sqlglot import exp

from logferry.cli.query.saved import ONLY_DUCKDB, SAVED, saved_query
from logferry.cli.query.tables import definitions, lifecycle, text_of
from logferry.cli.query.views import TYPED_COLUMNS, VIEWS
from logferry.cli.sql import ENGINES
from logferry.records.encoder import encode
from logferry.records.internal import dropped_batch, timed_batch
from logferry.records.model import Header, Origin
from logferry.records.object_key import DEFAULT_KEY
from support.format_1 import COLUMNS
from support.processed import batch, encoded

if TYPE_CHECKING:
    from logferry.cli.sql import Engine

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "config" / "tables"
DATA = Path(__file__).with_name("data")
TIME = "2026-11-29T06:00:00.000Z"
A = "6b1f2f5e-0d38-4c7a-9c6a-2f1f0d9b7e01"
TYPES = frozenset({"platform", "function", "extension"})
LOCATION = re.compile(r"s3a?://my-log-bucket/logs")
PARTITIONS = ["function", "dt", "hour"]

EVENTS = DATA.joinpath("every_type.jsonl").read_bytes().splitlines()
RECORDS = [
    *DATA.joinpath("odd_records.jsonl").read_bytes().splitlines(),
    json.dumps({"level": "INFO", "message": "long", "body": "x" * 262_000}).encode(),
    b'"caf\\udce9"',
    b'"cut inside an emoji \\ud83d"',
    b'"a NUL \\u0000 in the middle"',
    b"9" * 5000,
    b"1e999",
    b'{"Level":1,"level":2}',
    b'{"":1}',
    b"[" * 190 + b"]" * 190,
    b'"plain"',
]
ODD_EVENTS = [
    b'{"time":"2026-02-30T06:00:00.000Z","type":"function","record":"a day that does not exist"}',
    b'{"time":"2026-11-29T06:00:00.123456789Z","type":"function","record":"nanoseconds"}',
    b'{"time":"2026-11-29T06:00:00Z","type":"function","record":"seconds"}',
    b'{"time":"2026-11-29T06:00:00.000Z","type":"function","record":"x","Environment":"another column"}',
    b'{"time":7,"type":[],"record":"no event"}',
    b"{}",
]


VIEW_COLUMNS = ("failure", "cpu_ms", "peak_rss_bytes", "calls", "call_errors")
"""Columns of the views `failures` and `invocation_summaries` that the queries name."""
OWN_RECORDS: list[tuple[str, dict[str, object]]] = [
    ("logferry.timeout", {"requestId": A, "evidence": "platform.runtimeDone", "durationMs": 3000.0}),
    ("logferry.outOfMemory", {"requestId": A, "evidence": "memory", "maxMemoryUsedMB": 128, "memorySizeMB": 128}),
    (
        "logferry.invocation",
        {
            "requestId": A,
            "status": "timeout",
            "durationMs": 3000.0,
            "calls": {"count": 3, "errors": 1, "ms": 40.5, "slowest": 30.0, "hosts": []},
            "events": 2,
            "usage": {"cpuMs": 12.5, "ownCpuMs": 1.5, "peakRssBytes": 1000, "descriptors": 9, "threads": 4},
        },
    ),
    ("logferry.usage", {"seconds": 60.0, "processes": 3, "cpuMs": 90.0}),
]
"""Records that logferry makes itself."""


def event(record: bytes) -> bytes:
    """Return an event of the function with this JSON text as its record."""
    return b'{"time":"' + TIME.encode() + b'","type":"function","record":' + record + b"}"


def batches() -> list[bytes]:
    """Return one batch for each odd record and event, and one with ordinary lines."""
    single = [*EVENTS, *map(event, RECORDS), *ODD_EVENTS]
    lost: dict[str, object] = {"environment": "e0", "segment": 1, "until": 2, "records": 3, "bytes": 4, "reason": "x"}
    ordinary = b",".join(event(json.dumps(f"line {n}").encode()) for n in range(200))
    own = [timed_batch(kind, record, time=TIME) for kind, record in OWN_RECORDS]
    return [
        *(b"[" + each + b"]" for each in single),
        b"junk",
        dropped_batch([lost], at_ms=0),
        *own,
        b"[" + ordinary + b"]",
    ]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of objects: each batch alone, all of them together, and an object with its last line only."""
    root = tmp_path_factory.mktemp("objects")
    store(root, *([body] for body in batches()), batches(), [])
    return root


def store(root: Path, *contents: list[bytes]) -> None:
    """Store one object for each list of batches; an object without batches is the final one."""
    origin = Origin("0a1b2c3d4e5f6071", function="pay", version="7", region="eu-central-1", concurrent=False)
    numbers = itertools.count(1)
    for bodies in contents:
        header = Header(origin, next(numbers), 1_795_932_000_000, None, (A,))
        made = encode(header, bodies, final=not bodies, key=DEFAULT_KEY, compress=True, types=TYPES)
        path = root / made.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.body)


def connected(root: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with the shipped views on a folder."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(LOCATION.sub(str(root), (TABLES / "duckdb.sql").read_text()))
    return connection


def count(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """Return the first value of a query."""
    row = connection.execute(query).fetchone()
    assert row
    return row[0]


# --- DuckDB


def test_duckdb_reads_every_line_of_every_object(stored: Path) -> None:
    """No odd record makes a query fail or a line disappear."""
    objects = len(list(stored.rglob("*.gz")))
    records = len(batches()) + 199
    connection = connected(stored)
    assert objects == len(batches()) + 2
    assert count(connection, "SELECT count(*) FROM logs") == 2 * records + objects
    assert count(connection, "SELECT count(*) FROM logs WHERE type LIKE 'logferry.%' AND record IS NULL") == 0
    assert count(connection, "SELECT count(*) FROM logs WHERE time IS NULL OR environment IS NULL OR line IS NULL") == 0
    values = "(message IS NOT NULL)::INT + (record IS NOT NULL)::INT + (event IS NOT NULL)::INT"
    assert count(connection, f"SELECT count(*) FROM logs WHERE {values} <> 1") == 0  # noqa: S608 - a constant


def test_duckdb_returns_the_delivered_values(stored: Path) -> None:
    """Each JSON text comes back byte for byte, and each text as text."""
    connection = connected(stored)
    texts = {row[0] for row in connection.execute("SELECT record FROM logs WHERE record IS NOT NULL").fetchall()}
    messages = {row[0] for row in connection.execute("SELECT message FROM logs WHERE message IS NOT NULL").fetchall()}
    events = {row[0] for row in connection.execute("SELECT event FROM logs WHERE event IS NOT NULL").fetchall()}
    for record in RECORDS:
        if not record.startswith(b'"'):
            assert record.decode() in texts
        elif b"\\ud" in record:
            assert event(record).decode() in events
        else:
            assert json.loads(record) in messages
    assert {each.decode() for each in ODD_EVENTS[3:]} <= events


def test_duckdb_proves_each_object_complete_by_sql(stored: Path) -> None:
    """The closing line has the number of records plus one, so that a cut object is visible to SQL."""
    query = """
        SELECT count(*) FROM (
            SELECT environment, segment, count(DISTINCT line) AS held, max(line) AS top,
                   max(line) FILTER (type IN ('logferry.segment', 'logferry.final')) AS closing
            FROM logs GROUP BY ALL
        ) WHERE held <> top OR closing IS DISTINCT FROM top"""
    assert count(connected(stored), query) == 0


def test_duckdb_views_for_lines_and_invocations_have_rows(stored: Path) -> None:
    """The shipped views work on the records of the platform."""
    connection = connected(stored)
    report = "SELECT duration_ms, billed_ms, used_mb, status FROM invocations LIMIT 1"
    assert connection.execute(report).fetchall() == [(2599.4, 2600, 128, "failure")]
    lines = f"SELECT DISTINCT text, level FROM function_lines WHERE requestId = '{A}' AND level IS NOT NULL"  # noqa: S608
    assert ("as the runtime logs in JSON", "INFO") in connection.execute(lines).fetchall()
    assert count(connection, "SELECT DISTINCT function || dt || hour FROM logs WHERE segment = 1") == "pay2026-11-2906"


def test_duckdb_shows_the_counts_of_each_object(tmp_path: Path) -> None:
    """Filtered and masked records are in the closing line, and the view has zero for objects without them."""
    made = encoded([batch("drop", "a@b.io", "keep")], {"EXCLUDE": "drop", "MASK": "email"})
    path = tmp_path / f"{made.key.removesuffix('.ndjson.gz')}-other.ndjson.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(made.body))
    store(tmp_path, [batch("x")])
    counts = "SELECT records, filtered, masked, failed FROM object_counts ORDER BY records"
    assert connected(tmp_path).execute(counts).fetchall() == [(1, 0, 0, 0), (2, 1, 1, 0)]


def test_duckdb_views_for_failures_and_summaries_have_rows(stored: Path) -> None:
    """The shipped views read the records that logferry makes itself; a field that is off is NULL."""
    connection = connected(stored)
    failures = f"SELECT DISTINCT failure, evidence, requestId FROM failures WHERE requestId = '{A}' ORDER BY 1"  # noqa: S608
    assert connection.execute(failures).fetchall() == [
        ("outOfMemory", "memory", A),
        ("timeout", "platform.runtimeDone", A),
    ]
    summary = """
        SELECT DISTINCT status, duration_ms, calls, call_errors, call_ms, events, cpu_ms, own_cpu_ms, peak_rss_bytes,
               tmp_used_bytes, descriptors, threads FROM invocation_summaries"""
    assert connection.execute(summary).fetchall() == [("timeout", 3000.0, 3, 1, 40.5, 2, 12.5, 1.5, 1000, None, 9, 4)]


def test_duckdb_function_lines_have_a_text_for_every_record(stored: Path) -> None:
    """A JSON text that DuckDB's parser rejects makes neither the query fail nor the text disappear."""
    connection = connected(stored)
    lines = "SELECT count(*) FROM logs WHERE type = 'function'"
    query = "SELECT count(*), count(text), count(level) FROM function_lines"
    row = connection.execute(query).fetchone()
    assert row
    assert row[:2] == (count(connection, lines),) * 2
    assert 0 < row[2] < row[0]
    assert count(connection, "SELECT count(*) FROM function_lines WHERE text LIKE '%\\ud83d%'") > 0


def test_duckdb_invocations_include_a_report_that_is_not_readable(tmp_path: Path) -> None:
    """A report whose JSON text DuckDB's parser rejects is a row without values."""
    odd = b'{"time":"%s","type":"platform.report","record":{"requestId":"%s","status":"\\ud83d"}}'
    request = A.replace("6", "7").encode()
    start = event(b'{"requestId":"%s"}' % request).replace(b'"type":"function"', b'"type":"platform.start"')
    store(tmp_path, [b"[" + each + b"]" for each in (*EVENTS, start, odd % (TIME.encode(), request))])
    query = "SELECT duration_ms, billed_ms, init_ms, used_mb, status FROM invocations"
    rows = connected(tmp_path).execute(query).fetchall()
    assert (None,) * 5 in rows
    assert {row[0] for row in rows} == {None, 2599.4}


def test_jq_filter_prints_every_line_of_every_object(stored: Path) -> None:
    """The documented filter prints text as it is, and stops at no JSON text that jq rejects."""
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("the program jq is not installed")
    (program,) = re.findall(r"jq -r '(.+)'", (TABLES / "README.md").read_text())
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in stored.rglob("*.gz"))
    done = subprocess.run([jq, "--compact-output", f"[{program}]"], input=lines, capture_output=True, check=True)
    values = [each[1:-1] for each in done.stdout.decode("utf-8", "replace").removesuffix("\n").split("\n")]
    assert done.stderr == b""
    assert len(values) == lines.count(b"\n")
    assert '"plain"' in values
    assert values.count("null") == lines.count(b'"record":"null"')
    assert any("no event" in each for each in values)


def test_duckdb_infers_the_same_types_for_any_object(stored: Path) -> None:
    """Without the shipped columns, no record changes the type of a column, except for a time with nanoseconds."""
    kinds: dict[str, set[str]] = {}
    for path in [*stored.rglob("*.gz"), f"{stored}/**/*.gz"]:
        described = duckdb.execute("DESCRIBE SELECT * FROM read_json(?)", [str(path)]).fetchall()
        for name, kind, *_ in described:
            kinds.setdefault(name, set()).add(kind)
    assert kinds.keys() <= {*COLUMNS, *PARTITIONS}
    assert {name for name, found in kinds.items() if len(found - {"JSON"}) > 1} <= {"requestId", "time"}, kinds


# --- The command that prints the definitions


@pytest.mark.parametrize("engine", ENGINES)
def test_the_files_are_the_output_of_the_command(engine: Engine) -> None:
    """There is one source. `logferry tables` prints the same text for another destination."""
    command = f"logferry tables --engine {engine} s3://my-log-bucket/logs > config/tables/{engine}.sql"
    assert (TABLES / f"{engine}.sql").read_text() == text_of(definitions(engine, "s3://my-log-bucket/logs")), command


def test_the_lifecycle_file_is_that_of_the_command() -> None:
    """It deletes raw objects, and the Parquet files stay."""
    rules = json.loads((ROOT / "config" / "lifecycle.json").read_text())
    assert rules == lifecycle("s3://my-log-bucket/logs")
    prefixes = [rule["Filter"]["Prefix"] for rule in rules["Rules"] if "Expiration" in rule]
    assert prefixes == ["logs/function="]
    for engine in ENGINES:
        text = re.sub(r"(?m)^-- ?", "", (TABLES / f"{engine}.sql").read_text())
        assert json.dumps(rules, indent=2) in text


def test_the_lifecycle_file_is_accepted_by_the_sdk() -> None:
    """The SDK validates names and types of all fields."""
    operation = (
        botocore.session.get_session().get_service_model("s3").operation_model("PutBucketLifecycleConfiguration")
    )
    rules = json.loads((ROOT / "config" / "lifecycle.json").read_text())
    report = ParamValidator().validate({"Bucket": "b", "LifecycleConfiguration": rules}, operation.input_shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_statement_of_a_definition_is_valid_in_its_dialect(engine: Engine) -> None:
    """A parser of the dialect accepts each statement, and no template is left in it."""
    text = (TABLES / f"{engine}.sql").read_text()
    assert not re.search(r"json_text|replace_all|instant\(|\{location\}", text)
    parsed = sqlglot.parse(text, dialect=engine)
    kinds = [type(each) for each in parsed if each and not isinstance(each, exp.Semicolon)]
    views = kinds.count(exp.Create)
    assert views == 9
    assert set(kinds) <= {exp.Create, exp.Set}


def test_duckdb_finds_no_fault_in_the_stored_objects(stored: Path) -> None:
    """The two statements of the proof are views."""
    connection = connected(stored)
    assert count(connection, "SELECT count(*) FROM faults") == 0
    assert count(connection, "SELECT count(DISTINCT segment) FROM segments") == len(batches()) + 2


# --- Athena, Spark


def columns_of(schema: exp.Schema | exp.Expression) -> dict[str, str]:
    """Return the columns of a definition with their types."""
    return {each.name: each.args["kind"].sql("hive").lower() for each in schema.find_all(exp.ColumnDef)}


def athena() -> exp.Create:
    """Return the parsed DDL of Athena."""
    created = sqlglot.parse((TABLES / "athena.sql").read_text(), dialect="athena")[0]
    assert isinstance(created, exp.Create)
    return created


def property_of(created: exp.Create, name: str) -> str:
    """Return a table property."""
    found = [each for each in created.find_all(exp.Property) if each.this and each.this.name == name]
    assert len(found) == 1, name
    return str(found[0].args["value"].name)


def test_athena_columns_follow_the_rules_of_the_serde() -> None:
    """Hive's JsonSerDe fails for a string column whose value is an object, and reads no Z in a timestamp.

    Every column is therefore a string or a bigint, in lower case, and covers exactly the columns of a line.
    """
    created = athena()
    partitions = columns_of(created.find(exp.PartitionedByProperty) or exp.Schema())
    columns = {name: kind for name, kind in columns_of(created.this).items() if name not in partitions}
    expected = {name.lower(): "string" if kind is str else "bigint" for name, kind in COLUMNS.items()}
    assert columns == expected
    assert partitions == dict.fromkeys(PARTITIONS, "string")
    assert not set(columns) & set(partitions)
    assert not any(re.fullmatch(r"_col\d+", name) for name in columns), "Hive reads such a key as a column number"


def test_athena_uses_hives_serde_without_a_quoted_reserved_word() -> None:
    """`function` and `time` are reserved words of the DDL, and each column is therefore quoted."""
    text = (TABLES / "athena.sql").read_text()
    assert "org.apache.hive.hcatalog.data.JsonSerDe" in text
    names = re.findall(r"^    (\S+) (?:string|bigint)", text, re.MULTILINE)
    assert names
    assert all(name.startswith("`") and name.endswith("`") for name in names)


def test_athena_projection_matches_the_default_key() -> None:
    """The template of the partitions is the folder of the default key, below the location."""
    created = athena()
    folder = DEFAULT_KEY.rpartition("/")[0].replace("{date}", "${dt}")
    folder = folder.replace("{function}", "${function}").replace("{hour}", "${hour}")
    location = next(created.find_all(exp.LocationProperty)).this.name
    assert property_of(created, "storage.location.template") == f"{location}{folder}/"
    assert property_of(created, "projection.enabled") == "true"
    assert [property_of(created, f"projection.{name}.type") for name in PARTITIONS] == ["injected", "date", "integer"]
    assert property_of(created, "projection.hour.range") == "0,23"
    assert property_of(created, "projection.hour.digits") == "2"
    assert property_of(created, "projection.dt.format") == "yyyy-MM-dd"


def test_athena_queries_are_valid_and_name_the_injected_partition() -> None:
    """A query on an injected partition fails without a literal value."""
    queries = sqlglot.parse((TABLES / "athena-queries.sql").read_text(), dialect="trino")
    known = {name.lower() for name in (*COLUMNS, *PARTITIONS, *TYPED_COLUMNS, *VIEW_COLUMNS)}
    assert len(queries) == 4
    for query in queries:
        assert query
        assert {each.name for each in query.find_all(exp.Column)} <= known
        compared = [each for each in query.find_all(exp.EQ) if each.this.name == "function"]
        assert [type(each.expression) for each in compared] == [exp.Literal], query.sql()


def test_athena_queries_run_on_stored_objects(stored: Path) -> None:
    """Translated to DuckDB, the queries find the rows of the stored objects."""
    connection = connected(stored)
    text = (TABLES / "athena-queries.sql").read_text().replace("orders-api", "pay").replace("2026-11-21", "2026-11-29")
    text = text.replace("459921b5-681c-4a96-beb0-81e0aa586026", A)
    lines, durations, failures, summaries = sqlglot.transpile(text, read="trino", write="duckdb")
    lines = lines.replace("record ->> '$.message'", "TRY(record ->> '$.message')")  # Athena returns NULL, DuckDB fails
    unbounded, conditions = re.subn(rf" AND requestid = '{A}'", "", lines)
    assert conditions == 1
    assert "TRY" in unbounded
    texts = [row[1] for row in connection.execute(unbounded).fetchall()]
    stored_lines = count(connection, "SELECT count(*) FROM logs WHERE dt = '2026-11-29'")
    assert (len(texts), texts.count(None)) == (stored_lines, 0)
    requests = connection.execute(f"SELECT count(*) FROM logs WHERE requestId = '{A}'").fetchall()  # noqa: S608
    assert [(len(connection.execute(lines).fetchall()),)] == requests
    assert [row[2] for row in connection.execute(durations).fetchall()] == [2599.4]
    assert {row[1] for row in connection.execute(failures).fetchall()} == {"timeout", "outOfMemory"}
    assert {row[2:4] for row in connection.execute(summaries).fetchall()} == {(12.5, 1000)}


def spark_statements() -> list[str]:
    """Return the statements of the Spark definition without comments."""
    text = re.sub(r"(?m)^--.*$", "", (TABLES / "spark.sql").read_text())
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def test_spark_view_has_the_columns_of_a_line_and_of_the_path() -> None:
    """A missing column would be lost without an error, and an additional one would be null."""
    (view,) = [each for each in spark_statements() if "VIEW logs_raw" in each]
    columns = dict(re.findall(r"^    (\w+) (STRING|BIGINT|TIMESTAMP)", view, re.MULTILINE))
    expected = {name: "STRING" if kind is str else "BIGINT" for name, kind in COLUMNS.items()}
    assert columns == expected | {"time": "TIMESTAMP"} | dict.fromkeys(PARTITIONS, "STRING")
    assert isinstance(sqlglot.parse_one(view, dialect="spark"), exp.Create)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="no pyspark (pip install pyspark)")
def test_spark_reads_every_line_of_every_object(stored: Path) -> None:
    """Spark turns a line that it cannot read into nulls without an error. Its views have the rows of DuckDB's."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - optional

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        for statement in spark_statements():
            spark.sql(LOCATION.sub(str(stored), statement))
        total, empty = spark.sql("SELECT count(*), sum(int(environment IS NULL OR time IS NULL)) FROM logs").first()
        connection = connected(stored)
        for view in ("logs_raw", *VIEWS, "segments", "faults"):
            query = f"SELECT count(*) FROM {view}"  # noqa: S608 - constants
            assert spark.sql(query).first()[0] == count(connection, query), view
        for name in SAVED:
            if name not in ONLY_DUCKDB:
                assert spark.sql(saved_query(name, "spark")).collect(), name
    finally:
        spark.stop()
    assert (total, empty) == (2 * (len(batches()) + 199) + len(batches()) + 2, 0)
