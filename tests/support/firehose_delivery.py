"""Objects as Firehose delivers them, from the data records that it has accepted: in any order, some of them twice."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OBJECTS = 3
_FOLDER = "2026/11/21/02"


def deliver(records: Sequence[bytes], folder: Path, *, seed: int, compress: bool = True) -> None:
    """Write objects with the records below `folder`. A tenth of the records is there twice."""
    chance = random.Random(seed)  # noqa: S311 - an order
    delivered = [*records, *chance.sample(records, max(1, len(records) // 10))]
    chance.shuffle(delivered)
    (folder / _FOLDER).mkdir(parents=True)
    for number in range(OBJECTS):
        body = b"".join(delivered[number::OBJECTS])
        name = f"my-stream-1-2026-11-21-02-26-2{number}-{chance.randrange(1 << 32):08x}{'.gz' * compress}"
        (folder / _FOLDER / name).write_bytes(gzip.compress(body) if compress else body)


def connected(folder: Path, tables: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of config/tables on the delivered objects."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    first = (tables / "duckdb-firehose.sql").read_text()
    _, _, others = (tables / "duckdb.sql").read_text().partition(";")
    connection.execute(first.replace("s3://my-log-bucket/my-stream", str(folder)))
    connection.execute(others)
    return connection
