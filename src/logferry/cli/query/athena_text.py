"""The text of a query for Athena, limited to a function and to days. Pure.

Guarantees:
- The text names the function, which the injected partition requires, and the days of the window, so
  that no other object is read.
- A text that does not begin with SELECT is unchanged. It must name the function itself.

Design: a limit outside of a view with GROUP BY does not reach the partitions of the days. The views
are therefore repeated as common table expressions over the limited rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.cli.query.tables import logs_statement
from logferry.cli.query.views import VIEWS, quoted
from logferry.cli.sql import statement

if TYPE_CHECKING:
    from logferry.cli.fetch.selection import Selection

_SELECT = re.compile(r"\s*(?:--[^\n]*\n\s*)*SELECT\b", re.IGNORECASE)


def athena_text(query: str, selection: Selection) -> str:
    """Return the text of a query for Athena. Raise ValueError if it needs the name of a function."""
    query = query.rstrip().rstrip(";")
    if not _SELECT.match(query):
        return query
    if not selection.literal_function:
        raise ValueError("Athena reads one function at a time: give its name with --function")
    parts = {"logs": f"{logs_statement('athena')}\nWHERE {_limits(selection)}"}
    parts |= {name: statement(name, "athena") for name in VIEWS if re.search(rf"\b{name}\b", query)}
    tables = ",\n".join(f"{name} AS (\n{text}\n)" for name, text in parts.items())
    return f"WITH {tables}\n{query}"


def _limits(selection: Selection) -> str:
    """Return the conditions of the partitions. The hour of a record can be that of a later object."""
    limits = [f'"function" = {quoted(selection.literal_function)}']
    if selection.window.since:
        limits.append(f"dt >= '{selection.window.since:%Y-%m-%d}'")
    if selection.window.until:
        limits.append(f"dt <= '{selection.window.until:%Y-%m-%d}'")
    return " AND ".join(limits)
