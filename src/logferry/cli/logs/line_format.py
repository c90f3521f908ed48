"""One record as one line of the terminal: time, function, environment, request, level, text.

Guarantees:
- Without a terminal there are no colours, and the time has its date.
- A function and an environment always have the same colour.

Design: the terminal wraps long lines itself, so that a copied line is complete.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from logferry.cli.logs import summary_text
from logferry.cli.logs.record_text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rich.console import Console

    from logferry.cli.logs.record_text import LineText

PALETTE = ("cyan", "magenta", "blue", "green", "bright_cyan", "bright_magenta", "bright_blue", "bright_green")
LEVEL_STYLES = {"ERROR": "bold red", "FATAL": "bold red", "WARN": "yellow", "DEBUG": "dim", "TRACE": "dim"}
HIGHLIGHT_STYLE = "bold black on yellow"
MAX_FUNCTION_WIDTH = 24
NARROW_FUNCTION_WIDTH = 14
"""Maximum width of a function's name in a wide terminal, and in one of less than 100 columns."""
NARROW_COLUMNS = 100
REPORT_SIGN = "●"
_LEVEL_WIDTH = 5


@dataclass(frozen=True)
class LogLine:
    """One stored line with the columns that are shown."""

    time: datetime
    function: str
    environment: str
    segment: int
    line: int
    kind: str
    request_id: str
    message: str | None = None
    record: str | None = None
    event: str | None = None

    @property
    def text(self) -> LineText:
        """The level and the readable text."""
        return text_of(self.kind, message=self.message, record=self.record, event=self.event)

    @property
    def order(self) -> tuple[datetime, str, int, int]:
        """The sort key: time, and the place within an environment."""
        return (self.time, self.environment, self.segment, self.line)

    def as_json(self) -> dict[str, Any]:
        """Return the line for `--json`. `text` has no prefix of the runtime. That of a summary is its JSON."""
        found = self.text
        is_summary = self.kind == summary_text.KIND and self.record is not None
        return {
            "time": time_text(self.time),
            "function": self.function,
            "environment": self.environment,
            "segment": self.segment,
            "line": self.line,
            "type": self.kind,
            "requestId": self.request_id or None,
            "level": found.level or None,
            "text": self.record if is_summary else found.text,
        }


class LineFormat:
    """Format of lines for one console. What matches a pattern is highlighted."""

    def __init__(self, console: Console, *, highlighted: Sequence[re.Pattern[str] | None] = ()) -> None:
        self._console = console
        self._highlighted = [each for each in highlighted if each is not None]
        self._width = 1
        self._date = ""

    def show(self, line: LogLine, *, note: str = "") -> None:
        """Print a line. `note` is shown before its text."""
        found = line.text
        text = Text()
        text.append(self._time(line.time), style="dim")
        text.append(f" {self._function(line.function)}", style=_colour(line.function))
        text.append(f" {line.environment[:4]}", style=_colour(line.environment))
        text.append(f" {line.request_id[:8] or '-':<8}", style="dim")
        text.append(" ")
        text.append(f"{REPORT_SIGN if found.is_report else found.level:<{_LEVEL_WIDTH}}", style=_style(found))
        text.append(" ")
        if note:
            text.append(f"{note}: ", style="bold yellow")
        content = Text(found.text.replace("\n", "\n    "))
        highlight(content, self._highlighted)
        text.append_text(content)
        self._console.print(text, soft_wrap=True, highlight=False)

    def _time(self, time: datetime) -> str:
        """Return the time of a line. In a terminal, a line with the date precedes the first one of a day."""
        if not self._console.is_terminal:
            return time_text(time)
        date = f"{time:%Y-%m-%d}"
        if date != self._date:
            self._date = date
            self._console.print(Text(f"{date} (UTC)", style="dim"))
        return time_text(time)[11:23]

    def _function(self, name: str) -> str:
        wide = self._console.width >= NARROW_COLUMNS or not self._console.is_terminal
        most = MAX_FUNCTION_WIDTH if wide else NARROW_FUNCTION_WIDTH
        shown = name if len(name) <= most or not self._console.is_terminal else f"{name[: most - 1]}…"
        self._width = max(self._width, len(shown)) if self._console.is_terminal else 0
        return f"{shown:<{self._width}}"


def highlight(text: Text, patterns: Iterable[re.Pattern[str] | None]) -> None:
    """Highlight what matches a pattern."""
    for pattern in patterns:
        if pattern is not None:
            text.highlight_regex(pattern, HIGHLIGHT_STYLE)


def time_text(time: datetime) -> str:
    """Return a time in UTC as the platform writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def _colour(name: str) -> str:
    return PALETTE[zlib.crc32(name.encode()) % len(PALETTE)]


def _style(found: LineText) -> str:
    if found.is_report:
        return "bold red" if re.match(r"(?:error|failure|timeout)\b", found.text) else "green"
    return LEVEL_STYLES.get(found.level, "")
