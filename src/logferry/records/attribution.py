"""Attribution of records to requests. Pure.

Guarantees:
- A request is either stated or inferred. `record`: the record states a request that has started in this environment.
  `inferred`: a function's line lies between `platform.start` and `platform.runtimeDone`.
- A foreign request ID in a line is ignored: the line is attributed by its order.
- On Managed Instances no request is inferred, because several invocations run concurrently.

References: Telemetry API, "Telemetry API Event schema".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logferry.records.decoder import FUNCTION, REPORT, RUNTIME_DONE, START
from logferry.records.internal import INVOKE, PREFIX, SENT
from logferry.records.request_id import keys_in
from logferry.records.started_requests import valid_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.records.decoder import Event

PLATFORM = "platform."
ENDS = frozenset({RUNTIME_DONE, REPORT, "platform.end", "platform.fault"})
"""Types of records that end an invocation."""
STARTS = frozenset({START, INVOKE})
"""Types of records that start an invocation."""
_NOT_LINES = (PLATFORM, PREFIX)
_STARTS_ANEW = frozenset({"platform.initStart", "platform.restoreStart"})


def platform_request(event: Event) -> str | None:
    """Return the request of a platform event, or of the note of an INVOKE event."""
    record = event.fields.get("record")
    if isinstance(record, dict):
        return valid_id(record.get("requestId"))
    return next((found[1] for found in keys_in(event.value or "")), None) if isinstance(record, str) else None


def noted_request(event: Event) -> tuple[str, str] | None:
    """Return the request and its source that a note names for the function's own events behind it."""
    record = event.fields.get("record")
    return _request_of(record) if isinstance(record, dict) else None


def is_provisional(event: Event) -> bool:
    """Return whether a later note may name another request for these events."""
    record = event.fields.get("record")
    return isinstance(record, dict) and record.get("provisional") is True


def settled_requests(event: Event) -> list[dict[str, Any]]:
    """Return the parts of a note that settle all events with a provisional request before it, in their order."""
    record = event.fields.get("record")
    settled = record.get("settled") if isinstance(record, dict) else None
    return settled if isinstance(settled, list) else []


def settle(event: Event, part: dict[str, Any]) -> tuple[Event, tuple[str, str] | None]:
    """Return an event with its request, and with `"phase":"init"` in its record if the part of the note has it."""
    record = event.fields["record"]
    if "phase" in part and event.value and isinstance(record, dict) and "phase" not in record:
        value = f'{event.value.rstrip().removesuffix("}")},"phase":"init"}}'
        event = type(event)(event.text, {**event.fields, "record": {**record, "phase": "init"}}, value)
    return event, _request_of(part)


def _request_of(note: dict[str, Any]) -> tuple[str, str] | None:
    """Return the request in a part of a note, which logferry wrote."""
    return (note["requestId"], note["requestIdSource"]) if "requestId" in note else None


def running_after(running: str | None, event: Event) -> str | None:
    """Return the request that runs after this event, given the one that ran before it."""
    if not event.type.startswith(PLATFORM):
        return running
    # Three cases: 1. an invocation starts, 2. a new Init or restore phase or the end of the running invocation,
    # 3. any other event, such as the late report of the previous invocation.
    if event.type == START:
        return platform_request(event)
    if event.type in _STARTS_ANEW or (event.type in ENDS and platform_request(event) in (running, None)):
        return None
    return running


def attribute(
    event: Event,
    *,
    running: str | None,
    request_in: Callable[[str], str | None],
    concurrent: bool,
    noted: tuple[str, str] | None = None,
) -> tuple[str, str] | None:
    """Return the request of an event and its source, `record` or `inferred`.

    `running` is the request between start and end; it identifies nothing if invocations run concurrently.
    `request_in` returns the started request that the JSON text of a record states. `noted` is the request that the
    latest note names for the function's own events.
    """
    kind = event.type
    # Three cases: 1. events of the function, 2. lines, 3. records of the platform and of logferry.
    if kind in SENT:
        return noted
    if kind == FUNCTION or not kind.startswith(_NOT_LINES):
        stated = request_in(event.value or event.text)
    else:
        stated = platform_request(event)
    if stated:
        return stated, "record"
    return inferred(kind, running=running, concurrent=concurrent)


def inferred(kind: str, *, running: str | None, concurrent: bool) -> tuple[str, str] | None:
    """Return the request of an event of this type that states none, and its source."""
    return (running, "inferred") if running and kind == FUNCTION and not concurrent else None
