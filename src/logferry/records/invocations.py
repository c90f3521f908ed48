"""State of the invocations according to the stream: which have ended, and which reports are outstanding.

Guarantees:
- Memory is bounded: only the newest requests are remembered.
- A batch without platform events and without a cut record is not parsed.
- The events of a failed invocation are kept for the failure watch. A successful invocation adds one comparison.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from logferry.records import attribution, batch_facts, decoder
from logferry.records.internal import OUT_OF_MEMORY, TIMEOUT
from logferry.records.started_requests import StartedRequests, valid_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.records.model import Header

REMEMBERED = 256
"""Number of requests that are remembered."""
CUT_BYTES = 256 * 1024
"""Size of the smallest batch that may end in a cut record, in bytes: the smallest `maxBytes` of a subscription."""


FAILURES_KEPT = 256
"""Number of events of failed invocations that wait for the failure watch."""
_SUCCESSFUL = ("success", None)
"""Values of `status` without a failure. The reports of the Logs API have no status."""
_FAILURE_RECORDS = frozenset({TIMEOUT, OUT_OF_MEMORY})


class Invocations:
    """Requests that appeared in the stream and in INVOKE events."""

    def __init__(self) -> None:
        self.running: str | None = None
        """Request between `platform.start` and its end; None outside, or if invocations run concurrently."""
        self.started = StartedRequests()
        """Requests that have started, for the attribution of lines."""
        self.reports = 0
        """Number of `platform.report` records so far."""
        self.failures: deque[decoder.Event] = deque(maxlen=FAILURES_KEPT)
        """Ends and reports of failed invocations, and the records of logferry about them, in the order of the stream.
        The failure watch takes them out."""
        self.observers: list[Callable[[decoder.Event], None]] = []
        """Functions that receive the start, the end and the report of each invocation."""
        self._reader = decoder.Reader()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._unreported: OrderedDict[str, None] = OrderedDict()

    def began(self, request_id: str) -> None:
        """Note the request of an INVOKE event."""
        _remember(self._unreported, request_id)
        if valid_id(request_id):
            self.started.add(request_id)

    def resume(self, header: Header) -> None:
        """Continue with the state in the header of a segment, before its batches are seen again."""
        self.running = header.request_id
        for request_id in header.started:
            self.started.add(request_id)

    def see(self, body: bytes) -> None:
        """Take in a batch."""
        may_be_cut = len(body) >= CUT_BYTES and not batch_facts.ends_complete(body)
        if batch_facts.mentions_platform(body) or self._reader.has_partial_record or may_be_cut:
            for event in self._reader.read(body):
                if not isinstance(event, decoder.Event):
                    continue  # a run of function lines
                self.running = attribution.running_after(self.running, event)
                if event.type in attribution.STARTS and (started := attribution.platform_request(event)):
                    self.started.add(started)
                if event.type in (decoder.START, decoder.RUNTIME_DONE, decoder.REPORT):
                    self._note(event)
                elif event.type in _FAILURE_RECORDS:
                    self.failures.append(event)

    @property
    def in_the_middle(self) -> bool:
        """Whether a record was cut and the next batch brings its rest. A segment is not sealed then."""
        return self._reader.has_partial_record

    def ended(self, request_id: str) -> bool:
        """Return whether the runtime has finished the request."""
        return request_id in self._ended

    def may_run(self, request_id: str, repeated: bool) -> bool:
        """Return whether the runtime may still work on a request.

        1. No record shows the end of a request without an ID. 2. A repeated event, whose first shipper ended, may have
        ended in a segment that is uploaded and removed. It runs only if the journal shows that it does.
        """
        if not request_id or (repeated and self.running != request_id):
            return False
        return not self.ended(request_id)

    def all_reported(self) -> bool:
        """Return whether the `platform.report` of every known invocation has arrived."""
        return not self._unreported

    def unended(self) -> str | None:
        """Return the newest request that has begun, and whose end has not arrived."""
        return next((each for each in reversed(self._unreported) if each and each not in self._ended), None)

    def _note(self, event: decoder.Event) -> None:
        kind, request_id = event.type, attribution.platform_request(event) or ""
        if kind == decoder.START:
            _remember(self._unreported, request_id)
        else:
            _remember(self._ended, request_id)
            record = event.fields.get("record")
            if isinstance(record, dict) and record.get("status") not in _SUCCESSFUL:
                self.failures.append(event)
        if kind == decoder.REPORT:
            self.reports += 1
            self._unreported.pop(request_id, None)
        for observe in self.observers:
            observe(event)


def _remember(requests: OrderedDict[str, None], request_id: str) -> None:
    requests[request_id] = None
    if len(requests) > REMEMBERED:
        requests.popitem(last=False)
