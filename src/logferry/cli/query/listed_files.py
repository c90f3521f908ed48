"""Table of the files and objects of a session: each row is a file with its reader, or an object in a Parquet file.

Design: the rows go to DuckDB through a temporary file. Python lists as parameters take 40 µs of CPU
time for each element, which is several seconds for 10,000 objects.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.cli.object_names import segment_in
from logferry.cli.query.views import quoted
from logferry.cli.sql import PARTITION_COLUMNS
from logferry.cli.stored_objects import compression_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from logferry.cli.fetch.fetch import FetchedHour, FetchedObject

COMPACTED = "compacted"
"""Reader of Parquet files."""
_READERS = {"gzip": "gzip", "zstd": "zstd", "none": "uncompressed"}
"""Name of DuckDB for each compression."""
COLUMNS = {
    "number": "BIGINT",
    "reader": "VARCHAR",
    "filename": "VARCHAR",
    "key": "VARCHAR",
    "environment": "VARCHAR",
    "segment": "BIGINT",
    "size": "BIGINT",
    "stored_at": "TIMESTAMP",
}
"""Columns of the table. An object in a Parquet file has environment and segment, and no file."""


def reader_of(fetched: FetchedObject) -> str:
    """Return the reader of a raw object: `partitioned` or `unpartitioned` by its key, and its compression.

    DuckDB requires the same partitions in all files, and each `=` in a key begins one.
    """
    has_partitions = fetched.raw.place and fetched.raw.listed.name.count("=") == len(PARTITION_COLUMNS)
    kind = "partitioned" if has_partitions else "unpartitioned"
    return f"{kind}_{_READERS[compression_of(fetched.raw.listed.name)]}"


def load(
    connection: duckdb.DuckDBPyConnection,
    objects: Sequence[FetchedObject],
    compacted: Sequence[FetchedHour],
    folder: Path,
) -> list[str]:
    """Create the table `listed_files`, and a variable with the files of each reader. Return the readers."""
    rows = [*_raw_rows(objects), *_compacted_rows(compacted)]
    names = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"CREATE OR REPLACE TABLE listed_files ({names})")
    if rows:
        file = folder / "files.ndjson"
        with file.open("w", encoding="utf-8", errors="replace") as opened:
            opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        kinds = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        connection.execute(
            f"INSERT INTO listed_files SELECT * FROM read_json({quoted(file)}, columns = {{{kinds}}}, "  # noqa: S608 - constants
            "format = 'newline_delimited')"
        )
        file.unlink()
    readers = dict.fromkeys(row["reader"] for row in rows if row["filename"])
    for reader in readers:
        connection.execute(f"SET VARIABLE {reader} = ({file_list(f'reader = {quoted(reader)}')})")
    return list(readers)


def file_list(condition: str) -> str:
    """Return the query of a list of files."""
    return f"SELECT list(filename ORDER BY number) FROM listed_files WHERE {condition}"  # noqa: S608 - constants


def _raw_rows(objects: Sequence[FetchedObject]) -> Iterator[dict[str, Any]]:
    for number, each in enumerate(objects):
        listed = each.raw.listed
        yield _row(
            number,
            reader=reader_of(each),
            filename=str(each.path),
            key=listed.key,
            size=listed.size,
            stored_at=listed.stored_at.isoformat(),
        )


def _compacted_rows(compacted: Sequence[FetchedHour]) -> Iterator[dict[str, Any]]:
    """Yield the Parquet files, and the objects that their manifests name.

    The list of the destination has the time of the objects that still exist.
    """
    for number, each in enumerate(compacted):
        yield _row(number, reader=COMPACTED, filename=str(each.path))
        stored = {one.listed.name: one.listed for one in each.hour.raw}
        for name, _etag, size in each.manifest["objects"]:
            listed = stored.get(name)
            environment, segment = segment_in(name) or (None, None)
            yield _row(
                number,
                key=listed.key if listed else name,
                environment=environment,
                segment=segment,
                size=size,
                stored_at=listed.stored_at.isoformat() if listed else None,
            )


def _row(number: int, **columns: Any) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS) | {"number": number, **columns}
