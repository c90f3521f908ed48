"""One invocation with all its lines: a head, each line with its offset, and whether it is complete. Pure.

Guarantees:
- The lines are in the order of their places (segment, line), also if the invocation is in several
  objects.
- The last line states whether each of its segments has all lines and its end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logferry.cli.console import counted
from logferry.cli.logs.line_format import time_text
from logferry.cli.logs.record_text import is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from logferry.cli.logs.line_format import LogLine

_OFFSET_WIDTH = 10
_NAME_WIDTH = 7


@dataclass(frozen=True)
class SegmentState:
    """State of one segment: its closing record, and whether each line is there once."""

    segment: int
    closing: Mapping[str, Any] | None
    is_complete: bool


@dataclass(frozen=True)
class ShownLine:
    """One line of the view: offset, level or name, and text."""

    offset: str
    name: str
    text: str


@dataclass(frozen=True)
class InvocationView:
    """An invocation in one environment, from its lines in order."""

    lines: Sequence[LogLine]
    segments: Sequence[SegmentState]

    def head(self) -> str:
        """Return the first line: function, environment, segments, times and status."""
        first, last = self.lines[0], self.lines[-1]
        closing = next((each.closing for each in self.segments if each.closing), {})
        origin = " ".join(str(closing[name]) for name in ("version", "region") if closing.get(name))
        numbers = sorted({line.segment for line in self.lines})
        segments = f"segment {numbers[0]}" if len(numbers) == 1 else f"segments {numbers[0]} to {numbers[-1]}"
        times = f"{time_text(first.time)} to {time_text(last.time)[11:]}"
        text = f"{first.function} {origin}".rstrip()
        return f"{text}, environment {first.environment}, {segments}, {times}, {self.status()}"

    def status(self) -> str:
        """Return the result of the invocation, with the type of its error."""
        for kind in ("platform.report", "platform.runtimeDone"):
            for line in self.lines:
                if line.kind == kind:
                    record = parsed(line.record)
                    names = [str(record[name]) for name in ("status", "errorType") if record.get(name)]
                    return " ".join(names) or "without a status"
        return "without a report: it is still running, or its report is in a later object"

    def shown(self, *, platform: bool) -> Iterator[ShownLine]:
        """Yield the lines. Start and report are always shown."""
        start = self._start()
        has_report = any(line.kind == "platform.report" for line in self.lines)
        for line in self.lines:
            offset = f"+{(line.time - start).total_seconds() * 1000:.0f} ms"
            if line.kind == "platform.start":
                yield ShownLine(offset, "START", _trace(parsed(line.record)))
            elif line.kind == "platform.report":
                yield ShownLine(offset, "REPORT", self._report(line))
            elif platform or not is_hidden(line.kind) or (line.kind == "platform.runtimeDone" and not has_report):
                yield ShownLine(offset, line.text.level, line.text.text)

    def summary(self) -> str:
        """Return the number of lines and objects, and whether the segments are complete."""
        incomplete = [each.segment for each in self.segments if not each.is_complete]
        text = f"{counted(len(self.lines), 'line')} of {counted(len(self.segments), 'object')}"
        names = ", ".join(str(each.segment) for each in self.segments)
        noun = "segment" if len(self.segments) == 1 else "segments"
        if not incomplete:
            return f"{text}; complete: {noun} {names} {'has its' if len(self.segments) == 1 else 'have their'} end."
        missing = ", ".join(map(str, incomplete))
        return f"{text}; INCOMPLETE: segment {missing} has missing or duplicated lines, see `logferry verify`."

    def _start(self) -> datetime:
        return next((line.time for line in self.lines if line.kind == "platform.start"), self.lines[0].time)

    def _report(self, line: LogLine) -> str:
        """Return the report, and when the response was sent."""
        text = line.text.text
        total = parsed(line.record).get("metrics", {}).get("durationMs")
        for done in self.lines:
            if done.kind == "platform.runtimeDone":
                spans = parsed(done.record).get("spans") or []
                latency = next(
                    (span.get("durationMs") for span in spans if span.get("name") == "responseLatency"), None
                )
                if isinstance(latency, (int, float)) and isinstance(total, (int, float)):
                    return f"{text}   response {latency:.0f} ms, then {max(0.0, total - latency):.0f} ms"
        return text


def parsed(text: str | None) -> dict[str, Any]:
    """Return the JSON object in a column, or an empty one."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def aligned(line: ShownLine) -> str:
    """Return a line of the view as text."""
    text = line.text.replace("\n", "\n" + " " * (_OFFSET_WIDTH + _NAME_WIDTH + 4))
    return f"  {line.offset:<{_OFFSET_WIDTH}}{line.name:<{_NAME_WIDTH}}{text}".rstrip()


def _trace(start: dict[str, Any]) -> str:
    tracing = start.get("tracing")
    value = tracing.get("value", "") if isinstance(tracing, dict) else ""
    root = next((part.removeprefix("Root=") for part in str(value).split(";") if part.startswith("Root=")), "")
    return f"trace {root}" if root else ""
