"""Events of the Extensions API as the shipper sees them: a packet from the supervisor becomes a value, once.

Source: Extensions API, "Next": INVOKE carries `requestId` and `deadlineMs`, SHUTDOWN `shutdownReason` and `deadlineMs`.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from logferry import ipc
from logferry.deadline import Deadline


class Invoke(NamedTuple):
    """An invocation begins."""

    number: bytes
    request_id: str
    deadline: Deadline
    again: bool
    """Handed on a second time, because the shipper before this one died with it."""


class Shutdown(NamedTuple):
    """The environment ends."""

    number: bytes
    reason: str
    deadline: Deadline


def is_event(packet: bytes) -> bool:
    """Whether a packet from the supervisor holds an event."""
    return packet[:1] in (ipc.EVENT, ipc.EVENT_RETRY)


def parse(packet: bytes, *, now_ms: float, now: float) -> Invoke | Shutdown:
    """The event in a packet, its date turned into a moment of our clock."""
    number, _, document = packet[1:].partition(b"\n")
    fields = json.loads(document)
    deadline = Deadline.from_epoch_ms(fields.get("deadlineMs"), now_ms=now_ms, now=now)
    if fields.get("eventType") == "SHUTDOWN":
        return Shutdown(number, str(fields.get("shutdownReason", "")), deadline)
    return Invoke(number, str(fields.get("requestId", "")), deadline, again=packet[:1] == ipc.EVENT_RETRY)


def done(event: Invoke | Shutdown) -> bytes:
    """The packet that tells the supervisor that nothing is in flight for this event any more."""
    return ipc.DONE + event.number
