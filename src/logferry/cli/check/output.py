"""Output of `logferry check`: one row for each step, as soon as it is known, or JSON at the end.

Guarantees:
- In a pipe, rows have at most `PIPE_COLUMNS` columns and no colours. Only a word that is longer, such as an ARN, is not
  broken, so that it can be copied.
- IAM statements are printed as JSON that can be copied into a policy.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from logferry.cli.check.result import Report, Status, Step

PIPE_COLUMNS, MOST_COLUMNS = 80, 110
_STATUS_WIDTH, _NAME_WIDTH = 9, 13
_STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def columns_of(console: Console) -> int:
    """Return the number of columns of a row."""
    return min(console.width, MOST_COLUMNS) if console.is_terminal else PIPE_COLUMNS


def show_step(console: Console, step: Step) -> None:
    """Print one step."""
    for number, line in enumerate(lines_of(step, columns_of(console))):
        text = Text(line)
        if number == 0:
            text.stylize(_STYLES[step.status], 0, len(step.status))
        console.print(text, soft_wrap=True)


def lines_of(step: Step, columns: int) -> Iterator[str]:
    """Yield the lines of a step: status, name and detail, then notes, remedy and statements below the detail."""
    margin = " " * (_STATUS_WIDTH + _NAME_WIDTH)
    name = f"{step.name:<{_NAME_WIDTH}}" if len(step.name) < _NAME_WIDTH else f"{step.name}  "
    head = f"{step.status:<{_STATUS_WIDTH}}{name}"
    yield from _wrapped(step.detail, head, margin, columns)
    for note in step.notes:
        yield from _wrapped(note, f"{margin}- ", f"{margin}  ", columns)
    if step.remedy:
        yield from _wrapped(step.remedy, f"{margin}> ", f"{margin}  ", columns)
    for statement in step.statements:
        yield from textwrap.indent(json.dumps(statement, indent=2), f"{margin}  ").splitlines()


def verdict(report: Report) -> Text:
    """Return the last line: what failed, or what remains."""
    failed = [step.name for step in report.steps if step.status == "failed"]
    warned = [step.name for step in report.steps if step.status == "warning"]
    if failed:
        return Text(f"FAILED: {', '.join(failed)}", style="bold red")
    if warned:
        return Text(f"OK, with warnings: {', '.join(warned)}", style="bold yellow")
    return Text("OK: logferry can store objects here", style="bold green")


def _wrapped(text: str, first: str, margin: str, columns: int) -> list[str]:
    lines = textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]
