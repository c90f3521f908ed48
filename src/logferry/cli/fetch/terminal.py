"""Output of the reading commands on stderr: progress, the question before an expensive read, and what was read.

Guarantees:
- stdout has only results, so that it can be piped. Progress needs a terminal.
- After each read, stderr has one line with objects, bytes, time, requests and their price.
- Unreadable objects and objects of other programs are named.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from logferry.cli.console import counted
from logferry.cli.fetch.fetch import Dialogue, Fetched, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from logferry.cli.fetch.selection import Selection

SHOWN = 5
"""Maximum number of unreadable objects that are named."""
MAX_CLOCK_OFFSET = timedelta(minutes=1)
"""Difference between the clocks above which a warning is printed."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def error_console() -> Console:
    """Return the console of stderr."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def read(url: str, selection: Selection, *, yes: bool, raw_only: bool = False, fallback: str = "") -> Fetched:
    """Fetch a selection with progress on stderr. `yes` confirms an expensive read. Raise DestinationError."""
    console = error_console()
    with _progress(console) as (progress, bar):
        dialogue = replace(progress, confirm=_confirmation(bar, yes=yes))
        return fetch(url, selection, dialogue=dialogue, raw_only=raw_only, fallback=fallback)


def show_usage(fetched: Fetched, seconds: float, unreadable: Sequence[tuple[str, str]]) -> None:
    """Print what was read and what it cost, and the objects that are not in the result."""
    console = error_console()
    for key, reason in unreadable[:SHOWN]:
        console.print(f"unreadable, not in the result: {key} ({reason})", style="red", markup=False)
    if len(unreadable) > SHOWN:
        console.print(f"... and {counted(len(unreadable) - SHOWN, 'more unreadable object')}", style="red")
    if fetched.foreign:
        text = f"ignored: {counted(len(fetched.foreign), 'object')} of another program, such as {fetched.foreign[0]}"
        console.print(text, style="yellow", markup=False)
    if fetched.late:
        console.print(
            f"{counted(fetched.late, 'object')} stored after the compaction of their hour: run `logferry compact`"
        )
    if warning := clock_warning(fetched.clock_offset):
        console.print(warning, style="yellow")
    console.print(usage_line(fetched, seconds), style="dim", markup=False)


def clock_warning(offset: timedelta) -> str:
    """Return a sentence if the clock of this machine differs from that of S3, or an empty string."""
    if abs(offset) < MAX_CLOCK_OFFSET:
        return ""
    state = "slow" if offset > timedelta() else "fast"
    return (
        f"the clock of this machine is {abs(offset).total_seconds():.0f} s {state}, compared with that of S3, and "
        "--since is relative to it: set it, for example with NTP"
    )


def usage_line(fetched: Fetched, seconds: float) -> str:
    """Return one line with the objects, their size, the time, the requests and the price."""
    parts = [f"{counted(len(fetched.objects), 'object')} ({size_text(fetched.bytes)})"]
    if fetched.compacted:
        parts.append(f"{counted(len(fetched.compacted), 'Parquet file')}")
    usage = fetched.usage
    text = f"{', '.join(parts)}; {seconds:.1f} s, cached {usage.cached:,}"
    return f"{text}; {usage}" if fetched.url.startswith("s3:") else f"{', '.join(parts)}; {seconds:.1f} s"


def size_text(size: float) -> str:
    """Return a number of bytes with a binary unit, such as `9.3 MiB`."""
    for unit in _UNITS[:-1]:
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} {_UNITS[-1]}"


@contextmanager
def _progress(console: Console) -> Iterator[tuple[Dialogue, Progress]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("list", total=None)

        def listed(count: int) -> None:
            bar.update(task, description="list", completed=count)

        def fetched(done: int, total: int) -> None:
            bar.update(task, description="fetch", completed=done, total=total)

        yield Dialogue(listed=listed, fetched=fetched), bar


def _confirmation(bar: Progress, *, yes: bool) -> Callable[[str], bool] | None:
    """Return the function that asks, or None without a terminal."""
    if yes:
        return lambda _: True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        bar.stop()
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip().lower() in {"y", "yes"}
        bar.start()
        return answer

    return ask
