"""INVOKE and SHUTDOWN events as values, parsed from the supervisor's packets.

References: Extensions API, "Next": INVOKE has `requestId`, `deadlineMs` and `tracing`. SHUTDOWN has `shutdownReason`
and `deadlineMs`.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from logferry import ipc
from logferry.deadline import Deadline


class Invoke(NamedTuple):
    """An INVOKE event."""

    number: bytes
    request_id: str
    deadline: Deadline
    again: bool
    """Whether the supervisor sends the event once more, because the previous shipper ended while it held the event."""
    deadline_ms: float | None = None
    """The same deadline as a date (epoch ms), or None if the event has none."""
    trace: str = ""
    """X-Ray trace header of the invocation, such as `Root=1-…;Parent=…;Sampled=1`; empty without one."""


class Shutdown(NamedTuple):
    """A SHUTDOWN event."""

    number: bytes
    reason: str
    deadline: Deadline


def is_event(packet: bytes) -> bool:
    """Return whether a packet from the supervisor contains an event."""
    return packet[:1] in (ipc.EVENT, ipc.EVENT_RETRY)


def parse(packet: bytes, *, now_ms: float, now: float) -> Invoke | Shutdown:
    """Return the event in a packet. `now_ms` is the wall clock (epoch ms), `now` the event loop's clock (s)."""
    number, _, document = packet[1:].partition(b"\n")
    fields = json.loads(document)
    deadline_ms = fields.get("deadlineMs")
    deadline = Deadline.from_epoch_ms(deadline_ms, now_ms=now_ms, now=now)
    if fields.get("eventType") == "SHUTDOWN":
        return Shutdown(number, str(fields.get("shutdownReason", "")), deadline)
    tracing = fields.get("tracing")
    trace = tracing.get("value") if isinstance(tracing, dict) else None
    return Invoke(
        number,
        str(fields.get("requestId", "")),
        deadline,
        again=packet[:1] == ipc.EVENT_RETRY,
        deadline_ms=deadline_ms,
        trace=trace if isinstance(trace, str) else "",
    )


def done(event: Invoke | Shutdown) -> bytes:
    """Return the DONE packet for an event: nothing is in flight for it any more."""
    return ipc.DONE + event.number
