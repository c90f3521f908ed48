"""`logferry query`: one SQL query over the stored records, or a saved one.

Exit status: 0 done, 1 done without unreadable objects, 2 not done (destination, options or SQL).
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console

from logferry.cli.fetch import terminal
from logferry.cli.query.result import QueryError, run_query, show_table, write_result
from logferry.cli.query.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.query.result import Format

FAILED = 2
INCOMPLETE = 1


def query(
    url: str, selection: Selection, text: str, *, form: Format, output: Path | None, yes: bool, fallback: str = ""
) -> int:
    """Run a query, print its rows, and return the exit status. Raise DestinationError."""
    started = time.monotonic()
    fetched = terminal.read(url, selection, yes=yes, fallback=fallback)
    with Session(fetched) as session:
        try:
            count = run_query(session, text)
        except QueryError as error:
            sys.stderr.write(f"{error}\n")
            return FAILED
        if form == "table":
            show_table(session, Console(highlight=False), count)
        else:
            write_result(session, form, output)
        terminal.show_usage(fetched, time.monotonic() - started, session.unreadable)
        return INCOMPLETE if session.unreadable else 0
