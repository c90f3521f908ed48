"""The report of `logferry verify`: environments, unreadable objects, losses, verdict.

Guarantees: the exit status is the verdict.
- 0: complete. No record is missing or duplicated, except for reported losses, which are shown.
- 1: incomplete. A record is missing or duplicated.
- 2: not verifiable. An object or the destination is unreadable, or there are no objects.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from logferry.cli.console import counted, progress
from logferry.cli.stored_objects import DestinationError
from logferry.cli.verify.names import verify_names
from logferry.cli.verify.verification import verify
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from logferry.cli.verify.completeness import EnvironmentReport, FallbackSummary, Report
    from logferry.cli.verify.object_check import Loss, PlatformLoss, Processed
    from logferry.cli.verify.window import Window

ROWS = 20
"""Maximum number of environments and of unreadable objects shown, faulty ones first."""

ENVIRONMENT_CHARACTERS = 16
"""Length of an environment's name, as the supervisor generates it."""
_TO_THE_SECOND = len("2026-11-21T02:26:24")


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    window: Window = EVERYTHING
    function: str = "*"
    names_only: bool = False
    state: Path | None = None
    fallback: str = ""
    yes: bool = False
    as_json: bool = False


def run_verify(destination: str, options: Options = Options()) -> int:
    """Verify a destination, print the report, and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # keys and metadata can contain surrogates
    console = Console(stderr=options.as_json)
    try:
        with progress(console, "reading names" if options.names_only else "reading objects") as update:
            report = asyncio.run(_verify(destination, options, console, update))
    except DestinationError as error:
        console.print(Text(str(error), style="bold red"), soft_wrap=True)
        return 2
    if options.as_json:
        sys.stdout.write(json.dumps(as_values(report), indent=2) + "\n")
        return report.status
    for part in render(report):
        console.print(part, soft_wrap=isinstance(part, Text))  # a sentence is one line, for grep
    return report.status


async def _verify(destination: str, options: Options, console: Console, update: Callable[[int, int], None]) -> Report:
    if options.names_only:
        return await verify_names(
            destination, options.window, function=options.function, fallback=options.fallback, update=update
        )
    confirm = (lambda _question: True) if options.yes else None
    if confirm is None and console.is_terminal and sys.stdin.isatty():
        confirm = _confirmed
    return await verify(
        destination,
        options.window,
        function=options.function,
        state=options.state,
        fallback=options.fallback,
        confirm=confirm,
        update=update,
    )


def _confirmed(question: str) -> bool:
    return Confirm.ask(question, default=False)


def as_values(report: Report) -> dict[str, Any]:
    """Return the report as JSON values. Ranges are pairs of the first and the last segment."""
    environments = [
        {
            **vars(each),
            "missing_segments": [[gap[0], gap[-1]] for gap in each.missing_segments],
            "losses": [{**vars(loss), "segments": [loss.segments[0], loss.segments[-1]]} for loss in each.losses],
        }
        for each in report.environments
    ]
    return {
        "status": report.status,
        "objects": report.objects,
        "kept_segments": report.kept_segments,
        "names_only": report.names_only,
        "since": report.window.since_text,
        "until": report.window.until_text,
        "open": sum(not each.ended for each in report.environments),
        "unreadable": [{"key": key, "reason": reason} for key, reason in report.unreadable],
        "platform_lost": vars(report.platform_lost),
        "foreign": report.foreign,
        "fallback": vars(report.fallback) if report.fallback else None,
        "environments": environments,
    }


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
    sentences += _fallback(report.fallback)
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


def _fallback(summary: FallbackSummary | None) -> Iterator[str]:
    """Yield the sentences about the fallback destination."""
    if summary is None:
        return
    copies = f", {summary.copies} of them copies of segments in the first one" if summary.copies else ""
    yield f"In the fallback destination {summary.destination}: {counted(summary.objects, 'object')}{copies}."
    for environment, segment in summary.different[:ROWS]:
        yield f"Different records in both destinations: segment {segment} of {environment}."


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
