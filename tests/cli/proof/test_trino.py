"""The texts for Athena run on a real Trino server, over objects in the real S3 server.

Trino has another DDL than Athena. The columns, the location and the projection of the test are those of
`config/tables/athena.sql`, and the statements run unchanged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.sql import statement
from support import stored_prefix
from support.trino_server import TrinoServer, home_and_java

if TYPE_CHECKING:
    from logferry.emulator.s3_server import S3Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.skipif(
        None in home_and_java(),
        reason="no Trino server (TRINO_HOME) or no Java 24 (JAVA_HOME): see support/trino_server.py",
    ),
]
TABLES = Path(__file__).parents[3] / "config" / "tables"
TYPES = {
    "string": "varchar",
    "bigint": "bigint",
    "int": "integer",
    "double": "double",
    "timestamp": "timestamp(6)",
}


def columns(ddl: str) -> str:
    """Return the columns of a definition for Athena with the types of Trino."""
    found = re.findall(r"^    `(\w+)` (\w+)", ddl, re.MULTILINE)
    return ", ".join(f'"{name}" {TYPES[kind]}' for name, kind in found)


def logs_of_trino(bucket: str) -> str:
    """Return Trino's definition of the external table of `athena.sql`."""
    ddl = statements("athena.sql")[0]
    projections = {
        "function": "partition_projection_type = 'INJECTED'",
        "dt": "partition_projection_type = 'DATE', partition_projection_format = 'yyyy-MM-dd', "
        "partition_projection_range = ARRAY['2026-11-28', '2026-11-30']",
        "hour": "partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['0', '23'], "
        "partition_projection_digits = 2",
    }
    typed = columns(ddl)
    for name, projection in projections.items():
        typed = typed.replace(f'"{name}" varchar', f'"{name}" varchar WITH ({projection})')
    location = f"s3://{bucket}/logs/"
    return (
        f"CREATE TABLE logs_raw ({typed}) WITH (format = 'JSON', external_location = '{location}', "
        "partitioned_by = ARRAY['function', 'dt', 'hour'], partition_projection_enabled = true, "
        f"partition_projection_location_template = '{location}function=${{function}}/dt=${{dt}}/hour=${{hour}}/')"
    )


def statements(name: str) -> list[str]:
    """Return the statements of a file in config/tables."""
    text = re.sub(r"(?m)^--.*$", "", (TABLES / name).read_text())
    return [each.strip() for each in text.split(";") if each.strip()]


async def test_the_texts_for_athena_run_on_trino(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """The proof finds the planted faults of each function, and MERGE adds each line once."""
    prefix = stored_prefix.write(tmp_path / "logs", 1_000, metadata=False)
    expected = stored_prefix.plant(prefix)
    async with s3.client() as client:
        for path in sorted(prefix.root.rglob("*.gz")):
            await client.put_object(Bucket=bucket, Key=f"logs/{path.relative_to(prefix.root)}", Body=path.read_bytes())
    async with TrinoServer(tmp_path, s3.environment(s3.admin), bucket) as trino:
        await trino.run("CREATE SCHEMA default")
        await trino.run("CREATE SCHEMA default", catalog="iceberg")
        await trino.run(logs_of_trino(bucket))
        await _prove(trino, expected)
        await _query(trino)
        await _merge(trino)


async def _prove(trino: TrinoServer, expected: list[tuple[Any, ...]]) -> None:
    """Run the views and the proof of `athena.sql`, with the rows of all functions."""
    for text in statements("athena.sql")[1:]:
        dated = text.replace("2026-11-21", "2026-11-29")
        await trino.run(dated.replace("orders-api", stored_prefix.FUNCTIONS[0]))
        if text.startswith("CREATE TABLE segments AS"):
            select = dated.removeprefix("CREATE TABLE segments AS")
            for function in stored_prefix.FUNCTIONS[1:]:
                await trino.run(f"INSERT INTO segments {select.replace('orders-api', function)}")
    found = [tuple(row) for row in await trino.run(statement("faults", "athena"))]
    assert sorted(found, key=lambda row: (row[0] or "", row[1] or 0, row[3])) == expected
    assert sorted(map(tuple, await trino.run("SELECT * FROM faults")), key=str) == sorted(expected, key=str)
    rows = await trino.run(statement("environments", "athena"))
    assert len(rows) == 1_000 // stored_prefix.SEGMENTS
    assert {row[6] for row in rows} <= {0, 1}


async def _query(trino: TrinoServer) -> None:
    """Run `athena-queries.sql`."""
    for query in statements("athena-queries.sql"):
        rows = await trino.run(query.replace("2026-11-21", "2026-11-29"))
        assert rows or "requestid" in query


async def _merge(trino: TrinoServer) -> None:
    """Run the MERGE of `athena-merge.sql` for one hour, twice."""
    create, merge = statements("athena-merge.sql")
    await trino.run(
        f"CREATE TABLE compacted ({columns(create)}) WITH (format = 'PARQUET', partitioning = ARRAY['function', 'dt'])",
        catalog="iceberg",
    )
    merge = (
        merge.replace("FROM logs", "FROM hive.default.logs").replace("2026-11-21", "2026-11-29").replace("'02'", "'07'")
    )
    lines = "SELECT count(*) FROM logs WHERE \"function\" = 'orders-api' AND dt = '2026-11-29' AND hour = '07'"
    ((expected,),) = await trino.run(lines)
    distinct = lines.replace("count(*)", "count(DISTINCT (environment, segment, line))")
    ((unique,),) = await trino.run(distinct)
    assert 0 < unique <= expected
    typed = (
        "SELECT count(*), count(level), count(duration_ms), count(DISTINCT (environment, segment, line)) FROM compacted"
    )
    await trino.run(merge, catalog="iceberg")
    (first,) = await trino.run(typed, catalog="iceberg")
    await trino.run(merge, catalog="iceberg")
    (second,) = await trino.run(typed, catalog="iceberg")
    assert first == second
    assert first[0] == expected
    assert first[3] == unique
    assert 0 < first[2] < first[0]
