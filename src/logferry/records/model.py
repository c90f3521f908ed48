"""Values that the journal, the encoder and the sinks share: origin, segment header, stored object, timestamps."""

from __future__ import annotations

import time
from typing import NamedTuple


class Origin(NamedTuple):
    """Where an environment's records come from: the same in each of its segments."""

    environment: str
    function: str
    version: str
    region: str
    concurrent: bool
    """Several invocations at a time (Managed Instances): order then says nothing about the request."""


class Header(NamedTuple):
    """The first frame of a segment."""

    origin: Origin
    number: int
    opened_ms: int
    request_id: str | None
    """The invocation that was running when the segment was opened, as far as the stream had said."""


class StoredObject(NamedTuple):
    """What a sink is asked to store."""

    key: str
    body: bytes
    metadata: dict[str, str]
    content_type: str
    content_encoding: str | None


def iso(at_ms: int) -> str:
    """Epoch milliseconds as the platform writes times: `2022-10-12T00:03:50.000Z` (Telemetry API schema)."""
    seconds, ms = divmod(at_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"
