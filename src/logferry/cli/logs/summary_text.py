"""Readable text of the summary of an invocation (`logferry.invocation`): calls, errors, duration, memory. Pure.

Guarantees: the text is one line, whatever the record contains. With the usual numbers, it fits behind the
columns of a line into 80 columns.

Design: a summary has up to 40 numbers, and one for each host. `--json` and `logferry query` show all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "logferry.invocation"
MAX_NUMBER = 10**15
"""Larger numbers, and values that are no numbers, are left out."""
_MEMORY = ("peakRssBytes", "maxRssBytes", "rssBytes", "maxEnvironmentBytes", "environmentBytes")
"""Fields of the memory, the most exact one first."""
_BYTES_PER_MB = 1 << 20
"""Lambda counts memory in units of 1,048,576 bytes, and writes MB."""


def summary_text(summary: dict[str, Any]) -> str:
    """Return the summary of an invocation, such as `3 calls, 1 error, 412 ms, 84 MB`."""
    return ", ".join(_parts(summary)) or "summary without numbers"


def _parts(summary: dict[str, Any]) -> Iterator[str]:
    status, calls, usage = summary.get("status"), _members(summary.get("calls")), _members(summary.get("usage"))
    if isinstance(status, str) and status != "success":
        yield status
    if _is_number(calls.get("count")):
        yield _counted(calls["count"], "call")
    if _is_number(calls.get("errors")) and calls["errors"]:
        yield _counted(calls["errors"], "error")
    if _is_number(summary.get("durationMs")):
        yield f"{summary['durationMs']:,.0f} ms"
    memory = next((usage[name] for name in _MEMORY if _is_number(usage.get(name))), None)
    if memory is not None:
        yield f"{memory / _BYTES_PER_MB:,.0f} MB"
    if _is_number(summary.get("events")) and summary["events"]:
        yield _counted(summary["events"], "event")
    lost = [count for count in _members(summary.get("lost")).values() if _is_number(count)]
    if lost:
        yield f"{_counted(sum(lost), 'event')} lost"


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _counted(number: float, noun: str) -> str:
    return f"{number:,.0f} {noun}" if number == 1 else f"{number:,.0f} {noun}s"
