r"""Runs of plain function records, read without JSON parsing (optional, same result). Pure.

    {"time":"2026-11-21T02:26:24.357Z","type":"function","record":"text"}

Guarantees:
- A run contains exactly what the parser would have found: these keys in this order, valid JSON, and only a comma
  between two records. Any other record (with a space, an escaped backslash, an object) is left to the parser.
- The bytes of an object do not depend on which of the two readers was used (tests/records/test_fast_path.py).
- Time is linear and memory bounded for any input.

Design: a burst of logs consists of such records. A dict, its values and a generator step for each of them were most of
the cost of a gigabyte: 14 s of CPU time without compression, and 5 s with this reader. An expression that checks each
character takes as long as the parser. This reader only searches for quotes, at the speed of memchr, after three checks
that are as fast:

- There is no control character, which JSON does not allow in a string.
- Each backslash begins an escape. No escape stands for a backslash, and no numeric one for a tab, a letter or a digit.
  So `\t` in the text is a tab, and neither an ID nor a key such as `requestId` can be hidden by an escape.
- Therefore every `\"` is a quote of the text. If there are any, they are covered, and all other quotes are JSON's.

`MIN_BATCH_BYTES` is the switch: the argument of that name in the decoder and the encoder replaces it in tests.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

from logferry.records import request_id
from logferry.records.request_id import TAB

if TYPE_CHECKING:
    from collections.abc import Container

RecordRun = list[str]
"""Consecutive plain records, each without the quote and the brace at its end."""

_HEAD, _MIDDLE, _TAIL = '{"time":"', '","type":"function","record":"', '"}'
_TIME_CHARACTERS = len("2026-11-21T02:26:24.357Z")
TIME = slice(len(_HEAD), len(_HEAD) + _TIME_CHARACTERS)
"""Place of the time in a plain record."""
TEXT = slice(TIME.stop + len(_MIDDLE), None)
"""Place of the text in a plain record, in its JSON form."""
MIN_BATCH_BYTES = 4096
"""Smallest batch in which runs are searched, in bytes. In a smaller one, code that is not in the processor's cache
costs more than it saves."""
RUN_CHARACTERS = 64 * 1024
"""Largest run, in characters: its lines stay in the processor's cache. A larger record is left to the parser."""

_CONTROLS = bytes(range(0x20))
_DOUBTFUL = re.compile(r"\\(?![/bfnrt]|u(?:001b|0026|003[ce]|202[89]))")
"""Backslash that needs a closer look. Numeric escapes that the platform's encoder (Go) and colours need are allowed."""
_QUOTE, _COVER = r"\"", "\0\0"
"""Quote and its cover, of the same length. Without control characters in the batch, no other text equals the cover."""
_RECORDS = re.compile(
    rf'({re.escape(_HEAD)}[^"]{{{_TIME_CHARACTERS}}}{re.escape(_MIDDLE)}[^"]*+){re.escape(_TAIL)}[,\]]|.+', re.DOTALL
)
"""Consecutive plain records. From the first place without one, the rest of the text is one empty match."""
_NEVER = "\n"
"""Text that no plain record contains."""


class PlainRecordScanner:
    """Scanner for the plain records of one batch."""

    def __init__(self, text: str, raw: bytes) -> None:
        """`raw` holds the bytes of the text."""
        self._text = self._covered = text
        self._raw = raw
        self._sound: bool | None = None
        """Whether the batch has no control characters; determined when it is needed."""
        self._doubtful = 0
        """Position of the first doubtful backslash behind the part that was checked."""

    def run(self, position: int) -> RecordRun:
        """Return the consecutive plain records at `position`; none if another element is there."""
        if not self._text.startswith(_MIDDLE, position + TIME.stop) or not self._is_sound():
            return []
        if self._doubtful <= position:
            self._doubtful = self._find_doubtful(position)
        run: RecordRun = _RECORDS.findall(self._covered, position, min(self._doubtful, position + RUN_CHARACTERS))
        if run and not run[-1]:
            run.pop()
        return run if self._covered is self._text else self._uncovered(run, position)

    def _is_sound(self) -> bool:
        if self._sound is None:
            self._sound = len(self._raw.translate(None, _CONTROLS)) == len(self._raw)
        return self._sound

    def _find_doubtful(self, position: int) -> int:
        """Return the position of the next doubtful backslash. If it belongs to a quote, cover all quotes first."""
        found = _DOUBTFUL.search(self._covered, position)
        if found and self._covered.startswith(_QUOTE, found.start()):
            self._covered = self._text.replace(_QUOTE, _COVER)
            found = _DOUBTFUL.search(self._covered, position)
        return found.start() if found else len(self._text)

    def _uncovered(self, run: RecordRun, position: int) -> RecordRun:
        starts = accumulate((len(record) + len('"},') for record in run), initial=position)
        return [self._text[start : start + len(record)] for start, record in zip(starts, run, strict=False)]


def size(run: RecordRun) -> int:
    """Return the number of characters from the first record of a run to the end of its last."""
    return sum(map(len, run)) + len('"},') * len(run) - len(",")


class RequestIdCache:
    """Same result as `request_id.request_in`, mostly without a search.

    Design: most lines state the request that the line before has stated, at the same place.
    """

    def __init__(self, started: Container[str]) -> None:
        self._started = started
        self._last: str | None = None
        self._field = self._key = _NEVER
        """Last ID as it is written between tabs, and under its key."""
        self._key_offset = 0

    def clear(self) -> None:
        """Forget the last ID, because the set of started requests has changed."""
        self._last, self._field, self._key = None, _NEVER, _NEVER

    def request_in(self, record: str, start: int = TEXT.start, tail: str = '"') -> str | None:
        """Return the started request that a plain record states.

        For the JSON text of any other record, `start` is 1 and `tail` is empty.
        """
        first = record.find(TAB, start)
        if first < 0:
            place = record.find(request_id.IN_ALL_KEYS, start)
            # The ID under the first key is the one that counts, if it has started.
            if place < 0:
                if not record.startswith(request_id.PREFIX_STARTS, start):
                    return None
            elif record.startswith(self._key, place - self._key_offset):
                return self._last
        else:
            second = record.find(TAB, first + len(TAB))
            # If the first of the two fields may be an ID as well, it is the one that counts.
            has_id_size = second - first == len(TAB) + request_id.UUID_CHARACTERS
            if record.startswith(self._field, first if has_id_size else second):
                return self._last
        return self._search(record[start - 1 :] + tail)

    def _search(self, value: str) -> str | None:
        """Return the request of a value, and remember its place."""
        found = request_id.request_in(value, self._started)
        if found and found != self._last:
            self._last, self._field, self._key = found, f"{TAB}{found}{TAB}", _NEVER
        if found and TAB not in value and (key := next(request_id.keys_in(value), None)) and key[1] == found:
            self._key_offset = min(key.start(), request_id.KEY_START_CHARACTERS)
            self._key = value[key.start() - self._key_offset : key.end() + 1]
        return found
