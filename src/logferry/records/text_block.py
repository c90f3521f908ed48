"""Texts of a run of plain records, joined for one search over all of them. Pure.

Guarantees:
- `candidates` yields at least each text in which a pattern matches. The caller searches the yielded texts one by one,
  so the result does not depend on the neighbours of a text.

Design: a search in a text of 200 bytes takes 0.7 µs, mostly for the call. A search in the joined texts of a run takes
0.2 µs for each of them. The separator is a line break: `^`, `$` and word boundaries match at the ends of a text in
both cases. A match may continue into the next texts; the search then goes on with the next text.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from logferry.records.fast_path import TEXT
from logferry.records.patterns import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logferry.records.fast_path import RecordRun
    from logferry.records.patterns import Pattern

MAX_CANDIDATES = 64
"""Number of candidates in a run after which the rest is searched one by one: the joined search saves nothing then."""


class TextBlock:
    """The decoded texts of a run."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self._joined = as_bytes("\n".join(texts))
        self._starts: list[int] = []

    @classmethod
    def of_run(cls, run: RecordRun) -> TextBlock:
        """Return the texts of plain records, decoded from their JSON form."""
        return cls(json.loads('["' + '","'.join([record[TEXT] for record in run]) + '"]'))

    def candidates(self, pattern: Pattern) -> Iterator[int]:
        """Yield the ascending indexes of the texts in which the pattern may match."""
        number = len(self.texts)
        if pattern.has_text_anchor:
            yield from range(number)
            return
        index, position = -1, 0
        for _ in range(MAX_CANDIDATES):
            match = pattern.search(self._joined, position)
            if match is None:
                return
            index = max(bisect_right(self.starts, match.span()[0]) - 1, index + 1)
            yield index
            if index + 1 == number:
                return
            position = self.starts[index + 1]
        yield from range(index + 1, number)

    @property
    def starts(self) -> list[int]:
        """Position of each text in the joined ones, in bytes."""
        if not self._starts:
            sizes = map(len, self.texts if self._joined.isascii() else map(as_bytes, self.texts))
            self._starts = list(accumulate((size + 1 for size in sizes), initial=0))[:-1]
        return self._starts
