"""`logferry compact`: plan, confirm, write, delete, and the report.

Guarantees: the exit status is 0 if everything that is due was written or nothing was to be done, 1 if
a partition was refused, 2 if the destination cannot be read or written. Without `--run`, no object is
written or deleted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from logferry.cli.compact.compactor import Compactor, Result, day_plans, list_state, plans
from logferry.cli.compact.deletion import Deletable, deletable
from logferry.cli.compact.open_store import open_store
from logferry.cli.console import counted, progress
from logferry.cli.fetch.fetch import open_source
from logferry.cli.fetch.request_usage import RequestUsage, check_price
from logferry.cli.fetch.selection import Selection
from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logferry.cli.compact.compactor import State
    from logferry.cli.compact.partition import Plan

GRACE = timedelta(hours=2)
"""Time after the end of an hour until it is compacted. Records of an hour can be stored late."""
DELETE_GRACE = timedelta(days=7)
"""Age of a compacted file until its raw objects may be deleted."""
ROWS = 20
"""Largest number of partitions and of reasons that are shown."""


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    selection: Selection = Selection()  # noqa: RUF009 - it is frozen
    run: bool = False
    grace: timedelta = GRACE
    delete_proven: bool = False
    delete_grace: timedelta = DELETE_GRACE
    now: datetime | None = None


@dataclass
class Report:
    """The result of a run, or of a dry run."""

    url: str
    is_dry: bool
    planned: Sequence[Plan]
    days: Sequence[Plan]
    result: Result
    deletion: Deletable
    not_deleted: Sequence[tuple[str, str]]
    up_to_date: int
    unplaced: int
    usage: RequestUsage

    @property
    def status(self) -> int:
        """The exit status."""
        return 1 if self.result.refused else 0


async def compact(
    url: str,
    options: Options,
    *,
    confirm: Callable[[str], bool] | None = None,
    update: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Compact a destination. Raise DestinationError."""
    now = options.now or datetime.now(UTC)
    async with open_source(url) as source:
        state = await list_state(source, options.selection)
        planned = plans(state, options.selection, now=now, grace=options.grace)
        days = [] if planned else day_plans(state, now=now, grace=options.grace)
        result, deletion, not_deleted = Result(), Deletable(), list[tuple[str, str]]()
        joined_hours = any(state.is_joined(partition) for partition in state.files)
        if options.run and (planned or days or joined_hours or options.delete_proven):
            wanted = [each for plan in planned for each in plan.new]
            if not source.is_local:
                check_price(sum(not source.is_cached(each) for each in wanted), confirm)
            async with open_store(url) as store:
                compactor = Compactor(source, store, state)
                result = await compactor.write(planned, update)
                if planned:  # the files of hours, from which those of days are made
                    state = await list_state(source, options.selection)
                    days = day_plans(state, now=now, grace=options.grace)
                compactor = Compactor(source, store, state)
                joined = await compactor.write(days, update)
                result.written += joined.written
                result.refused += joined.refused
                if days:
                    state = await list_state(source, options.selection)
                await Compactor(source, store, state).remove_joined()
                if options.delete_proven:
                    deletion = _deletable(state, options, now)
                    not_deleted = await store.delete(deletion.objects)
        elif options.delete_proven:
            deletion = _deletable(state, options, now)
        todo = {each.partition for each in planned}
        up_to_date = sum(partition not in todo and not state.is_joined(partition) for partition in state.files)
        return Report(
            url, not options.run, planned, days, result, deletion, not_deleted, up_to_date, state.unplaced, source.usage
        )


def _deletable(state: State, options: Options, now: datetime) -> Deletable:
    selected = [
        each for each in state.files if options.selection.has_function(each.function) and not state.is_joined(each)
    ]
    return deletable(state, sorted(selected), now=now, grace=options.delete_grace)


def run_compact(url: str, options: Options, *, as_json: bool, yes: bool) -> int:
    """Compact a destination, print the report, and return the exit status."""
    console, errors = Console(), Console(stderr=True)
    try:
        with progress(errors, "compacting") as update:
            report = asyncio.run(compact(url, options, confirm=(lambda _: True) if yes else None, update=update))
    except DestinationError as error:
        errors.print(Text(str(error), style="bold red"), soft_wrap=True)
        return 2
    if as_json:
        sys.stdout.write(json.dumps(as_values(report), indent=2) + "\n")
    else:
        _show(console, report)
    errors.print(Text(str(report.usage)))
    return report.status


