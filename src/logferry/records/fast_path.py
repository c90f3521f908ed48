r"""Plain records: a function's lines of text as the platform writes them, taken many at a time without parsing. Pure.

    {"time":"2026-11-21T02:26:24.357Z","type":"function","record":"text"}

Promises:
- what is taken here is exactly what the parser would have taken: these keys in this order, valid JSON, nothing between
  two records but a comma. What looks any different (a space, an escaped backslash, a record that is an object) is left
  to the parser, so that an object's bytes do not depend on which of the two has read it (tests/test_plain.py);
- time is linear and memory bounded, whatever was posted.

Why: a burst of logs is nothing but such records, and a dict, its values and a generator's step for each of them were
most of what a gigabyte cost: without compression 14 s of CPU, and 5 s now. An expression that checks each character
would take as long as the parser. This one only looks for quotes, which goes at the speed of memchr, and is right
because of three looks as fast as that:
- there is no control character, which JSON does not allow in a string;
- a backslash always begins an escape, and never that of a backslash, or by number that of a tab, a letter or a digit.
  So `\t` in the text is a tab, and neither an id nor a key like `requestId` can hide behind an escape;
- every `\"` is therefore a quote of the text. Where there are such they are covered up, and all others are JSON's.
"""

from __future__ import annotations

import re
from itertools import accumulate

Run = list[str]
"""Consecutive plain records, each without the quote and the brace at its end."""

_HEAD, _MIDDLE, _TAIL = '{"time":"', '","type":"function","record":"', '"}'
_TIME_CHARACTERS = len("2026-11-21T02:26:24.357Z")
TIME = slice(len(_HEAD), len(_HEAD) + _TIME_CHARACTERS)
"""Where the time of a plain record stands."""
TEXT = slice(TIME.stop + len(_MIDDLE), None)
"""Where its text stands, as JSON writes it."""
TAB = r"\t"
"""The only way in which a tab is written in it."""
WORTHWHILE_BYTES = 4096
"""Of a delivery: with less in it, code that is not in the processor's cache would cost more than it saves."""
RUN_CHARACTERS = 64 * 1024
"""Of a run, at most: what is made of it stays in the processor's cache. A larger record is left to the parser."""

_CONTROLS = bytes(range(0x20))
_DOUBTFUL = re.compile(r"\\(?![/bfnrt]|u(?:001b|0026|003[ce]|202[89]))")
"""A backslash to be looked at. Allowed by number is what a coloured line or the platform's encoder (Go) needs."""
_QUOTE, _COVER = r"\"", "\0\0"
"""Of the same length, and nothing else can look like it where there are no control characters."""
_RECORDS = re.compile(
    rf'({re.escape(_HEAD)}[^"]{{{_TIME_CHARACTERS}}}{re.escape(_MIDDLE)}[^"]*+){re.escape(_TAIL)}[,\]]|.+', re.DOTALL
)
"""Plain records one behind the other; from where there is none the rest, as one empty match."""


class Plain:
    """The plain records of one delivery."""

    def __init__(self, text: str, raw: bytes) -> None:
        """`raw` is the text's bytes."""
        self._text = self._covered = text
        self._raw = raw
        self._sound: bool | None = None
        """Whether there are no control characters: looked at when it is needed."""
        self._doubtful = 0
        """The first doubtful backslash behind what has been looked at."""

    def run(self, position: int) -> Run:
        """The plain records that stand at `position` one behind the other; none where something else stands."""
        if not self._text.startswith(_MIDDLE, position + TIME.stop) or not self._is_sound():
            return []
        if self._doubtful <= position:
            self._doubtful = self._look_from(position)
        run: Run = _RECORDS.findall(self._covered, position, min(self._doubtful, position + RUN_CHARACTERS))
        if run and not run[-1]:
            run.pop()
        return run if self._covered is self._text else self._uncovered(run, position)

    def _is_sound(self) -> bool:
        if self._sound is None:
            self._sound = len(self._raw.translate(None, _CONTROLS)) == len(self._raw)
        return self._sound

    def _look_from(self, position: int) -> int:
        """Where the next doubtful backslash stands; if it is that of a quote, quotes are covered up from now on."""
        found = _DOUBTFUL.search(self._covered, position)
        if found and self._covered.startswith(_QUOTE, found.start()):
            self._covered = self._text.replace(_QUOTE, _COVER)
            found = _DOUBTFUL.search(self._covered, position)
        return found.start() if found else len(self._text)

    def _uncovered(self, run: Run, position: int) -> Run:
        starts = accumulate((len(record) + len('"},') for record in run), initial=position)
        return [self._text[start : start + len(record)] for start, record in zip(starts, run, strict=False)]


def size(run: Run) -> int:
    """The characters from the first record of a run to the end of its last."""
    return sum(map(len, run)) + len('"},') * len(run) - len(",")
