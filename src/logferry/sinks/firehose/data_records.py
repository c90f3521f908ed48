"""Division of an object into the data records and requests of Firehose. Pure.

Guarantees:
- A data record consists of complete lines: at most `MAX_LINES` (or fewer, as the settings request), and at most
  `MAX_RECORD_BYTES`. The records of an object, joined in their order, are its bytes.
- Exception: a line that exceeds `MAX_RECORD_BYTES` is shortened (`oversized_line`), and counted.
- A request has at most `MAX_RECORDS` records, and its body at most `MAX_REQUEST_BYTES`.
- The same object always gives the same records, so that accepted ones are recognized in a later attempt.

Design: Firehose bills each record in steps of 5 KB, so a record for each line would cost several times as much.
It deaggregates at most 500 lines of a record, so the default works with dynamic partitioning too. The limit of a
request counts the encoded body, which is the stricter reading of the documentation.

References: Firehose API Reference, "PutRecordBatch"; Firehose Developer Guide, "Quota" and "Apply dynamic partitioning
to aggregated data".
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple

from logferry.sinks.firehose.oversized_line import shortened

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    Data = bytes | memoryview

MAX_LINES = 500
"""Maximum number of lines in a record: more are not deaggregated."""
MAX_RECORD_BYTES = 1_024_000
"""Maximum size of a record before base64, in bytes."""
MAX_RECORDS = 500
"""Maximum number of records in a request."""
MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Maximum size of the body of a request, in bytes."""
_BEGIN, _SEPARATOR, _END = b'{"Data": "', b'"}, {"Data": "', b'"}]}'


class Divided(NamedTuple):
    """The data records of an object."""

    records: Sequence[Data]
    shortened_lines: int
    """Number of lines that did not fit into a record."""


def divide(body: bytes, max_lines: int = MAX_LINES) -> Divided:
    """Return the data records of an object, each with at most `max_lines` lines."""
    view = memoryview(body)
    records: list[Data] = []
    shortened_lines = 0
    start = end = lines = 0
    while end < len(body):
        following = body.find(b"\n", end) + 1 or len(body)
        if lines == max_lines or following - start > MAX_RECORD_BYTES:
            if lines:
                records.append(view[start:end])
            start, lines = end, 0
        if following - end > MAX_RECORD_BYTES:
            records.append(shortened(body[end:following], MAX_RECORD_BYTES))
            shortened_lines += 1
            start = following
        else:
            lines += 1
        end = following
    if lines:
        records.append(view[start:end])
    return Divided(records, shortened_lines)


def take_request(waiting: deque[Data], stream: str) -> list[Data]:
    """Remove the records of the next request from the left, and return them. One record always fits."""
    taken = [waiting.popleft()]
    size = len(_head(stream)) + len(_BEGIN) + _encoded_bytes(taken[0]) + len(_END)
    while waiting and len(taken) < MAX_RECORDS:
        size += len(_SEPARATOR) + _encoded_bytes(waiting[0])
        if size > MAX_REQUEST_BYTES:
            break
        taken.append(waiting.popleft())
    return taken


def request_body(records: Sequence[Data], stream: str) -> bytes:
    """Return the body of a PutRecordBatch request, with the bytes that botocore sends."""
    encoded = _SEPARATOR.join([base64.b64encode(record) for record in records])
    return b"".join([_head(stream), _BEGIN, encoded, _END])


def _head(stream: str) -> bytes:
    return f'{{"DeliveryStreamName": {json.dumps(stream)}, "Records": ['.encode()


def _encoded_bytes(record: Data) -> int:
    return (len(record) + 2) // 3 * 4
