"""Terminal output shared by the commands: numbers with their nouns, and a progress bar."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Give the function that moves the bar by one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def step() -> None:
            bar.advance(task)

        yield step


def counted(number: int, noun: str) -> str:
    """Return `1 segment`, `2 segments` or `0 segments`, for nouns that take an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
