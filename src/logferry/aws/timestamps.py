"""Timestamps of AWS requests and responses as seconds since the epoch.

Guarantees:
- The functions are pure and independent of the locale.
- Text that is not a timestamp gives None.

Design: `email.utils`, `calendar` and `strptime` parse these forms too, but importing them costs CPU
time in each execution environment. A regular expression and one formula do the same.

References: RFC 9110, section 5.6.7 (HTTP-date); RFC 3339.
"""

from __future__ import annotations

import re
from time import gmtime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP_DATE = r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT"
_ISO = r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|\+00:00)"


def amz_date(epoch_seconds: float) -> str:
    """Return the value of `X-Amz-Date`, for example 20130524T000000Z."""
    return "{:04}{:02}{:02}T{:02}{:02}{:02}Z".format(*gmtime(epoch_seconds)[:6])


def parse_http_date(text: str) -> int | None:
    """Return the seconds since the epoch of an HTTP `Date` header."""
    match = re.fullmatch(_HTTP_DATE, text, re.ASCII)
    if not match or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    return _epoch_seconds(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second)


def parse_iso(text: str) -> int | None:
    """Return the seconds since the epoch of an RFC 3339 timestamp in UTC."""
    match = re.fullmatch(_ISO, text, re.ASCII)
    return _epoch_seconds(*(int(group) for group in match.groups())) if match else None


def _epoch_seconds(  # noqa: PLR0917 - the parts of a timestamp in their order
    year: int, month: int, day: int, hour: int, minute: int, second: int
) -> int:
    """Count the seconds since 1970; the year begins in March, so that leap days come last."""
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)  # noqa: PLR2004 - February
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719_468
    return ((days * 24 + hour) * 60 + minute) * 60 + second
