"""The mark of a delivery that logferry made itself: nobody else's passes for it.

Whoever can post may write `"type":"logferry.dropped"`, so a type proves nothing. What is marked is the delivery, beside
its bytes, where no post reaches: the journal keeps the mark with each body (a bit of the frame's head), and the reader
of deliveries believes our own types in a marked one only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from logferry.records.model import iso

if TYPE_CHECKING:
    from logferry.records.model import Header


class InternalBatch(bytes):
    """A delivery of our own."""

    __slots__ = ()


def loss_body(header: Header, *, size: int) -> InternalBatch:
    """A delivery of our own: this many accepted bytes of the segment did not survive on disk."""
    record = {
        "environment": header.origin.environment,
        "segment": header.number,
        "bytes": size,
        "reason": "damaged on disk: the checksum does not match",
    }
    return own_body("logferry.damaged", record, at_ms=header.opened_ms)


def own_body(kind: str, *records: dict[str, object], at_ms: int) -> InternalBatch:
    """A delivery as the platform would make it, with records of our own."""
    events = [{"time": iso(at_ms), "type": kind, "record": record} for record in records]
    return InternalBatch(json.dumps(events, separators=(",", ":"), ensure_ascii=False).encode())
