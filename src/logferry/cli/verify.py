"""``logferry verify``: read a destination back and say whether anything is missing or there twice.

The exit status is the verdict: 0, nothing is missing (but for what was reported lost, which is shown) and nothing is
there twice; 1, something is; 2, it could not be judged: an object or the destination could not be read, or nothing is
there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from logferry.cli.examine import examine
from logferry.cli.objects import DestinationError, open_destination, read_all
from logferry.cli.proof import Report, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from logferry.cli.examine import Examined
    from logferry.cli.objects import ReadObject, UnreadableObject
    from logferry.cli.proof import EnvironmentReport

ROWS = 20
"""Environments and unreadable objects shown; what is wrong comes first. A screen, not a listing."""

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
        parts += [_table(report.environments), *_unshown(len(report.environments), "environments"), Text()]
    parts += [Text(f"unreadable: {key}: {reason}", style="red") for key, reason in report.unreadable[:ROWS]]
    parts += _unshown(len(report.unreadable), "unreadable objects")
    parts += [Text(sentence) for sentence in _sums(report)]
    return [*parts, _verdict(report)]


def _table(environments: Sequence[EnvironmentReport]) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("environment", overflow="fold")
    for name in ("segments", "records"):
        table.add_column(name, justify="right", min_width=len(name))
    table.add_column("from, to (UTC)", no_wrap=True)
    for name in ("missing", "twice", "reported lost", "end"):
        table.add_column(name, overflow="fold")
    for each in sorted(environments, key=lambda each: (each.proven, not each.losses, each.environment))[:ROWS]:
        table.add_row(*(Text(cell) for cell in _row(each)), style="" if each.proven else "red")
    return table


def _row(each: EnvironmentReport) -> list[str]:
    missing = [f"segment {_numbers(gap)}" for gap in each.missing_segments[:ROWS]]
    missing += [f"{each.missing_lines} lines"] if each.missing_lines else []
    lost = [f"segment {loss.segment}: {loss.records} records ({loss.reason})" for loss in each.losses[:ROWS]]
    return [
        each.environment,
        str(each.segments),
        str(each.records),
        "\n".join(time[:_TO_THE_SECOND].replace("T", " ") for time in (each.first_time, each.last_time)),
        ", ".join(missing) or "-",
        f"{each.duplicates} lines" if each.duplicates else "-",
        ", ".join(lost) or "-",
        "final" if each.ended else "open",
    ]


def _numbers(gap: range) -> str:
    return str(gap[0]) if len(gap) == 1 else f"{gap[0]}-{gap[-1]}"


def _unshown(count: int, of_what: str) -> list[RenderableType]:
    return [Text(f"... and {count - ROWS} more {of_what}")] if count > ROWS else []


def _sums(report: Report) -> list[str]:
    """Return one sentence for each thing that is not wrong, and that a reader must know all the same."""
    lost = [loss for each in report.environments for loss in each.losses]
    still_open = sum(not each.ended for each in report.environments)
    platform = report.platform_lost
    sentences = []
    if lost:
        sentences.append(
            f"Reported lost by logferry: {sum(loss.records for loss in lost)} records "
            f"({sum(loss.bytes for loss in lost)} bytes) in {len(lost)} segments."
        )
    if platform.records or platform.bytes:
        sentences.append(
            f"Dropped by the platform before reaching logferry: {platform.records} records ({platform.bytes} bytes)."
        )
    if still_open:
        sentences.append(
            f"Without a final object: {still_open} environments, still open or ended without SHUTDOWN; "
            "what they held beyond their last object cannot be known from here."
        )
    return sentences


def _verdict(report: Report) -> RenderableType:
    records = sum(each.records for each in report.environments)
    read = f"{report.objects} objects, {records} records, {len(report.environments)} environments"
    if report.status == 1:
        segments = sum(each.missing for each in report.environments)
        lines = sum(each.missing_lines for each in report.environments)
        twice = sum(each.duplicates for each in report.environments)
        wrong = (
            f"NOT PROVEN: {segments} segments and {lines} lines are missing, {twice} lines are there twice ({read})."
        )
        hint = " Was the whole prefix of the destination read? An environment's segments may lie under several dates."
        return Text(wrong + (hint if segments else ""), style="bold red")
    if not report.objects:
        return Text("NOTHING TO JUDGE: there are no objects here; is the prefix right?", style="bold red")
    if report.unreadable:
        return Text(f"NOT JUDGED: {len(report.unreadable)} of {read} could not be read.", style="bold red")
    return Text(f"PROVEN: nothing is missing, nothing is there twice ({read}).", style="bold green")