def as_values(report: Report) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "destination": report.url,
        "dry_run": report.is_dry,
        "planned": [{"partition": vars(e.partition), "objects": len(e.new)} for e in [*report.planned, *report.days]],
        "written": [
            {"partition": vars(e.plan.partition), "objects": len(e.plan.inputs), "rows": e.rows, "bytes": e.size}
            for e in report.result.written
        ],
        "refused": [{"partition": vars(partition), "reason": reason} for partition, reason in report.result.refused],
        "up_to_date": report.up_to_date,
        "unplaced": report.unplaced,
        "deletable": len(report.deletion.objects),
        "deleted": 0 if report.is_dry else len(report.deletion.objects) - len(report.not_deleted),
        "kept": [{"partition": vars(partition), "reason": reason} for partition, reason in report.deletion.kept],
        "not_deleted": [{"name": name, "reason": reason} for name, reason in report.not_deleted],
    }


def _show(console: Console, report: Report) -> None:
    """Print the report: partitions, refusals, deletions, and the result in the last line."""
    if report.is_dry and report.planned:
        console.print(_plan_table(report.planned))
    if report.result.written:
        console.print(_written_table(report))
    for partition, reason in report.result.refused[:ROWS]:
        console.print(Text(f"refused: {partition}: {reason}", style="red"), soft_wrap=True)
    for partition, reason in report.deletion.kept[:ROWS]:
        console.print(Text(f"raw objects kept: {partition}: {reason}"), soft_wrap=True)
    for name, reason in report.not_deleted[:ROWS]:
        console.print(Text(f"not deleted: {name}: {reason}", style="red"), soft_wrap=True)
    if report.unplaced:
        ignored = f"Ignored: {counted(report.unplaced, 'object')} without function, date and hour in the key"
        console.print(Text(f"{ignored} (LOGFERRY_KEY has another template)."), soft_wrap=True)
    console.print(Text(_verdict(report), style="bold"), soft_wrap=True)


def _verdict(report: Report) -> str:
    deleted = len(report.deletion.objects) - len(report.not_deleted)
    done = f"{counted(report.up_to_date, 'partition')} up to date"
    if report.is_dry:
        todo = counted(len(report.planned) + len(report.days), "file")
        objects = counted(sum(len(each.new) for each in report.planned), "object")
        deletions = f", and delete {counted(deleted, 'raw object')}" if deleted else ""
        if not report.planned and not report.days and not deleted:
            return f"NOTHING TO DO: {done}."
        return f"DRY RUN: nothing was changed. With --run, this writes {todo} from {objects}{deletions} ({done})."
    deletions = f", {counted(deleted, 'raw object')} deleted" if deleted else ""
    written = counted(len(report.result.written), "file")
    text = f"{written} written, {len(report.result.refused)} refused{deletions} ({done})."
    return f"REFUSED: {text}" if report.result.refused else f"COMPACTED: {text}"


def _plan_table(planned: Sequence[Plan]) -> Table:
    table = _table(("function", "date", "hour", "objects", "bytes"))
    for each in planned[:ROWS]:
        size = sum(listed.size for listed in each.new)
        table.add_row(*_place(each), f"{len(each.new):,}", f"{size:,}")
    if len(planned) > ROWS:
        table.add_row("...", f"{len(planned) - ROWS} more", "", "", "")
    return table


def _written_table(report: Report) -> Table:
    table = _table(("function", "date", "hour", "objects", "rows", "bytes"))
    for each in report.result.written[:ROWS]:
        table.add_row(*_place(each.plan), f"{len(each.plan.inputs):,}", f"{each.rows:,}", f"{each.size:,}")
    if len(report.result.written) > ROWS:
        table.add_row("...", f"{len(report.result.written) - ROWS} more", "", "", "", "")
    return table


def _table(names: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in {"objects", "rows", "bytes"} else "left", overflow="fold")
    return table


def _place(plan: Plan) -> tuple[Text, str, str]:
    return Text(plan.partition.function), plan.partition.dt, plan.partition.hour or "all"
