"""Requests that have started in this execution environment. Pure.

A request has started when an INVOKE event or a `platform.start` record names it. A request ID in a line counts only if
its request is in this set: lines also hold IDs of API Gateway, of AWS SDK calls and of business objects.

Guarantees:
- Memory is bounded: only the newest `REMEMBERED` requests are kept.
- The header of a segment carries the newest `IN_HEADER` requests, so the set survives a restart of the shipper and the
  end of a segment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 256
"""Number of requests in the set."""
IN_HEADER = 64
"""Number of requests in a segment header: 2.5 KB at most. Managed Instances run up to 16 requests per vCPU."""
_VALID = re.compile(r"[A-Za-z0-9-]{1,64}")


def valid_id(value: object) -> str | None:
    """Return a request ID that may appear in a column and in a key. A record may state any text."""
    return value if isinstance(value, str) and _VALID.fullmatch(value) else None


class StartedRequests:
    """Bounded set of request IDs in the order of their starts."""

    def __init__(self, request_ids: Iterable[str] = ()) -> None:
        self._ids: dict[str, None] = dict.fromkeys(tuple(request_ids)[-REMEMBERED:])

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, request_id: str) -> None:
        """Add a request as the newest one."""
        self._ids.pop(request_id, None)
        self._ids[request_id] = None
        if len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def newest(self) -> tuple[str, ...]:
        """Return the requests for the header of a segment, oldest first."""
        return tuple(self._ids)[-IN_HEADER:]
