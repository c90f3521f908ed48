"""Record types of logferry (`logferry.*`), and the mark that only logferry can set.

Guarantees:
- Every `logferry.*` record is made in this module.
- Records of these types are accepted only in batches that carry the mark `InternalBatch`.

Design: any process that can post may write `"type":"logferry.dropped"`, so a type proves nothing. The mark is stored
next to the bytes of a batch, where no post can write: the journal keeps it as one bit of the frame head.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from logferry.records.model import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from logferry.records.model import Header

FORMAT = 1
"""Version of the object format."""
PREFIX = "logferry."
UNPARSABLE = PREFIX + "unparsable"
"""Type of a record that holds text or bytes which are not an event."""
DROPPED = PREFIX + "dropped"
"""Type of a record that reports segments which were discarded."""
DAMAGED = PREFIX + "damaged"
"""Type of a record that reports accepted bytes which did not survive on disk."""
SEGMENT = PREFIX + "segment"
"""Type of the last line of an object."""
FINAL = PREFIX + "final"
"""Type of the last line of the last object of an execution environment."""
TIMEOUT = PREFIX + "timeout"
"""Type of a record that states that an invocation exceeded the function timeout."""
OUT_OF_MEMORY = PREFIX + "outOfMemory"
"""Type of a record that states that the runtime ran out of memory in an invocation."""
INVOCATION = PREFIX + "invocation"
"""Type of the summary of an invocation: its calls, events, losses and resource usage."""
USAGE = PREFIX + "usage"
"""Type of a record with the resource usage of a minute, on Managed Instances."""
EVENT = PREFIX + "event"
"""Type of an event that the function sent (see `instrumentation.event_line`)."""
METRIC = PREFIX + "metric"
"""Type of a metric that the function sent."""
CALL = PREFIX + "call"
"""Type of an HTTP call that a hook inside the function's process observed."""
SENT = frozenset({EVENT, METRIC, CALL})
"""Types whose record is an object of the function. Its content is a claim, and it never names the request."""
INVOKE = PREFIX + "invoke"
"""Type of a note in a segment that an INVOKE event named a request. It is not stored as a record."""
ATTRIBUTION = PREFIX + "attribution"
"""Type of a note in a segment that names the request of the records in `SENT`. It is not stored either."""
NOTES = frozenset({INVOKE, ATTRIBUTION})
"""Types of elements that are not records."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class InternalBatch(bytes):
    """Batch that logferry made. Only such a batch may contain `logferry.*` records."""

    __slots__ = ()


def internal_batch(kind: str, records: Iterable[dict[str, object]], *, at_ms: int) -> InternalBatch:
    """Return a batch of records of one type, in the form in which the platform writes batches."""
    return _batch([{"time": iso(at_ms), "type": kind, "record": record} for record in records])


def timed_batch(kind: str, record: dict[str, object], *, time: str) -> InternalBatch:
    """Return a batch of one record with a time of the platform, such as the time of the record that caused it."""
    return _batch([{"time": time, "type": kind, "record": record}])


def summary_batch(record: str, *, time: str) -> InternalBatch:
    """Return a batch of one summary of an invocation, from the JSON text of its record and a time of the platform."""
    return InternalBatch(f'[{{"time":"{time}","type":"{INVOCATION}","record":{record}}}]'.encode())


def _batch(events: list[dict[str, object]]) -> InternalBatch:
    return InternalBatch(_ENCODER.encode(events).encode())


def dropped_batch(losses: Iterable[dict[str, object]], *, at_ms: int) -> InternalBatch:
    """Return the batch that reports discarded segments."""
    return internal_batch(DROPPED, losses, at_ms=at_ms)


def invoke_batch(request_id: str, *, at_ms: int) -> InternalBatch:
    """Return the note that an INVOKE event named a request, for the attribution of the records behind it."""
    return internal_batch(INVOKE, [{"requestId": request_id}], at_ms=at_ms)


def sent_batch(
    events: Iterable[tuple[tuple[tuple[str, str] | None, bool], str, str, str]], *, unparsable: bytes, at_ms: int
) -> InternalBatch:
    """Return the batch of events that the function sent.

    An event is its request with the source (see `attribution`) and whether it is provisional, its type, its time in
    the platform's form, and the JSON text of its record. `unparsable` is a line that is not an event, or empty.
    """
    at = iso(at_ms)
    parts: list[str] = []
    noted: object = ()
    for attributed, kind, time, text in events:
        if attributed != noted:
            noted = attributed
            request, provisional = attributed
            parts.append(_attribution(_request_fields(request) | ({"provisional": True} if provisional else {}), at))
        parts.append(f'{{"time":"{time}","type":"{kind}","record":{text}}}')
    if unparsable:
        parts.append(json.dumps({"time": at} | unparsable_fields(unparsable), separators=(",", ":")))
    return InternalBatch(f"[{','.join(parts)}]".encode())


def settling_batch(requests: Iterable[tuple[tuple[str, str] | None, bool]], *, at_ms: int) -> InternalBatch:
    """Return the note that settles the requests of all events whose request was provisional, in their order.

    Each has its request with the source, and whether an event without a request belongs to the Init phase.
    """
    settled = [
        {"phase": "init"} if is_init and not request else _request_fields(request) for request, is_init in requests
    ]
    return InternalBatch(f"[{_attribution({'settled': settled}, iso(at_ms))}]".encode())


def _request_fields(request: tuple[str, str] | None) -> dict[str, object]:
    return {"requestId": request[0], "requestIdSource": request[1]} if request else {}


def _attribution(record: dict[str, object], at: str) -> str:
    return f'{{"time":"{at}","type":"{ATTRIBUTION}","record":{json.dumps(record, separators=(",", ":"))}}}'


def damaged_batch(header: Header, *, size: int) -> InternalBatch:
    """Return the batch that reports `size` accepted bytes of a segment which did not survive on disk.

    Its time is that of the segment: the same damage always gives the same bytes.
    """
    record: dict[str, object] = {
        "environment": header.origin.environment,
        "segment": header.number,
        "bytes": size,
        "reason": "damaged on disk: the checksum does not match",
    }
    return internal_batch(DAMAGED, [record], at_ms=header.opened_ms)


def closing_record(header: Header, *, records: int, first: str, last: str, more: Mapping[str, object]) -> str:
    """Return the JSON text of the record in the last line of an object. `more` has the members of optional features.

    With it, a reader recognises an object that was cut at the end of a line, and the object identifies its function
    even if its path is lost.
    """
    origin = header.origin
    record = {
        "format": FORMAT,
        "records": records,
        "first": first,
        "last": last,
        "function": origin.function,
        "version": origin.version,
        "region": origin.region,
        **({"account": origin.account} if origin.account else {}),
        **more,
    }
    return json.dumps(record, separators=(",", ":"))


def unparsable_fields(raw: bytes) -> dict[str, Any]:
    """Return the event that holds bytes which are not an event: as text if they are UTF-8, otherwise as base64."""
    try:
        record = {"text": raw.decode()}
    except UnicodeDecodeError:
        record = {"base64": base64.b64encode(raw).decode()}
    return {"type": UNPARSABLE, "record": record}
