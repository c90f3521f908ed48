"""Values of the view model: columns of the marks, shortened texts, rounded numbers. Pure."""

from __future__ import annotations

TEXT = 200
"""Maximum length of a text, in characters."""

INVOCATION = (
    *("start", "took", "responded", "result", "init", "used_mb", "memory_mb", "request_id"),
    *("status", "error", "environment", "function"),
)
"""Columns of an invocation. `result`: 0 succeeded, 1 failed, 2 without a report."""
OBJECT = ("segment", "first", "last", "stored", "records", "size", "final", "key")
PHASE = ("kind", "start", "took", "status")
BIN = ("bin", "invocations", "failed", "cold")


def result_of(status: str) -> int:
    """Return the column `result` for a status of the platform."""
    # 1. no report yet, or the environment ended before it, 2. success, 3. error, failure or timeout
    if not status:
        return 2
    return 0 if status == "success" else 1


def short(text: str | None) -> str | None:
    """Return the first `TEXT` characters of a text."""
    return None if text is None else text[:TEXT]


def rounded(value: float | None) -> float | None:
    """Return a number with one decimal, or as it is if it is an integer."""
    if value is None or isinstance(value, int):
        return value
    tenths = round(value, 1)
    return int(tenths) if tenths.is_integer() else tenths
