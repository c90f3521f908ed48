"""`logferry tail`: print new records until Ctrl-C.

Exit status: 0 after Ctrl-C, 2 the destination cannot be read, or the options are invalid.

Design: S3 sends no event without additional services, so the destination is listed every 1 to 5 s.
Objects are parsed line by line, because DuckDB takes longer to start than a poll has time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from logferry.cli.fetch.concurrency import gathered
from logferry.cli.fetch.download import download
from logferry.cli.fetch.fetch import open_source
from logferry.cli.fetch.request_usage import RequestUsage, usd_text
from logferry.cli.fetch.selection import COMPACT, ListRange
from logferry.cli.fetch.terminal import clock_warning, error_console
from logferry.cli.logs.line_format import LineFormat, LogLine
from logferry.cli.logs.record_text import is_hidden
from logferry.cli.object_names import is_marker
from logferry.cli.stored_objects import TransientDestinationError
from logferry.cli.tail import silence
from logferry.cli.tail.follow import MAX_WAIT_SECONDS, Follower, NewObject
from logferry.cli.tail.object_lines import read_lines

if TYPE_CHECKING:
    import re

    from logferry.cli.fetch.selection import Selection
    from logferry.cli.fetch.source import ListedObject, Source

DISCOVERY_SECONDS = 60.0
"""Time between two lists of the functions, in seconds. A literal name needs none."""
MAX_FAILURES = 20
"""Number of consecutive polls without a connection, or with throttling, after which the command ends."""
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class View:
    """Which lines are shown, and how."""

    grep: re.Pattern[str] | None = None
    highlight: re.Pattern[str] | None = None
    platform: bool = False
    as_json: bool = False


class Tail:
    """The loop of one command."""

    def __init__(self, source: Source, selection: Selection, view: View) -> None:
        self._source = source
        self._selection = selection
        self._view = view
        self._format = LineFormat(Console(highlight=False), highlighted=(view.grep, view.highlight))
        self._errors = error_console()
        self._functions: list[str] = []
        self._others = False
        self._discovered: datetime | None = None
        self._silent_since = self._now()
        self._next_reason = silence.FIRST_SECONDS
        self._follower = Follower(since=selection.window.since, started=self._now())

    async def run(self) -> None:
        """Poll until the task is cancelled. Raise DestinationError."""
        await self._discover()
        if warning := clock_warning(self._source.clock_offset):
            self._errors.print(warning, style="yellow")
        failures = 0
        while True:
            try:
                await self.poll()
                failures = 0
            except TransientDestinationError as error:
                failures += 1
                if failures >= MAX_FAILURES:
                    raise
                self._errors.print(f"{error}; attempt {failures} of {MAX_FAILURES}", style="yellow", markup=False)
            await asyncio.sleep(self._follower.wait_seconds if not failures else MAX_WAIT_SECONDS)

    async def poll(self) -> int:
        """List, fetch and print once. Return the number of new objects."""
        now = self._now()
        if self._discovered is None or (now - self._discovered).total_seconds() >= DISCOVERY_SECONDS:
            await self._discover()
        entries = await self._list(now)
        new = self._follower.take(entries, now)
        if new:
            await self._show(new)
            self._silent_since, self._next_reason = now, silence.FIRST_SECONDS
        else:
            self._explain(now)
        return len(new)

    def _now(self) -> datetime:
        """Return the time of S3's clock."""
        return datetime.now(UTC) + self._source.clock_offset

    async def _discover(self) -> None:
        """Find the functions that match. Other folders are listed completely in each poll."""
        literal = self._selection.literal_function
        if literal:
            self._functions = [literal]
            self._discovered = datetime.max.replace(tzinfo=UTC)
            return
        root = await self._source.folder("")
        names = [
            folder.rstrip("/").removeprefix("function=") for folder in root.folders if folder.startswith("function=")
        ]
        self._functions = [name for name in names if self._selection.has_function(name)]
        others = [
            folder
            for folder in root.folders
            if not folder.startswith("function=") and folder != f"{COMPACT}/" and not is_marker(folder.rstrip("/"))
        ]
        self._others = not names and bool(others or root.objects)
        if self._discovered is None and not self._functions and not self._others:
            self._errors.print(silence.no_function(self._selection.function, names), style="yellow", markup=False)
        self._discovered = self._now()

    async def _list(self, now: datetime) -> list[ListedObject]:
        wide = self._follower.is_wide(now)
        ranges = [each for name in self._functions for each in self._follower.ranges(name, now, wide=wide)]
        if self._others:
            ranges.append(ListRange(""))
        return [each for found in await gathered(self._entries(one) for one in ranges) for each in found]

    async def _entries(self, listed: ListRange) -> list[ListedObject]:
        return [each async for page in self._source.objects(listed) for each in page if not is_marker(each.name)]

    async def _show(self, new: list[NewObject]) -> None:
        """Fetch new objects and print their lines in the order of time."""
        done = await download(self._source, [each.listed for each in new])
        for key, reason in done.unreadable:
            self._errors.print(f"unreadable: {key} ({reason})", style="red", markup=False)
        found: list[tuple[LogLine, str]] = []
        for each in new:
            path = done.files.get(each.listed.key)
            if path is None:
                continue
            note = f"late by {_age(each.late)}" if each.late else ""
            try:
                found += ((line, note) for line in read_lines(path, each.listed.name) if self._is_wanted(line))
            except ValueError as error:
                self._errors.print(f"unreadable: {each.listed.key} ({error})", style="red", markup=False)
        for line, note in sorted(found, key=lambda pair: pair[0].order):
            self._print(line, note)
        sys.stdout.flush()

    def _print(self, line: LogLine, note: str) -> None:
        if self._view.as_json:
            content = line.as_json() | ({"note": note} if note else {})
            sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        else:
            self._format.show(line, note=note)

    def _is_wanted(self, line: LogLine) -> bool:
        if not self._selection.has_function(line.function):
            return False
        if not self._view.platform and is_hidden(line.kind):
            return False
        return self._view.grep is None or self._view.grep.search(line.text.text) is not None

    def _explain(self, now: datetime) -> None:
        """Print why nothing comes, after a time without objects."""
        silent = (now - self._silent_since).total_seconds()
        if silent >= self._next_reason:
            self._next_reason = silent + silence.NEXT_SECONDS
            text = silence.no_objects(self._follower.last_stored, now)
            self._errors.print(text, style="dim", markup=False)


def tail(url: str, selection: Selection, view: View) -> int:
    """Print new records until Ctrl-C, and return the exit status. Raise DestinationError."""
    usage = RequestUsage()
    started = datetime.now(UTC)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(url, selection, usage, view))
    elapsed = (datetime.now(UTC) - started).total_seconds()
    if url.startswith("s3:"):
        hourly = usage.usd / max(elapsed, 1.0) * _SECONDS_PER_HOUR
        error_console().print(f"{usage} in {elapsed:.0f} s; {usd_text(hourly)} an hour", style="dim")
    return 0


async def _run(url: str, selection: Selection, usage: RequestUsage, view: View) -> None:
    async with open_source(url, usage) as source:
        await Tail(source, selection, view).run()


def _age(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004 - two minutes
