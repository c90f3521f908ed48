"""Terminal output of a session: timeline, output of the processes, summary, and verdict."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table
from rich.text import Text

from logferry.cli.console import counted
from logferry.cli.emulate.own_records import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from logferry.cli.emulate.outcome import Outcome
    from logferry.emulator.timeline import Entry

_OUTPUT = "output"
_STYLES = {
    _OUTPUT: "yellow",
    "invoke": "bold",
    "response": "green",
    "delivery": "cyan",
    "freeze": "blue",
    "thaw": "blue",
    "crash": "bold red",
    "kill": "red",
    "error": "yellow",
    "drop": "red",
    "shutdown": "bold",
}
_TIME_WIDTH, _KIND_WIDTH, _SUBJECT_WIDTH = 9, 12, 11
"""Widths of the columns, which leave 45 of 80 columns for details."""
_UUID_DASHES = 4
_HEAD, _TAIL = 60, 25
"""Shown entries of a long timeline: its start and its end. Those between repeat the same steps."""
_OUTPUT_HEAD, _OUTPUT_TAIL = 200, 50
"""Shown lines of a long output."""
_HIDDEN_DETAILS = ("argv", "pid")

_Item = TypeVar("_Item")


def show_timeline(console: Console, entries: Sequence[Entry]) -> None:
    """Print the timeline in milliseconds since the start, with the output of the processes."""
    console.rule("timeline (ms)")
    start, omitted, end = _clipped(entries, _HEAD, _TAIL)
    _print_entries(console, start)
    if omitted:
        console.print(f"           … {omitted} more entries …", style="dim")
        _print_entries(console, end)


def is_clipped(entries: Sequence[Entry]) -> bool:
    """Return whether the timeline omits entries, which can be output of the processes."""
    return len(entries) > _HEAD + _TAIL


def show_output(console: Console, title: str, lines: Sequence[str]) -> None:
    """Print the lines of a process, unchanged and without styles."""
    if not lines:
        return
    console.rule(title)
    start, omitted, end = _clipped(lines, _OUTPUT_HEAD, _OUTPUT_TAIL)
    _print_lines(console, start)
    if omitted:
        console.print(f"… {counted(omitted, 'more line')} …", style="dim")
        _print_lines(console, end)


def show_summary(
    console: Console, outcome: Outcome, *, objects: int | None, own_records: Mapping[str, int] | None = None
) -> None:
    """Print the figures that decide about the exit status.

    `own_records` is the number of stored records of each type of logferry.
    """
    table = Table(title="summary", show_header=False, title_justify="left")
    table.add_row("invocations", f"{len(outcome.invocations)}, failed {outcome.failed}")
    table.add_row(
        "records",
        f"{outcome.records_sent} sent, {outcome.records_delivered} delivered, {outcome.records_dropped} dropped",
    )
    if objects is not None:
        table.add_row("objects", str(objects))
    if own_records:
        table.add_row("records of logferry", text_of(own_records))
    added = outcome.added_ms
    table.add_row(
        "added after the runtime ended",
        f"median {outcome.median_added_ms:.1f} ms, maximum {max(added, default=0.0):.1f} ms",
    )
    table.add_row(
        "shutdown", f"{outcome.shutdown.duration_ms:.0f} ms" + (", killed" if outcome.shutdown.killed else "")
    )
    if outcome.spool_left:
        table.add_row("left in the spool", counted(outcome.spool_left, "segment"))
    console.print(table)


def show_verdict(console: Console, outcome: Outcome) -> None:
    """Print one line: OK, or FAILED with all faults."""
    if outcome.faults:
        console.print(Text(f"FAILED: {'; '.join(outcome.faults)}", style="bold red"), soft_wrap=True)
    else:
        console.print(Text("OK: all invocations succeeded, all records are stored", style="bold green"))


def _clipped(items: Sequence[_Item], head: int, tail: int) -> tuple[Sequence[_Item], int, Sequence[_Item]]:
    """Return the start of a sequence, the number of omitted items, and the end."""
    omitted = len(items) - head - tail
    return (items[:head], omitted, items[-tail:]) if omitted > 0 else (items, 0, ())


def _print_entries(console: Console, entries: Iterable[Entry]) -> None:
    """Print events in columns with wrapped details, and output as unwrapped lines."""
    for is_output, group in groupby(entries, key=lambda entry: entry.kind == _OUTPUT):
        if not is_output:
            console.print(_grid(group))
            continue
        for entry in group:
            prefix = f"{entry.at_ms:{_TIME_WIDTH}.1f} {entry.kind:{_KIND_WIDTH}} {entry.subject:{_SUBJECT_WIDTH}} "
            line = Text(prefix + str(entry.detail.get("line", "")).rstrip(), style=_STYLES[_OUTPUT])
            console.print(line, soft_wrap=True, highlight=False)


def _grid(entries: Iterable[Entry]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", min_width=_TIME_WIDTH, no_wrap=True)
    grid.add_column(min_width=_KIND_WIDTH, no_wrap=True)
    grid.add_column(min_width=_SUBJECT_WIDTH, no_wrap=True)
    grid.add_column(style="dim", overflow="fold")
    for entry in entries:
        details = (
            f"{name}={_shown(value)}"
            for name, value in entry.detail.items()
            if name not in _HIDDEN_DETAILS and value not in ("", (), [])
        )
        cells = (f"{entry.at_ms:.1f}", entry.kind, _short(entry.subject), " ".join(details))
        grid.add_row(*map(Text, cells), style=_STYLES.get(entry.kind, ""))
    return grid


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def _short(subject: str) -> str:
    """Return the first eight characters of a request ID, and other subjects unchanged."""
    return subject[:8] if subject.count("-") == _UUID_DASHES else subject


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(Text(line.rstrip("\n")), soft_wrap=True, highlight=False)
