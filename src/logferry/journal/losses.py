"""Ledger of discarded segments: their numbers, their records and bytes, and the reason of each loss.

Guarantees:
- A loss is on disk, in the ledger or in a segment, before the file of the lost segment is removed. After a
  kill at any point, the segment or its loss is on disk. If both are, the loss counts, and the file is removed.
- Each loss is reported once. The report is written as one frame, then the ledger is cleared. If the process is killed
  in between, recovery removes the losses that a segment already reports.
- Neighbours of one environment with the same reason are one loss, so the ledger stays small in a long outage. Its size
  counts against the limit of the spool, and it is never discarded.

    file = magic | frame(the batch that will report it)        name = <environment>.lost, replaced as a whole

Design: the environment in the name is that of the writing process. Files of several processes may meet in one
directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from logferry.journal import frame
from logferry.records.internal import DROPPED, InternalBatch, dropped_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.journal.segment import Segment

MAGIC = b"logferry losses 1\n"
"""First bytes of a ledger, with its version. A file of another version is left unchanged."""
PART = "lost.part"
"""Name of the ledger while it is written; a directory has one writer."""
_NAME = re.compile(r"[0-9a-z]+\.lost")


class Loss(NamedTuple):
    """Segments of one environment, from `segment` to `until`, that will never arrive, and their content."""

    environment: str
    segment: int
    until: int
    records: int
    bytes: int
    reason: str


def merged(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Return the same losses in as few entries as possible, in the order of their numbers."""
    found: list[Loss] = []
    for loss in sorted(losses, key=lambda each: (each.environment, each.segment)):
        last = found[-1] if found else None
        if last and (last.environment, last.until + 1, last.reason) == (loss.environment, loss.segment, loss.reason):
            records, size = last.records + loss.records, last.bytes + loss.bytes
            found[-1] = last._replace(until=loss.until, records=records, bytes=size)
        else:
            found.append(loss)
    return tuple(found)


def report(losses: Iterable[Loss], *, at_ms: int) -> InternalBatch:
    """Return the batch that reports the losses."""
    return dropped_batch([loss._asdict() for loss in losses], at_ms=at_ms)


def losses_in(body: bytes) -> tuple[Loss, ...]:
    """Return the losses that a body reports; only an internal batch reports any."""
    events = json.loads(body) if isinstance(body, InternalBatch) else ()
    return tuple(Loss(**event["record"]) for event in events if event["type"] == DROPPED)


def is_ledger(path: str) -> bool:
    """Return whether a file holds a ledger of this version."""
    if not _NAME.fullmatch(os.path.basename(path)) or os.path.islink(path) or not os.path.isfile(path):
        return False
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC
    return False


class LossLedger:
    """Ledger of one directory."""

    def __init__(self, directory: str, environment: str) -> None:
        """Begin with an empty ledger; `read` takes in the files."""
        self._path = f"{directory}/{environment}.lost"
        self.entries: tuple[Loss, ...] = ()
        self.size = 0
        """Size of the ledger, on disk and in the segment that will report it, in bytes."""
        self._to_remove: list[str] = []
        self._on_disk = False
        self._saved = True

    @property
    def is_durable(self) -> bool:
        """Whether the ledger is saved and the lost files are removed, so that no kill leaves a segment and its loss."""
        return self._saved

    @property
    def is_of_memory(self) -> bool:
        """Whether the ledger and its segments have only been in memory."""
        return not self._on_disk and not self._to_remove

    def read(self, paths: Iterable[str]) -> int:
        """Take in the ledgers of earlier processes and return the number of damaged bytes. Raise OSError."""
        found: list[Loss] = []
        damaged = 0
        for path in paths:
            with open(path, "rb") as file:
                file.seek(len(MAGIC))
                for body in frame.read(file, closed=True):
                    if isinstance(body, frame.CorruptFrame):
                        damaged += body.size
                    else:
                        found += losses_in(body)
            self._to_remove += [path] if path != self._path else []
            self._on_disk = self._on_disk or path == self._path
        # A kill during the merge of several ledgers leaves the old ones next to the new one.
        distinct = [loss for loss in set(found) if not any(_within(loss, other) for other in found if other != loss)]
        self._set(merged(distinct))
        return damaged

    def contains(self, segment: Segment) -> bool:
        """Return whether a segment is among the lost ones."""
        own = Loss(segment.environment, segment.number, segment.number, records=0, bytes=0, reason="")
        return any(_within(own, loss) for loss in self.entries)

    def highest(self, environment: str) -> int:
        """Return the highest number of an environment in the ledger, 0 if it has none."""
        return max((loss.until for loss in self.entries if loss.environment == environment), default=0)

    def size_with(self, losses: Iterable[Loss]) -> int:
        """Return the size of the ledger with these losses added, in bytes."""
        return _size(merged((*self.entries, *losses)))

    def add(self, losses: Iterable[Loss], *, files: Iterable[str]) -> None:
        """Enter losses; `files` are removed when the ledger is saved."""
        self._set(merged((*self.entries, *losses)))
        self._to_remove += files
        self._saved = False

    def clear(self, reported: Iterable[Loss]) -> None:
        """Remove the losses that a segment reports."""
        reported = tuple(reported)
        self._set(tuple(loss for loss in self.entries if not any(_within(loss, other) for other in reported)))
        self._saved = False

    def save(self) -> None:
        """Write the ledger to disk, then remove the files of the lost segments. Raise OSError."""
        if self._saved:
            return
        if self.entries:
            part = f"{os.path.dirname(self._path)}/{PART}"
            body = report(self.entries, at_ms=0)
            try:
                with open(part, "wb") as file:
                    file.write(MAGIC + frame.head(body) + body)
                os.replace(part, self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(part)
                raise
        elif self._on_disk:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        self._on_disk = bool(self.entries)
        for path in self._to_remove:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._to_remove = []
        self._saved = True

    def _set(self, entries: tuple[Loss, ...]) -> None:
        self.entries = entries
        self.size = _size(entries) if entries else 0


def _size(entries: Iterable[Loss]) -> int:
    return len(MAGIC) + frame.HEAD_BYTES + len(report(entries, at_ms=0))


def _within(loss: Loss, other: Loss) -> bool:
    return loss.environment == other.environment and other.segment <= loss.segment and loss.until <= other.until
