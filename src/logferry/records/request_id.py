r"""Request ID that a record states. Pure.

Guarantees:
- A record states a request only if that request has started in this environment (`started_requests`).
- A request ID counts at three places, in this order:
  1. between tabs, where the runtime clients of Python, Node and .NET put it;
  2. under a key that loggers use, at any depth of an object, in JSON text or as `key=value`;
  3. in the prefix of the runtime clients of Java and Ruby, and of the platform's own lines.
- A request ID anywhere else in a line does not count.

Design: the functions read the JSON text of a record. Text records and objects, and records with and without JSON
parsing, therefore follow the same rules. The escapes of JSON only add backslashes to quotes.

References: awslambdaric `bootstrap.py` writes `[LEVEL]\t<time>\t<id>\t…`, the Node and .NET clients write
`<time>\t<id>\t<LEVEL>\t…`. The Ruby client writes `I, [<time> #8]  INFO <id> -- : …` (`lambda_log_formatter.rb`). The
Log4j2 pattern of AWS's Java documentation is `%d{yyyy-MM-dd HH:mm:ss} %X{AWSRequestId} %-5p …`. The Rust runtime writes
`requestId` into a tracing span, Powertools writes `function_request_id`, pino-lambda writes `awsRequestId`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

UUID_CHARACTERS = 36
"""Length of a request ID between tabs, in characters."""
TAB = r"\t"
"""Tab in the JSON text of a record."""
IN_ALL_KEYS = "equest"
"""Letters that each key contains."""
PREFIX_STARTS = ("20", "I, [", "W, [", "E, [", "D, [", "F, [", "A, [")
"""Beginnings of a text that may have the prefix of Java (a year) or Ruby (a severity)."""

_TAB_FIELDS = 3
_PREFIX = re.compile(
    r'"(?:20\d\d-\d\d-\d\d[T ][0-9:.,]+Z?|[A-Z], \[[^\]"]{1,80}\] +[A-Z]+) +[<(\[]?([A-Za-z0-9-]{36})[>)\] \\"]'
)
_KEY = re.compile(r'equest[_-]?[Ii][Dd](?:\\*")?(?:\\t| )*[:=](?:\\t| )*(?:\\*")?([A-Za-z0-9-]{1,64})(?![A-Za-z0-9-])')
"""Key from its second letter on, and the value behind it: a literal beginning makes the search fast."""
_KEY_START = re.compile(r"[^A-Za-z0-9_-](?:(?:aws|lambda|function)[_-]?)?r\Z", re.IGNORECASE)
"""Text before the second letter of a key. `parent_request_id` and the like are not keys of the request."""
KEY_START_CHARACTERS = 12
"""Length of the longest such text, in characters."""


def request_in(value: str, started: Container[str]) -> str | None:
    """Return the started request that the JSON text of a record states."""
    if TAB in value:
        for field in value.split(TAB, _TAB_FIELDS)[1:_TAB_FIELDS]:
            if len(field) == UUID_CHARACTERS and field in started:
                return field
    for found in keys_in(value):
        if found[1] in started:
            return found[1]
    prefix = _PREFIX.match(value) if value.startswith(PREFIX_STARTS, 1) else None
    return prefix[1] if prefix and prefix[1] in started else None


def keys_in(value: str) -> Iterator[re.Match[str]]:
    """Yield the places where the JSON text of a record states an ID under a key; group 1 is the ID."""
    if IN_ALL_KEYS in value:
        for found in _KEY.finditer(value):
            if _KEY_START.search(value, max(0, found.start() - KEY_START_CHARACTERS), found.start()):
                yield found
