"""The shipped statements run on Spark, with the shipped view, and give the rows of DuckDB."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from logferry.cli.fetch.fetch import fetch
from logferry.cli.fetch.selection import Selection
from logferry.cli.query.session import Session
from logferry.cli.sql import statement
from support import stored_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed (pip install pyspark, needs Java)"
    ),
]

CONFIG = Path(__file__).parents[3] / "config"
DAY = "2026-11-29"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Provide a local Spark session."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - optional

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def job() -> ModuleType:
    """Return the Spark job of config/ as a module."""
    spec = importlib.util.spec_from_file_location("spark_compact", CONFIG / "spark" / "compact.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_statements_find_the_planted_faults_on_spark(spark: Any, tmp_path: Path) -> None:
    """The view of config/tables and the files of the package run unchanged."""
    expected = stored_prefix.plant(stored_prefix.write(tmp_path, 1_000, metadata=False))
    for text in re.sub(r"(?m)^--.*$", "", (CONFIG / "tables" / "spark.sql").read_text()).split(";"):
        if text.strip():
            spark.sql(text.replace("s3a://my-log-bucket/logs", str(tmp_path)))
    spark.sql(statement("segments", "spark")).cache().createOrReplaceTempView("segments")
    found = [tuple(row) for row in spark.sql(statement("faults", "spark")).collect()]
    assert sorted(found, key=lambda row: (row[0] or "", row[1] or 0, row[3])) == expected


@pytest.mark.usefixtures("spark")
def test_the_job_writes_the_rows_of_the_objects_and_refuses_an_hour_with_a_fault(
    job: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows are those of `logferry compact`, and a second run writes the same files."""
    source, target = tmp_path / "logs", tmp_path / "compacted"
    prefix = stored_prefix.write(source, 120, metadata=False, hours=2)
    assert job.main([str(source), str(target), "--date", DAY]) == 0
    files = sorted(str(path.parent.relative_to(target)) for path in (target / "logs").rglob("*.parquet"))
    assert len(files) == len(set(files)), "one file for each function and hour"
    assert _rows(target) == _rows_of_objects(source)
    environment, segment = sorted(prefix.paths)[3]
    path = prefix.paths[environment, segment]
    prefix.rewrite(environment, segment, prefix.lines(environment, segment)[:-1])
    before = _rows(target)
    assert job.main([str(source), str(target), "--date", f"{DAY}..{DAY}"]) == 1
    printed = capsys.readouterr().out
    hour = path.parent.name.removeprefix("hour=")
    assert f"refused: {path.parts[-4].removeprefix('function=')} {DAY} {hour}:00" in printed
    assert f"fault: {environment} {segment} to {segment}: no closing line" in printed
    assert _rows(target) == before, "the refused hour keeps its file"


def _rows(target: Path) -> list[tuple[Any, ...]]:
    query = (
        "SELECT environment, segment, line, epoch_ms(time), type, message, record, level, duration_ms, function, hour "
        "FROM read_parquet(?, hive_partitioning=true, hive_types_autocast=false) ORDER BY ALL"
    )
    return duckdb.execute(query, [f"{target}/logs/**/*.parquet"]).fetchall()


def _rows_of_objects(source: Path) -> list[tuple[Any, ...]]:
    with Session(fetch(f"file://{source}", Selection(), raw_only=True)) as session:
        return session.rows(
            "SELECT environment, segment, line, epoch_ms(time), type, message, record, level, duration_ms, function, "
            "hour FROM logs ORDER BY ALL"
        )
