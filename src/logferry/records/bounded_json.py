"""JSON values at a position of a text, with bounded numbers and bounded nesting. Pure.

Guarantees:
- NaN and Infinity are refused, because they are not JSON.
- A number of any length is read, and a value that is nested deeper than `MAX_DEPTH` is not.

Design: the standard parser raises an error for an integer of more than 4,300 digits. Its nesting limit depends on its
callers. The bytes of an object must depend on neither.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE = re.compile(r"[ \t\r\n]*")
_MAX_INT_CHARACTERS = 4299
"""Longest number that is read as an integer, in characters: `int()` refuses more than 4,300 digits."""
MAX_DEPTH = 200
"""Deepest nesting that is parsed. A deeper element is kept as text.

The parser's own limit counts the frames of its callers, and the bytes of an object must not depend on them.
"""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def refuse_constant(constant: str) -> None:
    """Raise ValueError for NaN and Infinity, which are not JSON (the argument `parse_constant` of `json`)."""
    raise ValueError(f"{constant} is not JSON")


def integer_parser(max_characters: int) -> Callable[[str], float]:
    """Return a function that gives an integer, or a float for a longer number (the argument `parse_int` of `json`)."""
    return lambda digits: int(digits) if len(digits) <= max_characters else float(digits)


DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_int=integer_parser(_MAX_INT_CHARACTERS))
"""The parser without the limit of nesting."""
_SCAN = DECODER.scan_once  # type: ignore[attr-defined]  # `raw_decode` without its wrapper


def decode_value(text: str, position: int, *, element: int) -> tuple[Any, int] | None:
    """Return the JSON value at `position` and its end; None without one, or if the element is nested too deep."""
    try:
        value, end = _SCAN(text, position)
    except (StopIteration, ValueError, RecursionError):
        return None
    if end - element > 2 * MAX_DEPTH and _is_too_deep(text, element, end):
        return None
    return value, end


def _is_too_deep(text: str, position: int, end: int) -> bool:
    """Return whether a JSON value is nested deeper than `MAX_DEPTH`, with an exact count only if it may be."""
    return _max_depth_bound(text, position, end) > MAX_DEPTH < nesting_depth(text[position:end])


def _max_depth_bound(text: str, position: int, end: int) -> int:
    """Return an upper bound of the nesting depth, at little cost."""
    return text.count("{", position, end) + text.count("[", position, end)


def nesting_depth(element: str) -> int:
    """Return the nesting depth of a JSON value."""
    deepest = depth = 0
    for token in _TOKEN.finditer(element):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


def skip_space(text: str, position: int) -> int:
    """Return the position after the space characters of JSON."""
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches the empty string as well


def is_text(text: str) -> bool:
    """Return whether a text has no lone surrogate, which is also the form of a carried byte."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True
