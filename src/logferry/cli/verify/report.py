"""The report of `logferry verify` on a terminal: environments, unreadable objects, losses, verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from logferry.cli.console import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from logferry.cli.verify.checked_object import Loss, PlatformLoss, Processed
    from logferry.cli.verify.completeness import EnvironmentReport, Report

ROWS = 20
"""Maximum number of environments and of unreadable objects shown, faulty ones first."""

ENVIRONMENT_CHARACTERS = 16
"""Length of an environment's name, as the supervisor generates it."""
_TO_THE_SECOND = len("2026-11-21T02:26:24")


def show(report: Report) -> None:
    """Print the report."""
    console = Console()
    for part in render(report):
        console.print(part, soft_wrap=isinstance(part, Text))  # a sentence is one line, for grep


def show_mistake(sentence: str, *, on_stderr: bool) -> None:
    """Print the sentence about a destination that cannot be read."""
    Console(stderr=on_stderr).print(Text(sentence, style="bold red"), soft_wrap=True)


def render(report: Report) -> list[RenderableType]:
    """Return the report for a terminal: environments, unreadable objects, sums, verdict."""
    parts: list[RenderableType] = []
    if report.environments:
        parts += [_table(report.environments), *_unshown(len(report.environments), "environment"), Text()]
    parts += [Text(f"unreadable: {key}: {reason}", style="red") for key, reason in report.unreadable[:ROWS]]
    parts += _unshown(len(report.unreadable), "unreadable object")
    parts += [Text(sentence) for sentence in _sums(report)]
    return [*parts, _verdict(report)]


def _table(environments: Sequence[EnvironmentReport]) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    table.add_column("environment", overflow="fold", min_width=ENVIRONMENT_CHARACTERS)
    for name in ("segments", "records"):
        table.add_column(name, justify="right", min_width=len(name))
    table.add_column("from, to (UTC)", no_wrap=True)
    for name in ("end", "twice", "missing", "lost"):
        table.add_column(name, overflow="fold", min_width=max(len(name), len("final")))
    for each in sorted(environments, key=lambda each: (each.complete, not each.losses, each.environment))[:ROWS]:
        table.add_row(*(Text(cell) for cell in _row(each)), style="" if each.complete else "red")
    return table


def _row(each: EnvironmentReport) -> list[str]:
    """Return the cells of an environment. Missing and lost segments are shown by number."""
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
    """Return one sentence for each fact that is not a fault but limits the result."""
    lost = [loss for each in report.environments for loss in each.losses]
    still_open = sum(not each.ended for each in report.environments)
    platform = report.platform_lost
    sentences = []
    if report.foreign:
        sentences.append(
            f"Ignored: {counted(len(report.foreign), 'object')} of another program, such as {report.foreign[0]}"
        )
    if report.window.is_limited and not report.names_only:
        sentences.append(f"Verified: segments with records {report.window}, and those between them.")
    if lost:
        sentences.append(
            f"Reported lost by logferry: {_amount(lost)} in "
            f"{counted(sum(each.lost_segments for each in report.environments), 'segment')}."
        )
        sentences += [f"Reason: {reason}" for reason in dict.fromkeys(loss.reason for loss in lost if loss.reason)][
            :ROWS
        ]
    if platform.records or platform.bytes:
        sentences.append(f"Dropped by the platform before delivery: {_amount([platform])}.")
    sentences += _processed(report.processed)
    if report.kept_segments:
        sentences.append(
            f"Not read now: {counted(report.kept_segments, 'segment')}, "
            "proven when they were compacted or by an earlier run."
        )
    if report.names_only:
        sentences.append(
            "Verified: the segments by the names of the objects. Lines, reported losses and the end of an environment "
            "are in the objects: verify them without --keys."
        )
    elif still_open:
        sentences.append(
            f"Without a final object: {counted(still_open, 'environment')}, still running or ended without SHUTDOWN. "
            "Records after its last object cannot be verified."
        )
    return sentences


def _processed(counts: Processed) -> Iterator[str]:
    """Yield one sentence for each count of filtered, masked and failed records."""
    if counts.filtered:
        yield f"Not stored because of the settings: {counted(counts.filtered, 'record')}."
    if counts.masked:
        yield f"Stored with masked parts: {counted(counts.masked, 'record')}."
    if counts.failed:
        yield (
            f"A rule of LOGFERRY_MASK, INCLUDE or EXCLUDE failed for {counted(counts.failed, 'record')}; masking has "
            "replaced them. Report this as a fault of logferry."
        )


def _amount(lost: Sequence[Loss | PlatformLoss]) -> str:
    records, size = sum(each.records for each in lost), sum(each.bytes for each in lost)
    return f"{counted(records, 'record')} ({counted(size, 'byte')})"


def _verdict(report: Report) -> RenderableType:
    records = sum(each.records for each in report.environments)
    objects = counted(report.objects, "object")
    held = f"{counted(records, 'record')}, {counted(len(report.environments), 'environment')}"
    if report.names_only:
        return _verdict_of_names(report, objects)
    if report.status == 1:
        segments = sum(each.missing for each in report.environments)
        lines = sum(each.missing_lines for each in report.environments)
        duplicated = sum(each.duplicates for each in report.environments)
        fault = (
            f"INCOMPLETE: {counted(segments, 'segment')} missing, {counted(lines, 'line')} missing, "
            f"{counted(duplicated, 'line')} duplicated ({objects}, {held})."
        )
        hint = " Verify the prefix of LOGFERRY_DESTINATION: the segments of an environment can have several dates."
        if any(gap.start == 1 for each in report.environments for gap in each.missing_segments):
            hint = " If a lifecycle rule deletes objects, or for a part of the prefix, use --since."
        return Text(fault + (hint if segments else ""), style="bold red")
    if not report.objects and not report.kept_segments:
        where = "none has records in the window" if report.window.is_limited else "check the prefix"
        return Text(f"NO OBJECTS: {where}", style="bold red")
    if report.unreadable:
        text = f"UNREADABLE: {len(report.unreadable)} of {objects} ({held})."
        return Text(text, style="bold red")
    return Text(f"COMPLETE: no missing and no duplicate records ({objects}, {held}).", style="bold green")


def _verdict_of_names(report: Report, objects: str) -> RenderableType:
    held = f"{objects}, {counted(len(report.environments), 'environment')}"
    if report.status == 1:
        missing = sum(each.missing for each in report.environments)
        copies = sum(each.duplicates for each in report.environments)
        text = f"INCOMPLETE: {counted(missing, 'segment')} missing, {counted(copies, 'object')} duplicated ({held})."
        hint = " A segment that a logferry.dropped record reports lost is missing here too." if missing else ""
        return Text(text + hint, style="bold red")
    if not report.objects:
        return Text("NO OBJECTS: no name has an environment and a segment; check the prefix", style="bold red")
    return Text(f"COMPLETE: no segment is missing ({held}).", style="bold green")
