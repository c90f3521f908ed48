"""Values of a checked object: its place, its lines, its counts, and the losses that it reports. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Loss(NamedTuple):
    """Content of a `logferry.dropped` record: segments that were discarded, with their size."""

    environment: str
    segments: range
    records: int
    bytes: int
    reason: str


class PlatformLoss(NamedTuple):
    """Content of a `platform.logsDropped` record (Telemetry API schema reference)."""

    records: int
    bytes: int


class Place(NamedTuple):
    """Place of an object by its metadata. The times have the platform's format, or are empty."""

    environment: str
    segment: int
    records: int
    first_time: str
    last_time: str
    final: bool


class Processed(NamedTuple):
    """Records of an object that the settings have filtered or masked, and those for which a rule failed."""

    filtered: int = 0
    masked: int = 0
    failed: int = 0


NOTHING_PROCESSED = Processed()
"""Counts of an object whose settings neither filter nor mask."""


class CheckedObject(NamedTuple):
    """Result for one object. `lines` are its line numbers, `repeated` counts the duplicates."""

    key: str
    place: Place | None
    lines: tuple[range, ...] = ()
    repeated: int = 0
    losses: tuple[Loss, ...] = ()
    platform_losses: tuple[PlatformLoss, ...] = ()
    processed: Processed = NOTHING_PROCESSED
    unreadable: str = ""
    foreign: bool = False
    """Whether another program wrote the object: it has neither metadata nor lines of logferry."""
