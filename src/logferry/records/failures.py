"""Decision which invocations timed out or ran out of memory. Pure.

Guarantees:
- A request has at most one `logferry.timeout` and at most one `logferry.outOfMemory` record. The caller remembers
  which records are stored.
- Each record names its evidence and its request.
- A report that arrives during a later invocation still gives a record, with the request of the report.

Design: the platform names a timeout in `platform.runtimeDone` and in `platform.report`. If both are lost, the reason of
the SHUTDOWN event names it. There are three kinds of evidence for exhausted memory, in this order:

1. `errorType`: the platform names it.
2. `output`: the runtime has printed a known message (see `memory_errors`).
3. `memory`: the process ended (`Runtime.ExitError`) while all of the function's memory was in use.

References: Telemetry API schema, `platform.runtimeDone` and `platform.report`; Extensions API, "Shutdown phase".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.records import attribution, decoder
from logferry.records.internal import OUT_OF_MEMORY, TIMEOUT
from logferry.records.memory_errors import is_memory_error
from logferry.records.timestamps import is_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILED_KEPT = 16
"""Number of failed requests whose error type is remembered until their report."""
PROCESS_ENDED = "Runtime.ExitError"
SHUTDOWN = "SHUTDOWN"
_TIMED_OUT = "timeout"


class FailureRecord(NamedTuple):
    """Record about a failed invocation. `time` is empty if the event that caused it has no valid time."""

    kind: str
    request_id: str
    record: dict[str, object]
    time: str


class Failures:
    """Failed invocations of one execution environment."""

    def __init__(self, *, is_stored: Callable[[str, str], bool], message_of: Callable[[str], str | None]) -> None:
        """Start without a failed invocation.

        `is_stored` returns whether a record of this type and request is stored. `message_of` returns the message of
        exhausted memory in the lines of a request.
        """
        self._is_stored = is_stored
        self._message_of = message_of
        self._error_types: dict[str, str] = {}

    def on_event(self, event: decoder.Event) -> Iterator[FailureRecord]:
        """Yield the records that follow from the end or the report of a failed invocation."""
        record, request_id = event.fields.get("record"), attribution.platform_request(event)
        if not request_id or not isinstance(record, dict):
            return
        time = event.fields.get("time")
        time = time if isinstance(time, str) and is_canonical(time) else ""
        metrics = record["metrics"] if isinstance(record.get("metrics"), dict) else {}
        if record.get("status") == _TIMED_OUT and not self._is_stored(TIMEOUT, request_id):
            duration = {"durationMs": value} if (value := _number(metrics.get("durationMs"))) else {}
            yield FailureRecord(
                TIMEOUT, request_id, {"requestId": request_id, "evidence": event.type, **duration}, time
            )
        if isinstance(error_type := record.get("errorType"), str):
            self._remember(request_id, error_type)
        if not self._is_stored(OUT_OF_MEMORY, request_id):
            evidence = self._evidence(request_id, metrics)
            if evidence:
                yield FailureRecord(OUT_OF_MEMORY, request_id, {"requestId": request_id, **evidence}, time)
            else:
                self._remember(request_id, self._error_types.get(request_id, ""))

    def on_shutdown(self, reason: str, unended: str | None) -> Iterator[FailureRecord]:
        """Yield the records that follow from a SHUTDOWN event. `unended` is the request that has no end in the stream.

        The platform may deliver the last lines of a runtime after the report, so they are searched once more.
        """
        is_timeout, is_failure = reason.lower() == _TIMED_OUT, reason.lower() in (_TIMED_OUT, "failure")
        if unended and is_timeout and not self._is_stored(TIMEOUT, unended):
            yield FailureRecord(TIMEOUT, unended, {"requestId": unended, "evidence": SHUTDOWN}, "")
        latest = unended if unended and is_failure else next(reversed(self._error_types), None)
        if latest and not self._is_stored(OUT_OF_MEMORY, latest) and (message := self._message_of(latest)):
            found: dict[str, object] = {"requestId": latest, "evidence": "output", "output": message}
            yield FailureRecord(OUT_OF_MEMORY, latest, found, "")

    def _evidence(self, request_id: str, metrics: dict[str, Any]) -> dict[str, object] | None:
        error_type = self._error_types.get(request_id, "")
        if is_memory_error(error_type):
            return {"evidence": "errorType", "errorType": error_type}
        if message := self._message_of(request_id):
            return {"evidence": "output", "output": message}
        used, limit = _number(metrics.get("maxMemoryUsedMB")), _number(metrics.get("memorySizeMB"))
        if error_type == PROCESS_ENDED and 0 < limit <= used:
            return {"evidence": "memory", "maxMemoryUsedMB": used, "memorySizeMB": limit}
        return None

    def _remember(self, request_id: str, error_type: str) -> None:
        self._error_types.pop(request_id, None)
        self._error_types[request_id] = error_type
        if len(self._error_types) > FAILED_KEPT:
            del self._error_types[next(iter(self._error_types))]


def _number(value: object) -> float:
    """Return a number of the platform, or 0 for another value."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
