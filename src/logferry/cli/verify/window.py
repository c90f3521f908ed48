"""Time window of a verification: `--since` and `--until`. Pure.

Design: a lifecycle rule deletes the oldest objects, and a running environment has not stored its
newest ones. In a window, only the segments between the first and the last one with records in the
window are verified. All times are in the form of the stored lines, so that they compare as text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGE = re.compile(r"(\d{1,6})\s*([smhd])", re.ASCII)
REMEDY = "use an age such as 2h or 7d, or a time such as 2026-11-21T02:00Z"


class Window(NamedTuple):
    """The limits of a verification, each of them optional."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the window has a limit."""
        return self.since is not None or self.until is not None

    @property
    def since_text(self) -> str | None:
        """The first time, in the form of the stored lines."""
        return _as_text(self.since) if self.since else None

    @property
    def until_text(self) -> str | None:
        """The last time, in the form of the stored lines."""
        return _as_text(self.until) if self.until else None

    def __str__(self) -> str:
        """Return the limits for the report."""
        since = f"since {self.since_text}" if self.since else ""
        until = f"until {self.until_text}" if self.until else ""
        return " ".join(filter(None, (since, until)))


EVERYTHING = Window()
"""Window without limits."""


def parse_time(text: str, *, now: datetime) -> datetime:
    """Return the time of an age or of an ISO 8601 time, in UTC. Raise ValueError with the remedy."""
    if _AGE.fullmatch(text.strip()):
        return now - parse_age(text)
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(REMEDY) from error
    return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)


def parse_age(text: str) -> timedelta:
    """Return an age such as 2h or 7d. Raise ValueError with the remedy."""
    age = _AGE.fullmatch(text.strip())
    if age is None:
        raise ValueError("use an age such as 2h or 7d")
    return timedelta(**{_UNITS[age[2]]: int(age[1])})


def _as_text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
