"""Batches read as in the extension, for tests of single events: a run is split into its records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from logferry.records import decoder, fast_path
from logferry.records.decoder import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def events_in(*bodies: bytes) -> list[Event]:
    """Return the events of consecutive batches."""
    return list(one_by_one(decoder.read_all(bodies)))


def one_by_one(found: Iterable[Event | fast_path.RecordRun]) -> Iterator[Event]:
    """Yield events, and each plain record of a run as an event."""
    for each in found:
        if isinstance(each, Event):
            yield each
        else:
            for text in (record + '"}' for record in each):
                yield Event(text, json.loads(text), text[fast_path.TEXT.start - 1 : -1])
