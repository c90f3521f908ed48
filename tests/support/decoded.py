"""Deliveries read as the extension reads them, for tests that ask after single events: a run is taken apart again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from logferry.records import decoder, fast_path
from logferry.records.decoder import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def events_in(*bodies: bytes) -> list[Event]:
    """Give the events of deliveries that came one after another."""
    return list(one_by_one(decoder.all_of(bodies)))


def one_by_one(found: Iterable[Event | fast_path.Run]) -> Iterator[Event]:
    """Give the plain records of a run as the events that they are."""
    for each in found:
        if isinstance(each, Event):
            yield each
        else:
            for text in (record + '"}' for record in each):
                yield Event(text, json.loads(text))
