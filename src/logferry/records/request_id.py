r"""Which request a line of text names itself. Pure.

A line names its request where a runtime's own logger has put it, or by a key that loggers use; a UUID somewhere in a
line is no name. Formats: Lambda's runtime clients (awslambdaric `bootstrap.py`: `[LEVEL]\t<time>\t<requestId>\t…`; the
Node client: `<time>\t<requestId>\t<LEVEL>\t…`).
"""

from __future__ import annotations

import json
import re

from logferry.records.fast_path import TAB, TEXT

ID_KEYS = ("requestId", "AWSRequestId", "function_request_id")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_CHARACTERS = 36
_ID_IN_TEXT = re.compile(rf'"(?:{"|".join(ID_KEYS)})"\s*:\s*"({_UUID.pattern})"|RequestId: ({_UUID.pattern})')
_IN_ALL_KEYS, _IN_SOME_KEYS, _IN_THE_OTHERS = "equest", "equestId", "equest_id"
"""The first is a part of many lines, the others of few."""
_TAB_FIELDS = 3
_NEVER = "\n"
"""No record holds it as it stands."""


def request_in(line: str) -> str | None:
    """The request that a line names."""
    if found := _in_fields(line, tab="\t"):
        return found
    match = _by_key(line)
    return _id(match) if match else None


def _in_fields(line: str, *, tab: str) -> str | None:
    if tab in line:
        for field in line.split(tab, _TAB_FIELDS)[1:_TAB_FIELDS]:
            if _UUID.fullmatch(field):
                return field
    return None


def _by_key(line: str) -> re.Match[str] | None:
    """Where a line gives an id under a key."""
    return _ID_IN_TEXT.search(line) if _IN_SOME_KEYS in line or _IN_THE_OTHERS in line else None


def _id(found: re.Match[str]) -> str:
    return found[1] or found[2]


class RequestIdCache:
    """The same for plain records (see `plain`), mostly without decoding their text or taking it apart.

    For most lines name the request that the line before has named, in the same place.
    """

    def __init__(self) -> None:
        self._last: str | None = None
        self._field = self._key = _NEVER
        """How the last id is written between tabs, and under its key."""
        self._key_offset = 0

    def request_in(self, record: str) -> str | None:
        """The request that a plain record names."""
        first = record.find(TAB, TEXT.start)
        if first < 0:
            place = record.find(_IN_ALL_KEYS, TEXT.start)
            if place < 0:
                return None
            # A match holds these letters once, so the one that holds the first of them is the first.
            if record.startswith(self._key, place - self._key_offset):
                return self._last
        else:
            second = record.find(TAB, first + len(TAB))
            # Where the first of the two fields may be an id, too, that is the one.
            if record.startswith(self._field, first if second - first == len(TAB) + _UUID_CHARACTERS else second):
                return self._last
        return self._look_into(record[TEXT])

    def _look_into(self, text: str) -> str | None:
        """In a plain record a tab is always written the same way, and no escape stands for a part of an id or a key."""
        if found := _in_fields(text, tab=TAB):
            self._note(found)
        elif (_IN_SOME_KEYS in text or _IN_THE_OTHERS in text) and (match := _by_key(json.loads(f'"{text}"'))):
            found = _id(match)
            self._note(found)
            self._key = json.dumps(match[0])[1:-1]
            self._key_offset = self._key.index(_IN_ALL_KEYS)
        return found

    def _note(self, found: str) -> None:
        if found != self._last:
            self._last, self._field, self._key = found, f"{TAB}{found}{TAB}", _NEVER
