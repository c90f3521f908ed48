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
INVOKE = PREFIX + "invoke"
"""Type of a note in a segment that an INVOKE event named a request. It is not stored as a record."""


class InternalBatch(bytes):
    """Batch that logferry made. Only such a batch may contain `logferry.*` records."""

    __slots__ = ()


def internal_batch(kind: str, records: Iterable[dict[str, object]], *, at_ms: int) -> InternalBatch:
    """Return a batch of records of one type, in the form in which the platform writes batches."""
    events = [{"time": iso(at_ms), "type": kind, "record": record} for record in records]
    return InternalBatch(json.dumps(events, separators=(",", ":"), ensure_ascii=False).encode())


def dropped_batch(losses: Iterable[dict[str, object]], *, at_ms: int) -> InternalBatch:
    """Return the batch that reports discarded segments."""
    return internal_batch(DROPPED, losses, at_ms=at_ms)


def invoke_batch(request_id: str, *, at_ms: int) -> InternalBatch:
    """Return the note that an INVOKE event named a request, for the attribution of the records behind it."""
    return internal_batch(INVOKE, [{"requestId": request_id}], at_ms=at_ms)


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
