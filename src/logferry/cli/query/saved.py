"""Saved queries of `logferry query --saved`: SQL files of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.sql import statement

if TYPE_CHECKING:
    from logferry.cli.sql import Engine

SAVED = ("slowest", "errors", "cold-starts", "memory", "noise", "waits")
ONLY_DUCKDB = frozenset({"waits"})
"""Queries of the view `objects`, which needs the list of the objects."""


def saved_query(name: str, engine: Engine = "duckdb") -> str:
    """Return the text of a saved query. Raise ValueError if the engine has no view for it."""
    if name in ONLY_DUCKDB and engine != "duckdb":
        raise ValueError(f"the query {name} reads the list of the objects, which {engine} does not have: use DuckDB")
    return statement(f"saved/{name}", engine)
