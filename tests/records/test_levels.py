"""Levels at the places where the loggers of each managed runtime write them."""

from __future__ import annotations

from typing import Any

import pytest

from logferry.records.fields import LEVEL_NAMES as NAMES
from logferry.records.levels import rank_of, rank_of_name

ID, T = "459921b5-681c-4a96-beb0-81e0aa586026", "2026-11-21T02:26:24.357Z"


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (f"[INFO]\t{T}\t{ID}\tthe error was debugged\n", "info"),
        (f"[CRITICAL]\t{T}\t{ID}\tx", "fatal"),
        ("[ERROR] KeyError: 'a'\nTraceback (most recent call last):", "error"),
        ("INFO:root:ready", "info"),
        (f"{T}\t{ID}\tWARN\tx", "warn"),
        (f"{T}\tundefined\tERROR\tUncaught Exception", "error"),
        (f"{T}\t{ID}\tfail\tx", "error"),
        (f"{T}\t{ID}\tdbug\tx", "debug"),
        (f"2026-11-21 02:26:24 {ID} INFO  c.e.Handler:17 - x", "info"),
        (f"2026-11-21 02:26:24 <{ID}> WARN  Handler - x", "warn"),
        ("2026-11-21 02:26:24,357 [main] DEBUG com.example.App - x", "debug"),
        ("02:26:24.357 [pool-1-thread-1] ERROR com.example.App - x", "error"),
        (f"{T}  INFO 8 --- [main] c.e.App : x", "info"),
        (f"I, [2026-11-21T02:26:24.357 #8]  INFO {ID} -- : x", "info"),
        (f"F, [2026-11-21T02:26:24.357 #8] FATAL {ID} -- : x", "fatal"),
        ("2026/11/21 02:26:24 WARN x key=value", "warn"),
        (f'time={T} level=DEBUG-4 msg="level=ERROR"', "trace"),
        (f'time="{T}" level=warning msg=x', "warn"),
        ("level=INFO+2 msg=x", "info"),
        ("\x1b[2m2026-11-21T02:26:24Z\x1b[0m \x1b[33m WARN\x1b[0m app: x", "warn"),
        ("info: Microsoft.Hosting.Lifetime[0]\n      Started", "info"),
        ("[main] INFO com.example.App - x", "info"),
        ("SEVERE: x", "error"),
        ('{"level":"warn","message":"x"}', "warn"),
        ('{"severity":"CRITICAL"}\n', "fatal"),
        ({"level": "INFO", "message": "x"}, "info"),
        ({"timestamp": T, "level": "Information"}, "info"),
        ({"@l": "Warning", "@m": "x"}, "warn"),
        ({"log.level": "error"}, "error"),
        ({"log": {"level": "debug"}}, "debug"),
        ({"level": 30, "msg": "pino"}, "info"),
        ({"level": 60}, "fatal"),
        ({"level": 5}, "trace"),
    ],
)
def test_level_is_found_where_the_logger_writes_it(record: Any, level: str) -> None:
    """Text and JSON, in the formats of Python, Node.js, Java, .NET, Ruby, Go and Rust."""
    found = rank_of(record)
    assert found is not None
    assert NAMES[found] == level


@pytest.mark.parametrize(
    "record",
    [
        *("", "hello", "an error occurred", "Error: no such key", "all good", "INFORMATION overload", "ERROR_CODE=3"),
        *("[main]", "[x] y", f"{T} started", f"{T}\t{ID}\tx", "2026-11-21", "1.5 ERROR"),
        *("{", "{}", "[1]", '{"level":{}}', [], 1, None, {}),
        *({"level": None}, {"level": True}, {"level": "loud"}, {"level": 0}, {"level": 1000}, {"log": "x"}),
        "msg=x level=loud",
        "x" * 100_000 + " level=ERROR",
        "-" * 100_000,
        "[" * 5000,
    ],
)  # fmt: skip
def test_words_of_a_message_are_no_level(record: Any) -> None:
    """Such a line is stored at every minimum level."""
    assert rank_of(record) is None


def test_every_level_is_ordered_and_has_its_own_name() -> None:
    """The setting's values are the names that are read."""
    assert [rank_of_name(name) for name in NAMES] == list(range(len(NAMES)))
