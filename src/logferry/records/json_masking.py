"""Replacement of parts of a JSON text. Pure.

Guarantees:
- The result is valid JSON if the text is. Everything outside the replaced strings, numbers and values keeps its bytes.
- Two keys of an object that become equal are numbered, because readers keep only one of two equal keys.

Design: a parser and a writer would change numbers, escapes and repeated keys of the function. This module reads tokens,
decodes the strings, and replaces a token only if its text changes. A number that changes becomes a string.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[-0-9][0-9.eE+-]*|[{}\[\],:]|true|false|null')


def replace(
    text: str,
    *,
    in_string: Callable[[str, list[object]], str],
    in_number: Callable[[str, list[object]], str],
    of_value: Callable[[list[object]], str | None],
) -> str:
    """Return a JSON text with parts replaced.

    `in_string` and `in_number` return the new text of a string, a key or a number at a place. `of_value` returns the
    text that replaces the complete value at a place, or None.
    """
    return _Replacement(text, in_string, in_number, of_value).run()


class _Replacement:
    """One pass over the tokens of a text. `_place` has the names and indexes of the current value."""

    def __init__(
        self,
        text: str,
        in_string: Callable[[str, list[object]], str],
        in_number: Callable[[str, list[object]], str],
        of_value: Callable[[list[object]], str | None],
    ) -> None:
        self._text = text
        self._in_string, self._in_number, self._of_value = in_string, in_number, of_value
        self._parts: list[str] = []
        self._kept = 0
        self._place: list[object] = []
        self._objects: list[bool] = []
        self._used: list[dict[str, bool]] = []
        """Keys of each open object, and whether a key was replaced."""
        self._expects_key = False
        self._skipped: tuple[int, int, str] | None = None
        """Start, depth and replacement of the value that is replaced as a whole."""

    def run(self) -> str:
        for token in _TOKEN.finditer(self._text):
            first = self._text[token.start()]
            # Four cases: 1. the begin and the end of an object or a list, 2. a separator, 3. a key, 4. a scalar value.
            if first in "{[":
                self._open(token.start(), is_object=first == "{")
            elif first in "}]":
                self._close(token.end())
            elif first == ",":
                self._next()
            elif first == ":":
                self._expects_key = False
            elif self._skipped:
                continue
            elif self._expects_key:
                self._key(token)
            else:
                self._scalar(token, first)
        return "".join([*self._parts, self._text[self._kept :]]) if self._parts else self._text

    def _open(self, start: int, *, is_object: bool) -> None:
        if not self._skipped and (replacement := self._of_value(self._place)) is not None:
            self._skipped = (start, len(self._objects), replacement)
        self._objects.append(is_object)
        self._used.append({})
        self._place.append("" if is_object else 0)
        self._expects_key = is_object

    def _close(self, end: int) -> None:
        self._objects.pop()
        self._used.pop()
        self._place.pop()
        self._expects_key = False
        if self._skipped and self._skipped[1] == len(self._objects):
            self._put(self._skipped[0], end, self._skipped[2])
            self._skipped = None

    def _next(self) -> None:
        self._expects_key = self._objects[-1]
        index = self._place[-1]
        if isinstance(index, int):
            self._place[-1] = index + 1

    def _key(self, token: re.Match[str]) -> None:
        key = json.loads(token[0])
        self._place[-1] = key
        used, name, number = self._used[-1], self._in_string(key, self._place), 1
        changed, is_replaced = name, name != key
        while changed in used and (is_replaced or used[changed]):
            number += 1
            changed = f"{name} {number}"
        if changed != key:
            self._put(token.start(), token.end(), changed)
        used[changed] = changed != key

    def _scalar(self, token: re.Match[str], first: str) -> None:
        replacement = self._of_value(self._place)
        if replacement is None and first == '"':
            value = json.loads(token[0])
            changed = self._in_string(value, self._place)
            replacement = changed if changed != value else None
        elif replacement is None and (first == "-" or first.isdigit()):
            changed = self._in_number(token[0], self._place)
            replacement = changed if changed != token[0] else None
        if replacement is not None:
            self._put(token.start(), token.end(), replacement)

    def _put(self, start: int, end: int, replacement: str) -> None:
        self._parts += [self._text[self._kept : start], json.dumps(replacement, ensure_ascii=False)]
        self._kept = end
