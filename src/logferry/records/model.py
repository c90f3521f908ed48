"""Values that the journal, the encoder and the sinks share: origin, segment header, stored object, timestamps."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple


class Origin(NamedTuple):
    """Source of an execution environment's records, the same in each of its segments."""

    environment: str
    function: str
    version: str
    region: str
    concurrent: bool
    """Whether invocations run concurrently (Managed Instances). The order of records then identifies no request."""
    account: str = ""
    """AWS account, if the Extensions API has returned it."""


class Header(NamedTuple):
    """First frame of a segment."""

    origin: Origin
    number: int
    opened_ms: int
    request_id: str | None
    """Request that was running when the segment was opened, according to the records accepted until then."""
    started: tuple[str, ...] = ()
    """Newest requests that had started when the segment was opened, oldest first."""


class StoredObject(NamedTuple):
    """Object that a sink stores."""

    key: str
    body: bytes
    metadata: dict[str, str]
    content_type: str


def iso(at_ms: int) -> str:
    """Return epoch milliseconds as the platform writes times: `2022-10-12T00:03:50.000Z` (Telemetry API schema)."""
    seconds, ms = divmod(at_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{_minute(minutes)}:{seconds:02d}.{ms:03d}Z"


@lru_cache(maxsize=4)
def _minute(minutes: int) -> str:
    """Return a minute since the epoch. Most times are of the current one, and `strftime` is slow after a pause."""
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(60 * minutes))
