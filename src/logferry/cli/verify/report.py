"""The report of `logferry verify` on a terminal, with colours and a table of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from logferry.cli.verify.report_text import COLUMNS, NUMBERS, Sentence, parts_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from logferry.cli.verify.completeness import Report
    from logferry.cli.verify.report_text import EnvironmentTable

ENVIRONMENT_CHARACTERS = 16
"""Length of an environment's name, as the supervisor generates it."""


def show(report: Report) -> None:
    """Print the report."""
    console = Console()
    for part in render(report):
        console.print(part, soft_wrap=isinstance(part, Text))  # a sentence is one line, for grep


def render(report: Report) -> list[RenderableType]:
    """Return the report for a terminal: environments, unreadable objects, sums, verdict."""
    return [
        Text(part.text, style=part.style) if isinstance(part, Sentence) else _rendered(part)
        for part in parts_of(report)
    ]


def _rendered(table: EnvironmentTable) -> Table:
    """Return the table of the environments. The last columns fold, so that it fits into 80 columns."""
    rendered = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    environment, segments, records, times, *others = COLUMNS
    rendered.add_column(environment, overflow="fold", min_width=ENVIRONMENT_CHARACTERS)
    for name in (segments, records):
        rendered.add_column(name, justify="right" if name in NUMBERS else "left", min_width=len(name))
    rendered.add_column(times, no_wrap=True)
    for name in others:
        rendered.add_column(name, overflow="fold", min_width=max(len(name), len("final")))
    for cells, style in table.rows:
        rendered.add_row(*(Text(cell) for cell in cells), style=style)
    return rendered
