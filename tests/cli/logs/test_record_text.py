"""Readable text of stored records: prefixes of runtimes, JSON records, reports, control characters."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from logferry.cli.logs.line_format import LineFormat, LogLine
from logferry.cli.logs.record_text import LineText, is_hidden, text_of

ID = "459921b5-681c-4a96-beb0-81e0aa586026"
TIME = "2026-11-21T02:26:24.357Z"


def of_message(message: str) -> LineText:
    """Return the text of a line with a text record."""
    return text_of("function", message=message, record=None, event=None)


def of_record(record: Any, kind: str = "function") -> LineText:
    """Return the text of a line with a JSON record."""
    return text_of(kind, message=None, record=json.dumps(record), event=None)


@pytest.mark.parametrize(
    ("message", "level", "text"),
    [
        (f"[ERROR]\t{TIME}\t{ID}\tpayment timeout\n", "ERROR", "payment timeout"),  # Python, logging
        (f"[WARNING]\t{TIME}\t\tbefore the first request", "WARN", "before the first request"),
        ("[ERROR] ValueError: no order\nTraceback (most recent call last):", "ERROR", None),  # Python, uncaught
        (f"{TIME}\t{ID}\tINFO\tcache miss\n", "INFO", "cache miss"),  # Node.js
        (f"{TIME}\tundefined\tERROR\t(node:8) warning", "ERROR", "(node:8) warning"),
        (f"{TIME}\t{ID}\tinfo\tfrom .NET", "INFO", "from .NET"),
        (f"I, [{TIME[:-1]} #8]  INFO -- : from Ruby", "INFO", "from Ruby"),
        ("WARN  slow query", "WARN", "WARN  slow query"),  # another format stays as it is
        ("an ERROR in the middle", "", "an ERROR in the middle"),
        ("INFORMATIVE", "", "INFORMATIVE"),
        ("plain", "", "plain"),
        ("", "", ""),
    ],
)
def test_the_prefix_of_a_runtime_is_cut_off(message: str, level: str, text: str | None) -> None:
    """The columns contain level, time and request ID. A text in another format stays unchanged."""
    assert of_message(message) == LineText(level, message if text is None else text)


@pytest.mark.parametrize(
    ("record", "level", "text"),
    [
        ({"level": "warn", "message": "late", "timestamp": TIME, "requestId": ID, "n": 4}, "WARN", "late n=4"),
        ({"severity": "ERROR", "msg": "a b", "who": "x y", "list": [1, {"a": 2}]}, "ERROR", None),
        ({"a": 1, "level": 30}, "", "a=1"),
        ({"message": {"nested": True}}, "", 'message={"nested":true}'),
        ([1, 2], "", "[1, 2]"),
        ("text", "", '"text"'),
        (7, "", "7"),
    ],
)
def test_a_json_record_is_its_message_and_its_other_fields(record: Any, level: str, text: str | None) -> None:
    """Fields that the columns contain are left out."""
    expected = 'a b who="x y" list=[1,{"a":2}]' if text is None else text
    assert of_record(record) == LineText(level, expected)


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (
            {
                "status": "success",
                "metrics": {"durationMs": 12.1, "billedDurationMs": 13, "memorySizeMB": 512, "maxMemoryUsedMB": 152},
            },
            "12.1 ms, billed 13 ms, 152/512 MB",
        ),
        ({"status": "error", "errorType": "Handled", "metrics": {"durationMs": 1}}, "error Handled, 1 ms"),
        ({"status": "timeout", "metrics": {"initDurationMs": 205}}, "timeout, cold start 205 ms"),
        ({"metrics": None}, "report without metrics"),
        ({}, "report without metrics"),
    ],
)
def test_a_report_is_the_summary_of_an_invocation(report: Any, text: str) -> None:
    """Status, duration, memory and cold start are one line."""
    assert of_record(report, "platform.report") == LineText("", text, is_report=True)


def test_records_of_the_platform_and_of_logferry_have_their_type() -> None:
    """A loss is an error, whatever its record contains."""
    assert of_record({"reason": "full"}, "logferry.dropped") == LineText("ERROR", "logferry.dropped reason=full")
    assert of_record({"status": "timeout"}, "platform.runtimeDone").level == "ERROR"
    assert [is_hidden(kind) for kind in ("platform.start", "logferry.final", "platform.initStart")] == [True] * 3
    assert [is_hidden(kind) for kind in ("function", "platform.report", "logferry.dropped")] == [False] * 3


def test_control_characters_cannot_change_the_terminal() -> None:
    """An escape sequence is shown as text. Tabs and newlines stay."""
    assert of_message("a\x1b[31mb\x07\tc\r\nd\x9b") == LineText("", "a\\x1b[31mb\\x07\tc\nd\\x9b")
    assert of_record({"message": "a\x1bb", "k\x1b": "v"}).text == "a\\x1bb k\\x1b=v"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["function", "platform.report", "platform.start", "logferry.dropped", "logferry.invocation", "x"]),
    st.one_of(st.none(), st.text()),
    st.one_of(st.none(), st.text(), st.recursive(st.none() | st.text() | st.floats(), st.lists).map(json.dumps)),
)
def test_any_record_has_a_text(kind: str, message: str | None, record: str | None) -> None:
    """No record makes the command fail, and no control character is left."""
    text = text_of(kind, message=message, record=record, event="e").text
    assert not {chr(n) for n in range(32)} - {"\t", "\n"} & set(text)


SUMMARY: dict[str, Any] = {
    "requestId": ID,
    "status": "success",
    "durationMs": 411.6,
    "calls": {"count": 3, "errors": 1, "ms": 120.5, "slowest": 80.1, "hosts": [{"host": "a.io", "count": 3}]},
    "events": 0,
    "usage": {"cpuMs": 31.2, "rssBytes": 70 << 20, "peakRssBytes": 84 << 20, "threads": 4},
}


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, "", "3 calls, 1 error, 412 ms, 84 MB"),
        ({"status": "timeout", "events": 2, "lost": {"full": 3, "invalid": 1}}, "ERROR", None),
        ({"calls": {"count": 1, "errors": 0}, "events": 1}, "", "1 call, 412 ms, 84 MB, 1 event"),
        ({"calls": None, "usage": None}, "", "412 ms"),
        ({"calls": [1], "usage": 7, "durationMs": True}, "", "summary without numbers"),
        ({"calls": {"count": 1e999}, "usage": {"rssBytes": "x"}, "lost": [1]}, "", "412 ms"),
    ],
    ids=str,
)
def test_the_summary_of_an_invocation_is_one_short_line(changes: dict[str, Any], level: str, text: str | None) -> None:
    """Calls, errors, duration and memory come first, and what is zero or absent is left out."""
    expected = text or "timeout, 3 calls, 1 error, 412 ms, 84 MB, 2 events, 4 events lost"
    assert of_record(SUMMARY | changes, "logferry.invocation") == LineText(level, expected)


def test_a_summary_fits_into_80_columns_and_json_has_all_of_it() -> None:
    """`--json` contains the record itself."""
    at = datetime(2026, 11, 21, 2, 26, 24, 357_000, UTC)
    record = json.dumps(SUMMARY)
    line = LogLine(at, "orders-api-with-a-long-name", "0a1b2c3d", 2, 7, "logferry.invocation", ID, record=record)
    output = io.StringIO()
    LineFormat(Console(file=output, width=80, force_terminal=True, no_color=True)).show(line)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()).splitlines()[-1]
    assert shown.endswith("3 calls, 1 error, 412 ms, 84 MB")
    assert len(shown) <= 80
    assert json.loads(line.as_json()["text"]) == SUMMARY
