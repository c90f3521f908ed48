"""`logferry logs`: the lines of an invocation, of failed invocations, or of a time window.

Exit status: 0 lines were found, 1 no line was found, or an object is unreadable, 2 the destination
cannot be read, or the options are invalid.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from logferry.cli.console import counted
from logferry.cli.fetch import terminal
from logferry.cli.logs.invocation_view import InvocationView, SegmentState, aligned, parsed
from logferry.cli.logs.line_format import LEVEL_STYLES, LineFormat, LogLine, highlight
from logferry.cli.logs.record_text import is_hidden
from logferry.cli.query.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logferry.cli.fetch.selection import Selection

MAX_INVOCATIONS = 20
"""Maximum number of invocations that a prefix of a request ID shows."""
NOTHING, INVALID = 1, 2
REQUEST_ID = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)

_COLUMNS = "time, function, environment, segment, line, type, coalesce(requestId, ''), message, record, event"
_ORDER = "environment, segment, line"
_BATCH = 1000


@dataclass(frozen=True)
class Wanted:
    """The lines that are shown: of a request, of failed invocations, or all."""

    request_id: str = ""
    errors: bool = False
    platform: bool = False
    grep: re.Pattern[str] | None = None
    highlight: re.Pattern[str] | None = None
    as_json: bool = False


def logs(url: str, selection: Selection, wanted: Wanted, *, yes: bool, fallback: str = "") -> int:
    """Print the lines and return the exit status. Raise DestinationError."""
    started = time.monotonic()
    fetched = terminal.read(url, selection, yes=yes, fallback=fallback)
    with Session(fetched) as session:
        shown = _Output(session, wanted)
        # 1. An invocation. 2. Failed and cold invocations. 3. All lines.
        if wanted.request_id:
            count = shown.invocations()
        elif wanted.errors:
            count = shown.failures()
        else:
            count = shown.all_lines()
        if not count:
            sys.stderr.write(f"{_nothing(wanted, selection)}\n")
        terminal.show_usage(fetched, time.monotonic() - started, session.unreadable)
        return NOTHING if not count or session.unreadable else 0


class _Output:
    """The output of one command."""

    def __init__(self, session: Session, wanted: Wanted) -> None:
        self._session = session
        self._wanted = wanted
        self._console = Console(highlight=False)
        self._format = LineFormat(self._console, highlighted=(wanted.grep, wanted.highlight))

    def invocations(self) -> int:
        """Print each invocation whose request ID has the prefix, and return the number of lines."""
        condition = f"WHERE starts_with(requestId, '{self._wanted.request_id}')"
        found = [*self._lines(condition, _ORDER)]
        groups: dict[tuple[str, str], list[LogLine]] = {}
        for line in found:
            groups.setdefault((line.request_id, line.environment), []).append(line)
        for lines in sorted(groups.values(), key=lambda lines: lines[0].time)[:MAX_INVOCATIONS]:
            if self._wanted.as_json:
                self._show_json(lines)
            else:
                self._show_invocation(InvocationView(lines, self._segments(lines)))
        if len(groups) > MAX_INVOCATIONS:
            sys.stderr.write(
                f"... and {counted(len(groups) - MAX_INVOCATIONS, 'more invocation')}: give more characters of the ID\n"
            )
        return len(found)

    def failures(self) -> int:
        """Print one line for each failed, timed-out or cold invocation, and return their number."""
        condition = (
            "WHERE type = 'platform.report' AND (status <> 'success' OR init_ms IS NOT NULL) "
            "OR type = 'platform.runtimeDone' AND status <> 'success' AND requestId NOT IN "
            "(SELECT requestId FROM logs WHERE type = 'platform.report' AND requestId IS NOT NULL)"
        )
        return self._show(self._lines(condition, f"time, {_ORDER}"))

    def all_lines(self) -> int:
        """Print all lines in the order of time, and return their number."""
        found = self._lines("", f"time, {_ORDER}")
        return self._show(line for line in found if self._is_wanted(line))

    def _is_wanted(self, line: LogLine) -> bool:
        if not self._wanted.platform and is_hidden(line.kind):
            return False
        return self._wanted.grep is None or self._wanted.grep.search(line.text.text) is not None

    def _show(self, lines: Iterator[LogLine]) -> int:
        count = 0
        for line in lines:
            count += 1
            if self._wanted.as_json:
                self._show_json([line])
            else:
                self._format.show(line)
        return count

    def _show_json(self, lines: list[LogLine]) -> None:
        for line in lines:
            sys.stdout.write(json.dumps(line.as_json(), ensure_ascii=False) + "\n")

    def _show_invocation(self, view: InvocationView) -> None:
        self._console.print(Text(view.head(), style="bold"), soft_wrap=True)
        for line in view.shown(platform=self._wanted.platform):
            text = Text(aligned(line), style=LEVEL_STYLES.get(line.name, ""))
            highlight(text, (self._wanted.grep, self._wanted.highlight))
            self._console.print(text, soft_wrap=True)
        self._console.print(view.summary(), style="dim", soft_wrap=True)

    def _segments(self, lines: list[LogLine]) -> list[SegmentState]:
        """Return the state of each segment with lines of an invocation."""
        numbers = sorted({line.segment for line in lines})
        rows = self._session.rows(
            "SELECT segment, count(*), count(DISTINCT line), max(line), "
            "max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN line END), "
            "max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN record END) "
            "FROM lines WHERE environment = $1 AND segment IN (SELECT unnest($2::BIGINT[])) "
            "GROUP BY segment ORDER BY 1",
            [lines[0].environment, numbers],
        )
        return [
            SegmentState(segment, parsed(record) or None, is_complete=count == distinct == highest == closing)
            for segment, count, distinct, highest, closing, record in rows
        ]

    def _lines(self, condition: str, order: str) -> Iterator[LogLine]:
        # The condition has constants and a checked prefix of a request ID.
        query = f"SELECT {_COLUMNS} FROM logs {condition} ORDER BY {order}"  # noqa: S608
        self._session.execute(f"CREATE OR REPLACE TEMP TABLE shown AS {query}")
        result = self._session.execute("FROM shown")
        while rows := result.fetchmany(_BATCH):
            yield from (_line(row) for row in rows)


def _line(row: tuple[Any, ...]) -> LogLine:
    return LogLine(*row)


def _nothing(wanted: Wanted, selection: Selection) -> str:
    """Return the reason why no line was found, with a remedy."""
    where = f" of {selection.function}" if selection.function != "*" else ""
    limits = f" {selection.window}" if selection.window.is_limited else ""
    if wanted.request_id:
        what = f"line with a request ID that begins with {wanted.request_id}"
        return f"no {what}{where}{limits} was found: check --function and --since"
    what = "failed or cold invocation" if wanted.errors else "line"
    return f"no {what}{where}{limits} was found: check the prefix, --function and --since"
