"""The shipped statements run on Spark, with the shipped view, and give the rows of DuckDB."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.sql import statement
from support import stored_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed (pip install pyspark, needs Java)"
    ),
]

TABLES = Path(__file__).parents[3] / "config" / "tables"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Provide a local Spark session."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - optional

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    yield session
    session.stop()


def test_the_statements_find_the_planted_faults_on_spark(spark: Any, tmp_path: Path) -> None:
    """The view of config/tables and the files of the package run unchanged."""
    expected = stored_prefix.plant(stored_prefix.write(tmp_path, 1_000, metadata=False))
    for text in re.sub(r"(?m)^--.*$", "", (TABLES / "spark.sql").read_text()).split(";"):
        if text.strip():
            spark.sql(text.replace("s3a://my-log-bucket/logs", str(tmp_path)))
    spark.sql(statement("segments", "spark")).cache().createOrReplaceTempView("segments")
    found = [tuple(row) for row in spark.sql(statement("faults", "spark")).collect()]
    assert sorted(found, key=lambda row: (row[0] or "", row[1] or 0, row[3])) == expected
