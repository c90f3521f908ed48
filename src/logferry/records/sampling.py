"""Sample of invocations by their request IDs. Pure.

Guarantees:
- The decision depends on the request ID alone, so each segment and each environment decides the same.
- With `keep_errors`, an invocation is dropped only if it is proven to have succeeded (see `segment_facts`).
"""

from __future__ import annotations

import zlib

_RANGE = 1 << 32


class Sample:
    """Rule that keeps a share of the invocations, from 0 to 1."""

    def __init__(self, share: float, *, keep_errors: bool) -> None:
        self._limit = share * _RANGE
        self.keep_errors = keep_errors

    def contains(self, request_id: str) -> bool:
        """Return whether an invocation is in the sample."""
        return zlib.crc32(request_id.encode()) < self._limit
