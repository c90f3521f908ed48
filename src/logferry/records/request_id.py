r"""Request ID that a line of text states. Pure.

Guarantees:
- A line states a request where the logger of a runtime puts it, or under a key that loggers use.
- A UUID anywhere else in a line is not a request ID.

References: runtime clients of Lambda. awslambdaric `bootstrap.py` writes `[LEVEL]\t<time>\t<requestId>\t…`, the Node
client writes `<time>\t<requestId>\t<LEVEL>\t…`.
"""

from __future__ import annotations

import re

ID_KEYS = ("requestId", "AWSRequestId", "function_request_id")
UUID_CHARACTERS = 36
IN_ALL_KEYS = "equest"
"""Letters that each key contains. Many lines contain them."""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_IN_TEXT = re.compile(rf'"(?:{"|".join(ID_KEYS)})"\s*:\s*"({_UUID.pattern})"|RequestId: ({_UUID.pattern})')
_IN_SOME_KEYS, _IN_THE_OTHERS = "equestId", "equest_id"
"""Letters of which each key contains one. Few lines contain them."""
_TAB_FIELDS = 3


def request_in(line: str) -> str | None:
    """Return the request that a line states."""
    if found := in_fields(line, tab="\t"):
        return found
    match = by_key(line)
    return id_of(match) if match else None


def in_fields(line: str, *, tab: str) -> str | None:
    """Return the request in the second or third field between tabs."""
    if tab in line:
        for field in line.split(tab, _TAB_FIELDS)[1:_TAB_FIELDS]:
            if _UUID.fullmatch(field):
                return field
    return None


def may_have_key(line: str) -> bool:
    """Return False only for a line without a key, at little cost."""
    return _IN_SOME_KEYS in line or _IN_THE_OTHERS in line


def by_key(line: str) -> re.Match[str] | None:
    """Return the place where a line states an ID under a key."""
    return _ID_IN_TEXT.search(line) if may_have_key(line) else None


def id_of(found: re.Match[str]) -> str:
    """Return the ID of such a place."""
    return found[1] or found[2]
