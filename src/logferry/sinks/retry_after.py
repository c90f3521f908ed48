"""Time until the next attempt that a response requests with `Retry-After`. Pure.

Guarantees:
- Both forms are read: seconds, and a date.
- A date is compared with the date of the response, so a wrong clock of this environment has no effect.
- A value in no valid form, or in the past, requests nothing.

References: RFC 9110, section 10.2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.aws.timestamps import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGITS = 9
"""Maximum number of digits of a valid value: 30 years in seconds."""


def retry_after(headers: Mapping[str, str], *, now: float) -> float:
    """Return the requested time in seconds, or 0 without a valid request.

    The names of `headers` are in lower case, and `now` is the time since the epoch.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        return float(value)
    at = parse_http_date(value)
    if at is None:
        return 0.0
    sent = parse_http_date(headers.get("date", ""))
    return max(0.0, at - (now if sent is None else sent))
