"""Level and readable text of a stored line. Pure.

Guarantees:
- The prefix that a runtime writes before a message (level, time, request ID) is cut off, because
  the columns contain it.
- A JSON record of a function becomes its message and its other fields as `name=value`.
- Any record has a text, whatever its content is.
- Control characters cannot change the terminal.

Design: Python's runtime writes `[ERROR]<tab>TIME<tab>ID<tab>`, Node.js and .NET write
`TIME<tab>ID<tab>LEVEL<tab>`, and Ruby `E, [TIME #PID] ERROR -- : `. Any other text is unchanged.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from logferry.cli.logs import summary_text

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL")
HIDDEN = frozenset({"platform.start", "platform.runtimeDone", "platform.extension", "platform.telemetrySubscription"})
"""Types that `--platform` shows. The report repeats what they contain."""
LEVEL_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z?"
_LEVEL = "(" + "|".join(LEVELS) + "|TRCE|DBUG|INFORMATION|FAIL|CRIT)"
_PREFIXES = (
    re.compile(rf"\[{_LEVEL}\]\t(?:{_TIME}\t)?(?:(?:{_ID})?\t)?", re.IGNORECASE),  # Python
    re.compile(rf"{_TIME}\t(?:{_ID}|undefined|)\t{_LEVEL}\t", re.IGNORECASE),  # Node.js and .NET
    re.compile(rf"[TDIWEF], \[[^\]]{{1,60}}\] +{_LEVEL} -- [^:]{{0,80}}: ", re.IGNORECASE),  # Ruby
)
_FIRST_WORD = re.compile(rf"\W{{0,3}}{_LEVEL}\b")
_MESSAGE_FIELDS = ("message", "msg", "@message", "event")
_LEVEL_FIELDS = ("level", "log_level", "severity", "levelname")
_REPEATED_FIELDS = frozenset(
    {
        *("timestamp", "time", "@timestamp", "requestId", "request_id", "AWSRequestId", "awsRequestId"),
        *("function_request_id", "xray_trace_id", "function_name", "function_arn", "function_memory_size"),
    }
)
"""Fields of a JSON record that the columns of a line contain."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


@dataclass(frozen=True)
class LineText:
    """The level of a line (empty if unknown) and its text. A report has `is_report` set."""

    level: str
    text: str
    is_report: bool = False


def text_of(kind: str, *, message: str | None, record: str | None, event: str | None) -> LineText:
    """Return the text of a line with these columns."""
    # 1. A line of text.
    if message is not None:
        return _of_message(message)
    value = _parsed(record)
    # 2. A report, which is the summary of an invocation.
    if kind == "platform.report" and isinstance(value, dict):
        return LineText("", report_text(value), is_report=True)
    # 3. A summary of logferry.
    if kind == summary_text.KIND and isinstance(value, dict):
        return LineText(_platform_level(kind, value), _printable(summary_text.summary_text(value)))
    # 4. Any other record of the platform or of logferry.
    if kind.startswith(("platform.", "logferry.")) and isinstance(value, dict):
        return LineText(_platform_level(kind, value), f"{kind} {_fields(value, frozenset())}".rstrip())
    # 5. JSON of the function.
    if isinstance(value, dict):
        return _of_json(value)
    return LineText("", _printable(record if record is not None else event or ""))


def report_text(report: dict[str, Any]) -> str:
    """Return the summary of a `platform.report` record."""
    metrics = report.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    parts = []
    if report.get("status") not in {None, "success"}:
        parts.append(" ".join(str(report[name]) for name in ("status", "errorType") if report.get(name)))
    if "durationMs" in metrics:
        parts.append(f"{metrics['durationMs']} ms")
    if "billedDurationMs" in metrics:
        parts.append(f"billed {metrics['billedDurationMs']} ms")
    if "maxMemoryUsedMB" in metrics:
        parts.append(f"{metrics['maxMemoryUsedMB']}/{metrics.get('memorySizeMB', '?')} MB")
    if "initDurationMs" in metrics:
        parts.append(f"cold start {metrics['initDurationMs']} ms")
    return _printable(", ".join(parts)) or "report without metrics"


def is_hidden(kind: str) -> bool:
    """Return whether a line is shown with `--platform` only."""
    return kind in HIDDEN or kind in {"logferry.segment", "logferry.final"} or kind.startswith("platform.init")


def _of_message(message: str) -> LineText:
    for prefix in _PREFIXES:
        if match := prefix.match(message):
            return LineText(_level(match[1]), _printable(message[match.end() :].rstrip("\n")))
    word = _FIRST_WORD.match(message)
    return LineText(_level(word[1]) if word else "", _printable(message.rstrip("\n")))


def _of_json(value: dict[str, Any]) -> LineText:
    level = next((str(value[name]) for name in _LEVEL_FIELDS if isinstance(value.get(name), str)), "")
    field = next((name for name in _MESSAGE_FIELDS if isinstance(value.get(name), str)), "")
    rest = _fields(value, _REPEATED_FIELDS | {field, *_LEVEL_FIELDS})
    return LineText(_level(level), " ".join(filter(None, (_printable(value.get(field, "")), rest))))


def _fields(value: dict[str, Any], without: frozenset[str]) -> str:
    shown = (f"{name}={_value(each)}" for name, each in value.items() if name not in without)
    return _printable(" ".join(shown))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if value and not re.search(r'[\s"=]', value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _platform_level(kind: str, value: dict[str, Any]) -> str:
    if kind in {"platform.logsDropped", "logferry.dropped", "logferry.damaged", "platform.fault"}:
        return "ERROR"
    return "ERROR" if value.get("status") not in {None, "success"} else ""


def _level(text: str) -> str:
    name = text.upper()
    return LEVEL_NAMES.get(name, name)


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None


def _printable(text: str) -> str:
    """Return a text whose control characters are visible. Tabs and newlines stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
