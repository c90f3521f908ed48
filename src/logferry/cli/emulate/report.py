"""Terminal output of a session: the timeline and a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from logferry.cli.console import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from logferry.cli.emulate.outcome import Outcome
    from logferry.emulator.timeline import Entry

_STYLES = {
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
_UUID_DASHES = 4
_HEAD, _TAIL = 60, 25
"""Entries of a long session that are shown, from its start and from its end. Those between repeat
the same steps."""


def show_timeline(console: Console, entries: Sequence[Entry]) -> None:
    """Print the timeline in milliseconds since the start."""
    console.rule("timeline")
    if len(entries) <= _HEAD + _TAIL:
        _print(console, entries)
        return
    _print(console, entries[:_HEAD])
    console.print(f"            … {len(entries) - _HEAD - _TAIL} more …", style="dim")
    _print(console, entries[-_TAIL:])


def _print(console: Console, entries: Iterable[Entry]) -> None:
    for entry in entries:
        details = "  ".join(f"{name} {value}" for name, value in entry.detail.items() if name not in ("argv", "pid"))
        line = Text(
            f"{entry.at_ms:10.1f}  {entry.kind:<13}{_short(entry.subject):<13}", style=_STYLES.get(entry.kind, "")
        )
        line.append(details, style="dim")
        console.print(line, no_wrap=True, overflow="ellipsis")


def _short(subject: str) -> str:
    """Return the first eight characters of a request ID, and other subjects unchanged."""
    return subject[:8] if subject.count("-") == _UUID_DASHES else subject


def show_summary(console: Console, outcome: Outcome, *, objects: int | None) -> None:
    """Print the figures that decide about the exit status."""
    table = Table(title="summary", show_header=False, title_justify="left")
    table.add_row("invocations", f"{len(outcome.invocations)}, failed {outcome.failed}")
    table.add_row(
        "records",
        f"{outcome.records_sent} sent, {outcome.records_delivered} delivered, {outcome.records_dropped} dropped",
    )
    if objects is not None:
        table.add_row("objects", str(objects))
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
