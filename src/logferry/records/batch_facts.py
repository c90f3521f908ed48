"""Facts about a batch that are found without decoding it. Pure.

Guarantees:
- Each function names the direction in which it may be wrong. Callers decode the batch for an exact result.

Design: most batches have only records of the function. A search for a few bytes costs a hundredth of decoding them.
"""

from __future__ import annotations

from logferry.records.bounded_json import decode_value
from logferry.records.internal import InternalBatch

_FIRST_EVENT = b'[{"time":"'
_PLATFORM_TYPE = b',"type":"platform.'
_NEXT_RECORD = b',{"time":"'


def mentions_platform(body: bytes) -> bool:
    """Return False only for a batch without platform events and notes of INVOKE events, at little cost."""
    return b'"platform.' in body or isinstance(body, InternalBatch)


def is_only_platform(body: bytes) -> bool:
    """Return True only for a batch of platform events, at little cost; text after its end is not checked."""
    return body.startswith(_FIRST_EVENT) and body.count(_FIRST_EVENT[1:]) == body.count(_PLATFORM_TYPE)


def ends_complete(body: bytes) -> bool:
    """Return whether the last record of a batch is complete, judged by the end alone.

    The result is wrong only if a record was cut directly after a nested object that has the form of a record.
    """
    before = body.rfind(_NEXT_RECORD)
    text = body[before + 1 :].decode(errors="surrogateescape") if before >= 0 else ""
    found = decode_value(text, 0, element=0)
    return found is not None and text[found[1] :] == "]" and isinstance(found[0], dict) and "record" in found[0]
