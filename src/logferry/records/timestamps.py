"""Times of records in the form in which the platform writes them. Pure.

Guarantees:
- A canonical time is a date and a time of day that exist. A query engine that parses the column `time` fails for a
  complete query if one value has a 13th month.

References: Telemetry API schema, `2022-10-12T00:03:50.000Z`.
"""

from __future__ import annotations

import re

from logferry.records.model import iso

_TIMESTAMP = re.compile(
    r"((?:19|20)\d\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z", re.ASCII
)
_SHORT_MONTHS = frozenset({"04", "06", "09", "11"})
HOUR_MS = 3_600_000
LATE_MS = 2_000
"""Longest time between a record and its delivery, in milliseconds: the buffer of the subscription and the transport."""


def is_canonical(time: object) -> bool:
    """Return whether a value is a time as the platform writes it."""
    found = _TIMESTAMP.fullmatch(time) if isinstance(time, str) else None
    if not found or found[3] <= "28":
        return bool(found)
    year, month, day = found.groups()
    # Three cases: 1. February, 2. a month of 30 days, 3. a month of 31 days.
    if month == "02":
        return day == "29" and int(year) % 4 == 0 and year != "1900"
    return day <= "30" or month not in _SHORT_MONTHS


def hour_of(body: bytes, *, now_ms: int) -> int:
    """Return the hour of a batch that arrives now, in hours since the epoch.

    It is the hour of the clock, except for the first `LATE_MS` of an hour: a batch whose first record is from the
    previous hour belongs to that hour. The first record is not used otherwise, because any process may post any time.
    """
    hour, since_ms = divmod(now_ms, HOUR_MS)
    if since_ms < LATE_MS and body.startswith(b'[{"time":"' + iso((hour - 1) * HOUR_MS)[:14].encode()):
        return hour - 1
    return hour
