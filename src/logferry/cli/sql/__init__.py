"""SQL statements of the reading side: one text for DuckDB, Spark and Trino (Athena).

Guarantees:
- A statement differs between the engines only in the expressions of `EXPRESSIONS`.
- A value that is not JSON, or has another type, gives NULL in each engine.

Design: the files are the templates. They contain three functions that no engine has, `json_text`,
`replace_all` and `instant`, and `statement` replaces them. The tests run each statement in DuckDB and in Spark, and
compare the translation of each dialect with DuckDB's rows.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

Engine = Literal["duckdb", "spark", "athena"]
ENGINES: tuple[Engine, ...] = ("duckdb", "spark", "athena")

COLUMNS = {
    "time": "TIMESTAMP",
    "type": "VARCHAR",
    "message": "VARCHAR",
    "record": "VARCHAR",
    "event": "VARCHAR",
    "requestId": "VARCHAR",
    "requestIdSource": "VARCHAR",
    "environment": "VARCHAR",
    "segment": "BIGINT",
    "line": "BIGINT",
}
"""Columns of a line with their types."""
PARTITION_COLUMNS = ("function", "dt", "hour")
"""Columns in the folders of a key."""

EXPRESSIONS: dict[str, dict[Engine, str]] = {
    "json_text": {
        # TRY: DuckDB's function fails for a text that is not JSON, the others return NULL
        "duckdb": r"TRY(json_extract_string(\1))",
        "spark": r"get_json_object(\1)",
        "athena": r"json_extract_scalar(\1)",
    },
    "replace_all": {
        "duckdb": r"regexp_replace(\1, 'g')",  # the others replace each occurrence by default
        "spark": r"regexp_replace(\1)",
        "athena": r"regexp_replace(\1)",
    },
    "instant": {
        "duckdb": r"(\1 AT TIME ZONE 'UTC')",
        "spark": r"\1",
        "athena": r"CAST(from_iso8601_timestamp(\1) AS timestamp(6) with time zone)",
    },
}
"""Expression of each engine for a function of the templates, with the arguments as `\\1`."""

_FOLDER = Path(__file__).parent
_CALL = {name: re.compile(rf"\b{name}\(([^()]*)\)") for name in EXPRESSIONS}


def statement(name: str, engine: Engine = "duckdb") -> str:
    """Return the statement of a file, such as `segments`, for an engine, without comments."""
    text = re.sub(r"(?m)^--.*\n", "", (_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
    for function, call in _CALL.items():
        text = call.sub(EXPRESSIONS[function][engine], text)
    return text.strip()
