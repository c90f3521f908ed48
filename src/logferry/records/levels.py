r"""Log level of a record, in the formats of every managed runtime. Pure.

Guarantees:
- A level is read at the places where loggers write it, and never from the words of a message.
- A record without such a place has no level.

Design: the places are, in this order:

1. JSON, as an object or as text: a key such as `level`, `severity` or `@l`, with a name or a number (pino, bunyan).
2. `[LEVEL]` at the beginning: the runtime clients of Python and Java.
3. The third field between tabs: the runtime clients of Node.js and .NET.
4. A date, then optionally a request ID and a thread, then the level: Log4j2, Logback, Go, Rust.
5. `I, [date #pid]  INFO`: the runtime client of Ruby.
6. `level=INFO` in lines that begin with a key: Go slog, logrus, zap.
7. The level as the first word: `INFO:`, `info: `, `ERROR `, `[thread] INFO`.

References: awslambdaric `bootstrap.py`; Node.js runtime client `LogPatch.js`; `lambda_log_formatter.rb`; Log4j2 pattern
of the Lambda documentation; Go `log/slog`; Microsoft.Extensions.Logging.Console; pino and bunyan, numbers of levels.
"""

from __future__ import annotations

import json
import re
from typing import Any

from logferry.records.fields import LEVEL_NAMES

_RANKS = {
    word: rank
    for rank, words in enumerate(
        (
            ("trace", "trce", "verbose", "finest", "finer"),
            ("debug", "dbug", "fine", "config"),
            ("info", "information", "informational", "notice"),
            ("warn", "warning"),
            ("error", "err", "fail", "severe"),
            ("fatal", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic"),
        )
    )
    for word in words
}
_RUBY = {"D": 1, "I": 2, "W": 3, "E": 4, "F": 5}
_STEP = 10
"""Distance of two levels in pino and bunyan, which begin with 10."""
_KEYS = (
    "level",
    "Level",
    "log.level",
    "severity",
    "Severity",
    "levelname",
    "@l",
    "LogLevel",
    "logLevel",
    "lvl",
    "severityText",
)
_NESTED = ("log", "level")
_TAB_FIELD, _TAB_FIELDS = 2, 4
_HEAD_CHARACTERS = 200
"""Length of the beginning of a text in which a level is searched."""
_COLOURS = re.compile("\x1b\\[[0-9;]{0,12}m")
_AFTER_DATE = re.compile(
    r"(?:\d{4}[-/]|\d\d:\d\d)[\d:.,TZ/+-]{4,32} ?(?:\d\d:[\d:.,Z]{2,20})?\s{1,4}"
    r"(?:[<(\[]?[0-9a-fA-F-]{36}[>)\]]?\s{1,4})?(?:\[[^\]]{1,80}\]\s{1,4})?[<(\[]?([A-Za-z]{4,11})(?![A-Za-z0-9_])"
)
_RUBY_PREFIX = re.compile(r"([DIWEF]), \[")
_KEY_VALUE = re.compile(r'(?:^|\s)(?:level|lvl|severity)="?([A-Za-z]{3,11}(?:[+-]\d{1,3})?)(?![A-Za-z0-9_])')
_BEGINS_WITH_KEY = re.compile(r"[A-Za-z_.@]{1,32}=")
_FIRST_WORD = re.compile(
    r"(?:\[[^\]]{1,80}\] )?(?:(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL|SEVERE)(?![A-Za-z0-9_=.-])"
    r"|(trce|dbug|info|warn|fail|crit): )"
)


def rank_of(record: object) -> int | None:
    """Return the rank of a record's level, or None if it states none. `record` is a text or a JSON value."""
    if isinstance(record, str):
        return _rank_of_text(record)
    return _rank_of_object(record) if isinstance(record, dict) else None


def rank_of_name(name: object) -> int | None:
    """Return the rank of a level by its name, such as `warning` or `INFO+2`, or by its number."""
    if isinstance(name, str):
        # slog writes the distance to a named level: DEBUG-4 is below debug, and INFO+2 is below warn.
        word, minus, _ = name.strip().lower().partition("+")[0].partition("-")
        rank = _RANKS.get(word)
        return max(rank - 1, 0) if rank and minus else rank
    if isinstance(name, int | float) and not isinstance(name, bool) and 0 < name < _STEP * (len(LEVEL_NAMES) + 1):
        return min(max(int(name) // _STEP - 1, 0), len(LEVEL_NAMES) - 1)
    return None


def _rank_of_object(record: dict[str, Any]) -> int | None:
    for key in _KEYS:
        if key in record and (rank := rank_of_name(record[key])) is not None:
            return rank
    nested = record.get(_NESTED[0])
    return rank_of_name(nested.get(_NESTED[1])) if isinstance(nested, dict) else None


def _rank_of_text(text: str) -> int | None:
    first = text[:1]
    if first == "[":
        # Most lines of a Python function begin with a level in brackets.
        rank = _RANKS.get(text[1 : text.find("]", 0, 16)].strip().lower())
        if rank is not None:
            return rank
    elif first == "{":
        return _rank_of_json(text)
    elif first.isdigit() and "\t" in text:
        fields = text.split("\t", _TAB_FIELDS - 1)
        if len(fields) > _TAB_FIELD and (rank := _RANKS.get(fields[_TAB_FIELD].strip().lower())) is not None:
            return rank
    head = text[:_HEAD_CHARACTERS]
    if "\x1b" in head:
        head = _COLOURS.sub("", head)
    return _rank_of_head(head.lstrip())


def _rank_of_head(head: str) -> int | None:
    if match := _RUBY_PREFIX.match(head):
        return _RUBY[match[1]]
    if match := _AFTER_DATE.match(head):
        return _RANKS.get(match[1].lower())
    if _BEGINS_WITH_KEY.match(head):
        found = _KEY_VALUE.search(head)
        return rank_of_name(found[1]) if found else None
    match = _FIRST_WORD.match(head)
    return _RANKS[(match[1] or match[2]).lower()] if match else None


def _rank_of_json(text: str) -> int | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _rank_of_object(record) if isinstance(record, dict) else None
