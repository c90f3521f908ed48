"""Attribution of records to requests. Pure.

Guarantees:
- A request is either stated or inferred. `record`: the record states its request. `inferred`: a function's line lies
  between `platform.start` and `platform.runtimeDone`.
- On Managed Instances no request is inferred, because several invocations run concurrently.

References: Telemetry API, "Telemetry API Event schema".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.records.decoder import FUNCTION, REPORT, RUNTIME_DONE, START
from logferry.records.request_id import ID_KEYS, request_in

if TYPE_CHECKING:
    from logferry.records.decoder import Event

_ENDS = frozenset({RUNTIME_DONE, REPORT, "platform.end", "platform.fault"})
_STARTS_ANEW = frozenset({"platform.initStart", "platform.restoreStart"})


def stated_request(event: Event) -> str | None:
    """Return the request that the event itself states."""
    if isinstance(top := event.fields.get("requestId"), str):
        return top
    record = event.fields.get("record")
    if isinstance(record, dict):
        return next((v for key in ID_KEYS if isinstance(v := record.get(key), str) and v), None)
    return request_in(record) if isinstance(record, str) else None


def running_after(running: str | None, event: Event) -> str | None:
    """Return the request that runs after this event, given the one that ran before it."""
    if event.type == FUNCTION:
        return running
    if event.type == START:
        return stated_request(event)
    if event.type in _STARTS_ANEW or (event.type in _ENDS and stated_request(event) in (running, None)):
        return None
    return running


def attribute(event: Event, *, running: str | None, concurrent: bool) -> tuple[str, str] | None:
    """Return the request of an event and its source, `record` or `inferred`.

    `running` is the request between start and end; it identifies nothing if invocations run concurrently.
    """
    if stated := stated_request(event):
        return stated, "record"
    return inferred(event.type, running=running, concurrent=concurrent)


def inferred(kind: str, *, running: str | None, concurrent: bool) -> tuple[str, str] | None:
    """Return the request of an event of this type that states none, and its source."""
    return (running, "inferred") if running and kind == FUNCTION and not concurrent else None
