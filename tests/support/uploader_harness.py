"""An uploader on virtual time: a journal with sealed segments, and a sink double."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from logferry.deadline import Deadline
from logferry.flush.circuit_breaker import CircuitBreaker
from logferry.flush.uploader import Uploader
from logferry.records.encoder import encode
from logferry.records.object_key import DEFAULT_KEY
from support.journal_harness import numbered, open_journal
from support.virtual_time import START

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from logferry.journal.journal import Journal
    from logferry.records.model import Header, StoredObject

TIMEOUT = 5.0
"""LOGFERRY_UPLOAD_TIMEOUT of the uploader, in seconds."""
FAR = Deadline(START + 1e6)
"""A deadline that no test reaches."""


def encode_segment(header: Header, batches: Iterable[bytes], final: bool, *, fallback: bool = False) -> StoredObject:
    """Encode as the extension does, without compression."""
    types = frozenset({"function"})
    return encode(header, batches, final=final, key=DEFAULT_KEY, compress=False, types=types, fallback=fallback)


def sealed_journal(directory: Path, *sizes: int) -> Journal:
    """Return a journal with one sealed segment per size; each has one numbered record with padding."""
    journal = open_journal(directory)
    for n, size in enumerate(sizes or (0, 0, 0), start=1):
        journal.append(numbered(n, size=size))
        journal.seal()
    return journal


def new_uploader(journal: Journal, sink: Any, fallback: Any = None) -> Uploader:
    """Return an uploader without jitter. `fallback` is the sink of the fallback destination."""
    return Uploader(
        journal=journal,
        sink=sink,
        encode=encode_segment,
        timeout_seconds=TIMEOUT,
        breaker=CircuitBreaker(jitter=lambda: 0.5),
        fallback=(fallback, partial(encode_segment, fallback=True)) if fallback else None,
    )


def logged(logs: list[Any], level: str = "warning") -> list[str]:
    """Return the messages of a level as text."""
    return [str(entry) for entry in logs if entry["log_level"] == level]


def numbers(journal: Journal) -> list[int]:
    """Return the numbers of the sealed segments."""
    return [segment.number for segment in journal.sealed]
