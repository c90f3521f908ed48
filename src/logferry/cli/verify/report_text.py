"""The text of the report of `logferry verify`: environments, unreadable objects, losses, verdict. Pure.

Design: the parts are values, so that a terminal shows them with colours, and a pipe receives plain text
without a library. The import of rich would take a third of the time of the proof of 1,000 objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logferry.cli.console import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logferry.cli.verify.checked_object import Loss, PlatformLoss, Processed
    from logferry.cli.verify.completeness import EnvironmentReport, FallbackSummary, Report

ROWS = 20
"""Maximum number of environments and of unreadable objects shown, faulty ones first."""
COLUMNS = ("environment", "segments", "records", "from, to (UTC)", "end", "twice", "missing", "lost")
NUMBERS = ("segments", "records")
"""Columns that are aligned to the right."""
FAULT, FAILURE, SUCCESS = "red", "bold red", "bold green"
_TO_THE_SECOND = len("2026-11-21T02:26:24")


class Sentence(NamedTuple):
    """One line of the report, and its style on a terminal."""

    text: str
    style: str = ""


class EnvironmentTable(NamedTuple):
    """The cells of each shown environment, and the style of its row. A cell can have several lines."""

    rows: Sequence[tuple[Sequence[str], str]]


def parts_of(report: Report) -> list[Sentence | EnvironmentTable]:
    """Return the parts of a report in their order."""
    parts: list[Sentence | EnvironmentTable] = []
    if report.environments:
        table = _table(report.environments, names_only=report.names_only)
        parts += [table, *_unshown(len(report.environments), "environment"), Sentence("")]
    parts += [Sentence(f"unreadable: {key}: {reason}", FAULT) for key, reason in report.unreadable[:ROWS]]
    parts += _unshown(len(report.unreadable), "unreadable object")
    parts += [Sentence(sentence) for sentence in _sums(report)]
    return [*parts, _verdict(report)]


def plain_text(parts: Sequence[Sentence | EnvironmentTable]) -> str:
    """Return the parts as text without colours. The table is as wide as its cells."""
    return "".join(
        f"{part.text}\n" if isinstance(part, Sentence) else "".join(_plain_rows(part.rows)) for part in parts
    )


def _plain_rows(rows: Sequence[tuple[Sequence[str], str]]) -> Iterator[str]:
    cells = [[[name] for name in COLUMNS], *([cell.split("\n") for cell in row] for row, _ in rows)]
    widths = [max(len(line) for row in cells for line in row[column]) for column in range(len(COLUMNS))]
    for row in cells:
        for index in range(max(map(len, row))):
            line = [cell[index] if index < len(cell) else "" for cell in row]
            aligned = (
                text.rjust(width) if name in NUMBERS else text.ljust(width)
                for text, width, name in zip(line, widths, COLUMNS, strict=True)
            )
            yield " ".join(aligned).rstrip() + "\n"


def _table(environments: Sequence[EnvironmentReport], *, names_only: bool) -> EnvironmentTable:
    shown = sorted(environments, key=lambda each: (each.complete, not each.losses, each.environment))[:ROWS]
    return EnvironmentTable([(_row(each, names_only=names_only), "" if each.complete else FAULT) for each in shown])


def _row(each: EnvironmentReport, *, names_only: bool) -> list[str]:
    """Return the cells of an environment. Missing and lost segments are shown by number.

    With `names_only`, the records, their times and the end of the environment are not known.
    """
    missing = [_named(gap) for gap in each.missing_segments[:ROWS]]
    missing += [counted(each.missing_lines, "line")] if each.missing_lines else []
    lost = [_named(loss.segments) for loss in each.losses[:ROWS]]
    return [
        each.environment,
        str(each.segments),
        "-" if names_only else str(each.records),
        "-"
        if names_only
        else "\n".join(time[:_TO_THE_SECOND].replace("T", " ") for time in (each.first_time, each.last_time)),
        "-" if names_only else "final" if each.ended else "open",
        counted(each.duplicates, "object" if names_only else "line") if each.duplicates else "-",
        ", ".join(missing) or "-",
        ", ".join(lost) or "-",
    ]


def _named(segments: range) -> str:
    return str(segments[0]) if len(segments) == 1 else f"{segments[0]}-{segments[-1]}"


def _unshown(count: int, noun: str) -> list[Sentence]:
    return [Sentence(f"... and {counted(count - ROWS, f'more {noun}')}")] if count > ROWS else []


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


def _verdict(report: Report) -> Sentence:
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
        return Sentence(fault + (hint if segments else ""), FAILURE)
    if not report.objects and not report.kept_segments:
        where = "none has records in the window" if report.window.is_limited else "check the prefix"
        return Sentence(f"NO OBJECTS: {where}", FAILURE)
    if report.unreadable:
        text = f"UNREADABLE: {len(report.unreadable)} of {objects} ({held})."
        return Sentence(text, FAILURE)
    return Sentence(f"COMPLETE: no missing and no duplicate records ({objects}, {held}).", SUCCESS)


def _verdict_of_names(report: Report, objects: str) -> Sentence:
    held = f"{objects}, {counted(len(report.environments), 'environment')}"
    if report.status == 1:
        missing = sum(each.missing for each in report.environments)
        copies = sum(each.duplicates for each in report.environments)
        text = f"INCOMPLETE: {counted(missing, 'segment')} missing, {counted(copies, 'object')} duplicated ({held})."
        hint = " A segment that a logferry.dropped record reports lost is missing here too." if missing else ""
        return Sentence(text + hint, FAILURE)
    if not report.objects:
        return Sentence("NO OBJECTS: no name has an environment and a segment; check the prefix", FAILURE)
    return Sentence(f"COMPLETE: no segment is missing ({held}).", SUCCESS)
