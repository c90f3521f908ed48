"""The table of all figures, for a terminal and as Markdown."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.statistic import Row, Spread

_COLUMNS = ("figure", "median", "p10-p90", "target", "", "computed from")
_STYLES = {"met": "green", "not met": "red"}


def machine(*, rounds: int, layer: bool) -> str:
    """Return one line about the machine and the measured code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    code = "the layer" if layer else f"the checkout on Python {platform.python_version()}"
    load = os.getloadavg()[0]
    return f"{code}; {os.cpu_count()} x {cpu}, load {load:.1f} at the end; medians of {rounds} rounds or more"


def show(rows: Sequence[Row], heading: str) -> None:
    """Print the table."""
    drawn = Table(title=heading, title_justify="left")
    for column in _COLUMNS:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        verdict = f"[{_STYLES[row.verdict]}]{row.verdict}[/]" if row.verdict else ""
        drawn.add_row(*_cells(row)[:4], verdict, row.detail)
    Console().print(drawn)


def markdown(rows: Sequence[Row], heading: str) -> str:
    """Return the table as Markdown."""
    lines = [heading, "", f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    unit = f" {row.unit}" if row.unit else ""
    target = f"{row.target}{unit}" if row.target else ""
    return row.name, f"{_number(row.value.median)}{unit}", _range(row.value), target, row.verdict, row.detail


def _range(value: Spread) -> str:
    return "" if value.low == value.high else f"{_number(value.low)}-{_number(value.high)}"


def _number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
