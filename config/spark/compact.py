"""Spark job: prove the objects of logferry, and write one Parquet file for each function and hour.

    spark-submit compact.py s3a://my-log-bucket/logs s3a://my-log-bucket/compacted --date 2026-11-21

Guarantees:
- An hour with a missing, duplicated or unreadable line is refused, and the other hours are written.
- A second run with the same objects writes the same rows. Only the hours that the run reads are replaced.
- The written rows are read back and compared with the lines, by their number and by a sum of hashes.
- The rows of statement 1 are kept in TARGET/_segments, so that statement 2 covers all runs.

The exit status is 0 if all hours were written, 1 if an hour was refused or the proof has a fault, and 2 if the
comparison fails.

The SQL files in this folder are those of the package `logferry.cli.sql`. Use this job where one machine is not
sufficient, and `logferry compact` otherwise. It needs Spark 3.5 or 4.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCHEMA = (
    "time TIMESTAMP, type STRING, message STRING, record STRING, event STRING, requestId STRING, "
    "requestIdSource STRING, environment STRING, segment BIGINT, line BIGINT, function STRING, dt STRING, hour STRING"
)
PARTITION = ("function", "dt", "hour")
COMPARED = (
    "time, type, message, record, event, requestId, requestIdSource, environment, CAST(segment AS BIGINT), "
    "CAST(line AS BIGINT)"
)
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",  # hour is text of two digits
    "spark.sql.files.openCostInBytes": "16384",  # with the default of 4 MB, 100,000 objects are 3,000 tasks
    "spark.sql.sources.partitionOverwriteMode": "dynamic",  # only the written hours are replaced
    "spark.sql.files.ignoreCorruptFiles": "true",  # a cut object has no closing line, and its hour is refused
}


def main(arguments: list[str] | None = None) -> int:
    """Run the job and return the exit status."""
    parser = argparse.ArgumentParser(description="Compact the objects of logferry with Spark.")
    parser.add_argument("source", help="destination of logferry, such as s3a://my-log-bucket/logs")
    parser.add_argument("target", help="folder of the Parquet files, outside the source")
    parser.add_argument("--date", required=True, help="day, or 'YYYY-MM-DD..YYYY-MM-DD' for several days")
    parser.add_argument("--function", default="", help="only this function")
    options = parser.parse_args(arguments)

    from pyspark.sql import SparkSession  # noqa: PLC0415 - after the help

    spark = SparkSession.builder.appName("logferry-compact").getOrCreate()
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    _read(spark, options)
    refused = _prove(spark, options.target)
    _write(spark, options, refused)
    if not _is_equal(spark, options, refused):
        return 2
    has_faults = _faults(spark, options.target)
    return 1 if refused or has_faults else 0


def statement(name: str) -> str:
    """Return a statement of this folder, without comments."""
    lines = (FOLDER / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("--"))


def _read(spark: Any, options: argparse.Namespace) -> None:
    """Define the view `logs` over the objects of the days."""
    first, _, last = options.date.partition("..")
    lines = spark.read.schema(SCHEMA).json(options.source, pathGlobFilter="*.gz")
    lines = lines.where(lines.dt.between(first, last or first))
    if options.function:
        lines = lines.where(lines.function == options.function)
    lines.createOrReplaceTempView("logs")


def _prove(spark: Any, target: str) -> list[tuple[str, str, str]]:
    """Keep the rows of statement 1 by hour, and return the hours with a fault in their lines."""
    by_hour = statement("segments").replace("SELECT\n", "SELECT function, dt, hour,\n", 1)
    rows = spark.sql(by_hour.replace("GROUP BY", "GROUP BY function, dt, hour,")).cache()
    rows.createOrReplaceTempView("segments")
    spark.sql(statement("faults")).createOrReplaceTempView("faults")
    # A line that Spark cannot read has only nulls, and its hour is known from the path.
    refused = spark.sql(
        "SELECT DISTINCT function, dt, hour FROM segments WHERE environment IS NULL OR first_time IS NULL OR EXISTS "
        "(SELECT 1 FROM faults WHERE fault <> 'segments missing' AND faults.environment = segments.environment "
        "AND faults.first_segment = segments.segment)"
    ).collect()
    for row in refused:
        print(f"refused: {row.function} {row.dt} {row.hour}:00")
    rows.write.mode("overwrite").partitionBy(*PARTITION).parquet(f"{target}/_segments")
    rows.unpersist()
    return [(row.function, row.dt, row.hour) for row in refused]


def _selected(rows: Any, refused: list[tuple[str, str, str]]) -> Any:
    """Return the rows of the hours that are not refused."""
    for function, dt, hour in refused:
        rows = rows.where((rows.function != function) | (rows.dt != dt) | (rows.hour != hour))
    return rows


def _write(spark: Any, options: argparse.Namespace, refused: list[tuple[str, str, str]]) -> None:
    """Write the hours, each sorted by time."""
    select = statement("compacted").rstrip().removesuffix("FROM logs")
    rows = _selected(spark.sql(f"{select}, {', '.join(PARTITION)} FROM logs"), refused)
    rows = rows.repartition(*PARTITION)
    rows = rows.sortWithinPartitions(*PARTITION, "time", "environment", "segment", "line")
    rows.write.mode("overwrite").partitionBy(*PARTITION).option("compression", "zstd").parquet(f"{options.target}/logs")


def _is_equal(spark: Any, options: argparse.Namespace, refused: list[tuple[str, str, str]]) -> bool:
    """Read the written hours back and compare them with the lines."""
    lines = _selected(spark.table("logs"), refused)
    hours = lines.select(*PARTITION).distinct()
    written = spark.read.parquet(f"{options.target}/logs").join(hours, [*PARTITION], "left_semi")
    fingerprint = f"struct(count(*), sum(CAST(xxhash64({COMPARED}) AS DECIMAL(38, 0)))) AS fingerprint"
    (before,), (after,) = (rows.selectExpr(fingerprint).collect() for rows in (lines, written))
    if before != after:
        print(f"the written rows differ from the lines: {before} and {after}", file=sys.stderr)
    return bool(before == after)


def _faults(spark: Any, target: str) -> bool:
    """Run statement 2 over the rows of all runs, and print its rows."""
    spark.read.parquet(f"{target}/_segments").createOrReplaceTempView("segments")
    rows = spark.sql(statement("faults")).collect()
    for row in rows:
        print(f"fault: {row.environment} {row.first_segment} to {row.last_segment}: {row.fault}")
    return bool(rows)


if __name__ == "__main__":
    sys.exit(main())
