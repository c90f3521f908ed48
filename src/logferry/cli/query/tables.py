"""Table definitions of a destination for DuckDB, Spark and Athena. Pure.

Guarantees: the definitions are those of the tests and of `config/tables/`, with another location.

Design: `logs_raw` has the lines as they are stored. The views over it are the statements that
`logferry query` and `logferry verify` run: `logs` with typed columns, the views over it, and the two
statements of the proof.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry import destination
from logferry.cli.query.views import VIEWS, typed_columns
from logferry.cli.sql import statement
from logferry.cli.stored_objects import DestinationError, check_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.cli.sql import Engine

RAW_DAYS = 90
"""Days after which the lifecycle rule deletes raw objects."""
PARQUET_DAYS = 30
"""Days after which the lifecycle rule moves Parquet files to infrequent access. Objects below 128 KB
stay."""
EXAMPLE_FUNCTION = "orders-api"
EXAMPLE_DAY = "2026-11-21"
"""Function and day in Athena's first statement of the proof, which the user replaces."""

_VIEW: dict[Engine, str] = {
    "duckdb": "CREATE OR REPLACE VIEW",
    "spark": "CREATE OR REPLACE TEMPORARY VIEW",
    "athena": "CREATE OR REPLACE VIEW",
}


class Definition(NamedTuple):
    """One part of the definitions: the name of a table or view, or `lifecycle`, and its text."""

    name: str
    text: str


def definitions(engine: Engine, url: str) -> list[Definition]:
    """Return the statements that define the tables and views of a destination. Raise DestinationError."""
    raw = (resources.files("logferry.cli.sql") / "tables" / f"{engine}.sql").read_text(encoding="utf-8")
    parts = [
        Definition("logs_raw", raw.replace("{location}", _location(engine, url)).rstrip()),
        _view(engine, "logs", logs_statement(engine), "Lines with typed columns of the platform's reports."),
        *(_view(engine, name, statement(name, engine), _purpose(name)) for name in VIEWS),
        *_proof(engine),
    ]
    if url.startswith("s3://"):
        parts.append(Definition("lifecycle", _lifecycle_comment(url)))
    return parts


def text_of(parts: Iterable[Definition]) -> str:
    """Return definitions as one text."""
    return "\n\n".join(part.text for part in parts) + "\n"


def logs_statement(engine: Engine) -> str:
    """Return the query of `logs` over `logs_raw`: the columns of a compacted file."""
    return f"{typed_columns(engine)},\n    function,\n    dt,\n    hour\nFROM logs_raw"


def lifecycle(url: str) -> dict[str, Any]:
    """Return the lifecycle configuration of the bucket, as `aws s3api` reads it.

    Raw objects are deleted after their compaction. The rule is the backstop. They are too small for
    another storage class.
    """
    prefix = destination.parse_readable(url).path
    folder = f"{prefix}/" if prefix else ""
    return {
        "Rules": [
            {
                "ID": "logferry-delete-raw-objects",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{folder}function="},
                "Expiration": {"Days": RAW_DAYS},
            },
            {
                "ID": "logferry-compacted-infrequent-access",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{folder}compact/"},
                "Transitions": [{"Days": PARQUET_DAYS, "StorageClass": "STANDARD_IA"}],
            },
        ]
    }


def _location(engine: Engine, url: str) -> str:
    """Return a destination as the engine addresses it. Raise DestinationError."""
    try:
        place = destination.parse_readable(url)
    except ValueError as error:
        raise DestinationError(f"{url!r} is not a valid destination: {error}") from error
    if place.scheme == "file":
        if engine == "athena":
            raise DestinationError(f"Athena cannot read {url}: use a destination in S3")
        return place.path.replace("'", "''")
    check_bucket(url, place.bucket)
    scheme = "s3a" if engine == "spark" else "s3"
    return "/".join(filter(None, (f"{scheme}://{place.bucket}", place.path))).replace("'", "''")


def _view(engine: Engine, name: str, query: str, purpose: str) -> Definition:
    return Definition(name, f"-- {purpose}\n{_VIEW[engine]} {name} AS\n{query};")


def _purpose(name: str) -> str:
    """Return the first comment lines of a statement."""
    text = (resources.files("logferry.cli.sql") / f"{name}.sql").read_text(encoding="utf-8")
    comments = re.match(r"(?:--.*\n)+", text)
    return comments[0].removeprefix("-- ").rstrip() if comments else name


def _proof(engine: Engine) -> list[Definition]:
    """Return the two statements of the proof. Athena's first one needs a literal function."""
    segments = statement("segments", engine).replace("FROM logs", "FROM logs_raw")
    if engine == "athena":
        where = f"WHERE \"function\" = '{EXAMPLE_FUNCTION}' AND dt = '{EXAMPLE_DAY}'"
        segments = segments.replace("FROM logs_raw", f"FROM logs_raw\n{where}")
        purpose = _purpose("segments") + "\n-- Replace the function and the day."
        first = Definition("segments", f"-- {purpose}\nCREATE TABLE segments AS\n{segments};")
    else:
        first = _view(engine, "segments", segments, _purpose("segments"))
    return [first, _view(engine, "faults", statement("faults", engine), _purpose("faults"))]


def _lifecycle_comment(url: str) -> str:
    """Return the lifecycle rule as comment lines, with the command that sets it."""
    bucket = destination.parse_readable(url).bucket
    rule = json.dumps(lifecycle(url), indent=2)
    text = (
        f"Lifecycle rule, for a file lifecycle.json. It replaces the existing rules of the bucket:\n"
        f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket} "
        f"--lifecycle-configuration file://lifecycle.json\n{rule}"
    )
    return "\n".join(f"-- {line}" for line in text.splitlines())
