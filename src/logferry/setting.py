"""One row of a table of settings, and parsers of common kinds of values.

Guarantees:
- A parser returns a valid value or raises ValueError. The text of the error is the remedy.

Design: `settings` has the table that every start reads. `options` has the tables of the features that are off by
default. Both use this module.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

KIB, MIB = 1024, 1024 * 1024
_SIZE = re.compile(r"(\d{1,15})\s*(|B|KiB|MiB|GiB)", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB}
_DIGITS = 15
"""Maximum number of digits of a number. `int` rejects more than 4,300 digits with an error without
a remedy."""


class Setting(NamedTuple):
    """One row of the table. `name` has no prefix."""

    name: str
    default: str
    range: str
    meaning: str
    parse: Callable[[str], Any]
    shown: Callable[[str], str] = str
    """Return the value as a message may contain it."""


def hidden(_text: str) -> str:
    """Return what a message contains instead of a secret value."""
    return "…"


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return the parser of a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        value = int(text) if len(text) <= _DIGITS and text.isascii() and text.isdigit() else -1
        if not low <= value <= high:
            raise ValueError(f"use a whole number from {low} to {high}")
        return value

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return the parser of a duration from `low` to `high`, in seconds."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"use seconds from {low:g} to {high:g}")
        return value

    return parse


def size(low: int, high: int) -> Callable[[str], int]:
    """Return the parser of a size from `low` to `high`, in bytes."""

    def parse(text: str) -> int:
        match = _SIZE.fullmatch(text)
        value = int(match[1]) * _UNITS[match[2].lower()] if match else -1
        if not low <= value <= high:
            raise ValueError(f"use a size from {human(low)} to {human(high)}, such as 1048576, 1024KiB or 1MiB")
        return value

    return parse


def human(size: int) -> str:
    """Return a size with the largest unit that divides it."""
    for unit, factor in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def choice(*choices: str) -> Callable[[str], str]:
    """Return the parser of one of `choices`, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return text.lower()

    return parse
