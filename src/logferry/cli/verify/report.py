"""``logferry verify``: read a destination back and say whether anything is missing or there twice.

The exit status is the verdict: 0, nothing is missing (but for what was reported lost, which is shown) and nothing is
there twice; 1, something is; 2, it could not be judged: an object or the destination could not be read, or nothing is
there.
"""

from __future__ import annotations

import asyncio
import io
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from logferry.cli.console import counted
from logferry.cli.object_reader import DestinationError, open_destination, read_all
from logferry.cli.verify.completeness import Report, judge
from logferry.cli.verify.object_check import examine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from logferry.cli.object_reader import ReadObject, UnreadableObject
    from logferry.cli.verify.completeness import EnvironmentReport
    from logferry.cli.verify.object_check import Examined, Loss, PlatformLoss

ROWS = 20
"""Environments and unreadable objects shown; what is wrong comes first. A screen, not a listing."""

ENVIRONMENT_CHARACTERS = 16
"""Of the name that the supervisor draws."""
_TO_THE_SECOND = len("2026-11-21T02:26:24")


async def verify(destination: str, *, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Report:
    """Read every object under a destination (``s3://bucket/prefix``, ``file:///directory``) and judge them together.

    ``progress`` is told how many objects have been read, and of how many. Raises ``DestinationError``.
    """
    examined: list[Examined] = []
    async with open_destination(destination) as opened:
        keys = await opened.keys()

        def take(stored: ReadObject | UnreadableObject) -> None:
            examined.append(examine(stored))
            progress(len(examined), len(keys))

        await read_all(opened, keys, take)
    return judge(examined)


def run_verify(destination: str) -> int:
    """Verify a destination, print the report, with progress on a terminal, and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # keys and metadata may be no text at all
    console = Console()
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("objects"))
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("reading", total=None)

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            report = asyncio.run(verify(destination, progress=progress))
    except DestinationError as error:
        console.print(Text(str(error), style="bold red"))
        return 2
    for part in render(report):
        console.print(part, soft_wrap=isinstance(part, Text))  # a sentence is one line, for grep and for the eye
    return report.status


def render(report: Report) -> list[RenderableType]:
    """Return the report for a terminal: environments, unreadable objects, sums, and the verdict last."""
    parts: list[RenderableType] = []
    if report.environments:
        parts += [_table(report.environments), *_unshown(len(report.environments), "environment"), Text()]
    parts += [Text(f"unreadable: {key}: {reason}", style="red") for key, reason in report.unreadable[:ROWS]]
    parts += _unshown(len(report.unreadable), "unreadable object")
    parts += [Text(sentence) for sentence in _sums(report)]
    return [*parts, _verdict(report)]


def _table(environments: Sequence[EnvironmentReport]) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns hold it
    table.add_column("environment", overflow="fold", min_width=ENVIRONMENT_CHARACTERS)
    for name in ("segments", "records"):
        table.add_column(name, justify="right", min_width=len(name))
    table.add_column("from, to (UTC)", no_wrap=True)
    for name in ("end", "twice", "missing", "lost"):
        table.add_column(name, overflow="fold", min_width=max(len(name), len("final")))
    for each in sorted(environments, key=lambda each: (each.proven, not each.losses, each.environment))[:ROWS]:
        table.add_row(*(Text(cell) for cell in _row(each)), style="" if each.proven else "red")
    return table


def _row(each: EnvironmentReport) -> list[str]:
    """The cells of an environment; what is missing or lost by the numbers of segments."""
    missing = [_named(gap) for gap in each.missing_segments[:ROWS]]
    missing += [counted(each.missing_lines, "line")] if each.missing_lines else []
    lost = [_named(loss.segments) for loss in each.losses[:ROWS]]
    return [
        each.environment,
        str(each.segments),
        str(each.records),
        "\n".join(time[:_TO_THE_SECOND].replace("T", " ") for time in (each.first_time, each.last_time)),
        "final" if each.ended else "open",
        counted(each.duplicates, "line") if each.duplicates else "-",
        ", ".join(missing) or "-",
        ", ".join(lost) or "-",
    ]


def _named(segments: range) -> str:
    return str(segments[0]) if len(segments) == 1 else f"{segments[0]}-{segments[-1]}"


def _unshown(count: int, noun: str) -> list[RenderableType]:
    return [Text(f"... and {counted(count - ROWS, f'more {noun}')}")] if count > ROWS else []


def _sums(report: Report) -> list[str]:
    """Return one sentence for each thing that is not wrong, and that a reader must know all the same."""
    lost = [loss for each in report.environments for loss in each.losses]
    still_open = sum(not each.ended for each in report.environments)
    platform = report.platform_lost
    sentences = []
    if lost:
        sentences.append(
            f"Reported lost by logferry: {_amount(lost)} in "
            f"{counted(sum(each.lost_segments for each in report.environments), 'segment')}."
        )
        sentences += [f"Why: {reason}" for reason in dict.fromkeys(loss.reason for loss in lost if loss.reason)][:ROWS]
    if platform.records or platform.bytes:
        sentences.append(f"Dropped by the platform before reaching logferry: {_amount([platform])}.")
    if still_open:
        sentences.append(
            f"Without a final object: {counted(still_open, 'environment')}, still open or ended without SHUTDOWN; "
            "what came after the last object cannot be known from here."
        )
    return sentences


def _amount(lost: Sequence[Loss | PlatformLoss]) -> str:
    records, size = sum(each.records for each in lost), sum(each.bytes for each in lost)
    return f"{counted(records, 'record')} ({counted(size, 'byte')})"


def _verdict(report: Report) -> RenderableType:
    records = sum(each.records for each in report.environments)
    objects = counted(report.objects, "object")
    held = f"{counted(records, 'record')}, {counted(len(report.environments), 'environment')}"
    if report.status == 1:
        segments = sum(each.missing for each in report.environments)
        lines = sum(each.missing_lines for each in report.environments)
        twice = sum(each.duplicates for each in report.environments)
        wrong = (
            f"NOT PROVEN: missing are {counted(segments, 'segment')} and {counted(lines, 'line')}, "
            f"there twice {counted(twice, 'line')} ({objects}, {held})."
        )
        hint = " Was the whole prefix of the destination read? An environment's segments may lie under several dates."
        return Text(wrong + (hint if segments else ""), style="bold red")
    if not report.objects:
        return Text("NOTHING TO JUDGE: there are no objects here; is the prefix right?", style="bold red")
    if report.unreadable:
        unread = f"NOT JUDGED: {len(report.unreadable)} of {objects} could not be read ({held})."
        return Text(unread, style="bold red")
    return Text(f"PROVEN: nothing is missing, nothing is there twice ({objects}, {held}).", style="bold green")
