"""Sample of invocations by their request IDs. Pure.

Guarantees:
- The decision depends on the request ID alone, so each segment and each environment decides the same.
- With `keep_errors`, only an invocation that is proven to have succeeded is dropped. The segment must contain its end,
  and must not have been opened while it ran.

Design: an encoder sees one segment. If the end of an invocation is in a later one, its records are kept, because they
may be those of a failure. The later segment was opened while the invocation ran (`Header.request_id`), so it keeps the
rest too: the invocation is kept as a whole. A report of the platform can be in a later segment than the end. It has the
status too, and follows the same rule. On Managed Instances the header names no running request, so the segment must
also contain the start.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from logferry.records import attribution, decoder
from logferry.records.internal import OUT_OF_MEMORY, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.records.model import Header

SUCCESS = "success"
_FAILURES = frozenset({"platform.fault", TIMEOUT, OUT_OF_MEMORY})
_RANGE = 1 << 32


class Sample:
    """Rule that keeps a share of the invocations, from 0 to 1."""

    def __init__(self, share: float, *, keep_errors: bool) -> None:
        self._limit = share * _RANGE
        self.keep_errors = keep_errors

    def contains(self, request_id: str) -> bool:
        """Return whether an invocation is in the sample."""
        return zlib.crc32(request_id.encode()) < self._limit


class Successes:
    """Requests of a segment that are proven to have succeeded, completely inside it."""

    def __init__(self, header: Header, bodies: Iterable[bytes]) -> None:
        """Read the platform's records of a segment; batches without any are not parsed."""
        self._statuses: dict[str, bool] = {}
        started: set[str] = set()
        reader = decoder.Reader()
        for body in bodies:
            if decoder.mentions_platform(body) or reader.has_partial_record or not decoder.ends_complete(body):
                for event in reader.read(body):
                    if isinstance(event, decoder.Event):
                        self._see(event, started)
        concurrent = header.origin.concurrent
        self._requests = frozenset(
            request
            for request, succeeded in self._statuses.items()
            if succeeded and request != header.request_id and (request in started or not concurrent)
        )

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._requests

    def _see(self, event: decoder.Event, started: set[str]) -> None:
        request = attribution.platform_request(event)
        if not request:
            return
        if event.type in attribution.STARTS:
            started.add(request)
        elif event.type in _FAILURES:
            self._statuses[request] = False
        elif event.type in (decoder.RUNTIME_DONE, decoder.REPORT):
            record = event.fields.get("record")
            status = record.get("status") if isinstance(record, dict) else None
            # An old schema has reports without a status, and text. Only a stated success is a proof.
            if status is not None or event.type != decoder.REPORT:
                self._statuses[request] = self._statuses.get(request, True) and status == SUCCESS
