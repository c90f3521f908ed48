"""Terminal output that the commands share: numbers with their nouns, and a progress bar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextmanager
def progress(console: Console, label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that draws the bar for a count and its total. The bar needs a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 - takes 15 ms

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


@contextmanager
def error_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the function of a bar on stderr, so that stdout has only the result of a command."""
    from rich.console import Console  # noqa: PLC0415 - takes 50 ms, and only a terminal needs it

    with progress(Console(stderr=True), label) as update:
        yield update


def counted(number: int, noun: str) -> str:
    """Return `1 segment`, `2 segments` or `1,000 segments`, for nouns with a regular plural."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
