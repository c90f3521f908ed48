"""Facts about the invocations of a segment, read from the platform's records before the first line is written. Pure.

Guarantees:
- A success is proven only by the platform's own status, for an invocation whose records are all in the segment or in
  later ones. Its end must be in the segment, and the segment must not have been opened while it ran.
- A cold start is stated only for the first request of an execution environment.

Design: an encoder sees one segment. If the end of an invocation is in a later one, its records may be those of a
failure. The later segment was opened while the invocation ran (`Header.request_id`), so it does not count as a success
there either. The report of an invocation can be in a later segment than its end; it has the status too. On Managed
Instances the header names no running request, so the segment must also contain the start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.records import attribution, batch_facts, bounded_json, decoder
from logferry.records.internal import OUT_OF_MEMORY, TIMEOUT
from logferry.records.started_requests import IN_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.records.model import Header

SUCCESS = "success"
_FAILURES = frozenset({"platform.fault", TIMEOUT, OUT_OF_MEMORY})
_TRACE = re.compile(r"(?:^|;)\s*Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)", re.ASCII)
"""Trace ID in a trace header of AWS X-Ray."""
_RESTARTED = re.compile(r"r\d+\Z")
"""End of the name of an environment whose earlier records are unknown (`shipper.main`)."""
_MAX_TENANT_CHARACTERS = 256


class SegmentFacts:
    """Requests of a segment: which succeeded, which was the first, and their trace and tenant IDs."""

    def __init__(self, header: Header, bodies: Iterable[bytes]) -> None:
        """Read the platform's records; batches without any are not parsed."""
        self.traces: dict[str, str] = {}
        self.tenants: dict[str, str] = {}
        self._statuses: dict[str, bool] = {}
        self._started: dict[str, None] = {}
        reader = decoder.Reader()
        for body in bodies:
            if batch_facts.mentions_platform(body) or reader.has_partial_record or not batch_facts.ends_complete(body):
                for event in reader.read(body):
                    if isinstance(event, decoder.Event):
                        self._see(event)
        concurrent = header.origin.concurrent
        self.succeeded = frozenset(
            request
            for request, succeeded in self._statuses.items()
            if succeeded and request != header.request_id and (request in self._started or not concurrent)
        )
        self.first_request = self._first_request(header)

    def _first_request(self, header: Header) -> str | None:
        """Return the first request of the environment, or None if it is unknown or long ago."""
        if _RESTARTED.search(header.origin.environment) or len(header.started) >= IN_HEADER:
            return None
        return next(iter((*header.started, *self._started)), None)

    def _see(self, event: decoder.Event) -> None:
        request = attribution.platform_request(event)
        if not request:
            return
        if event.type in attribution.STARTS:
            self._started[request] = None
        record = event.fields.get("record")
        if isinstance(record, dict) and event.type.startswith(attribution.PLATFORM):
            self._note_ids(request, record)
        # Two cases: 1. a record of a failure, 2. an end or a report. An old schema has reports without a status.
        if event.type in _FAILURES:
            self._statuses[request] = False
        elif event.type in (decoder.RUNTIME_DONE, decoder.REPORT):
            status = record.get("status") if isinstance(record, dict) else None
            if status is not None or event.type != decoder.REPORT:
                self._statuses[request] = self._statuses.get(request, True) and status == SUCCESS

    def _note_ids(self, request: str, record: dict[str, object]) -> None:
        tracing, tenant = record.get("tracing"), record.get("tenantId")
        value = tracing.get("value") if isinstance(tracing, dict) else None
        if isinstance(value, str) and (trace := _TRACE.search(value)):
            self.traces[request] = trace[1]
        if isinstance(tenant, str) and 0 < len(tenant) <= _MAX_TENANT_CHARACTERS and bounded_json.is_text(tenant):
            self.tenants[request] = tenant
