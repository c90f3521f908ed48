"""The account of what was given up: which segments will never arrive, how much was in them, and why.

Promises:
- a loss stands on disk, in the account or in a segment, before the file that is lost goes, so that a kill at any point
  leaves the segment or its loss, and never both: a file that the account names is gone, whatever still lies there;
- it is told once: the whole account goes into one frame of a segment, which is whole or not there, and only then is
  it cleared. A kill in between leaves both, and whoever opens the directory next clears what a segment tells;
- neighbours of one environment that went for one reason are one loss, so that however long an outage lasts the account
  stays small. What it takes counts against the bound of the spool and cannot be given up.

    file = magic | frame(the delivery that will tell it)        name = <environment>.lost, replaced as a whole

The environment in the name is that of the process that wrote it: files of several lives may meet in one directory.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, NamedTuple

from logferry.journal import frame
from logferry.records.internal import InternalBatch, own_body

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from logferry.journal.segment import Segment

MAGIC = b"logferry losses 1\n"
"""The version is part of it: a file of another version is left alone."""
PART = "lost.part"
"""The account while it is written; in a directory there is one writer."""
_KIND = "logferry.dropped"
_NAME = re.compile(r"[0-9a-z]+\.lost")


class Loss(NamedTuple):
    """Segments of one environment, from `segment` to `until`, that will never arrive, and what was in them."""

    environment: str
    segment: int
    until: int
    records: int
    bytes: int
    reason: str


def merged(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """As few as say the same, in the order of their numbers."""
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
    """The delivery that tells them."""
    return own_body(_KIND, *(loss._asdict() for loss in losses), at_ms=at_ms)


def told_by(body: bytes) -> tuple[Loss, ...]:
    """The losses that a body tells; only one of our own does."""
    events = json.loads(body) if isinstance(body, InternalBatch) else ()
    return tuple(Loss(**event["record"]) for event in events if event["type"] == _KIND)


def recognise(path: Path) -> bool:
    """Whether a file holds an account of this version."""
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
    return False


class LossLedger:
    """The account of one directory."""

    def __init__(self, directory: Path, environment: str) -> None:
        """Nothing is read yet."""
        self._path = directory / f"{environment}.lost"
        self.account: tuple[Loss, ...] = ()
        self.size = 0
        """Bytes that the account takes, here and in the segment that will tell it."""
        self._going: list[Path] = []
        self._on_disk = False
        self._saved = True

    @property
    def may_be_told(self) -> bool:
        """Whether the files that are lost are gone: a kill may not leave both a segment and a report of its loss."""
        return self._saved

    @property
    def is_of_memory(self) -> bool:
        """Whether nothing of it has ever been on disk, neither the account nor the segments."""
        return not self._on_disk and not self._going

    def read(self, paths: Iterable[Path]) -> int:
        """Take in what earlier lives have written; gives how many bytes of it are damaged. Raises OSError."""
        found: list[Loss] = []
        damaged = 0
        for path in paths:
            with path.open("rb") as file:
                file.seek(len(MAGIC))
                for body in frame.read(file, closed=True):
                    if isinstance(body, frame.CorruptFrame):
                        damaged += body.size
                    else:
                        found += told_by(body)
            self._going += [path] if path != self._path else []
            self._on_disk = self._on_disk or path == self._path
        # A kill while accounts were made one leaves the others beside it.
        whole = [loss for loss in set(found) if not any(_within(loss, other) for other in found if other != loss)]
        self._set(merged(whole))
        return damaged

    def names(self, segment: Segment) -> bool:
        """Whether a segment is among what is lost."""
        own = Loss(segment.environment, segment.number, segment.number, records=0, bytes=0, reason="")
        return any(_within(own, loss) for loss in self.account)

    def highest(self, environment: str) -> int:
        """The highest number of an environment in the account, 0 where it has none."""
        return max((loss.until for loss in self.account if loss.environment == environment), default=0)

    def size_with(self, losses: Iterable[Loss]) -> int:
        """What the account would take with these."""
        return _size(merged((*self.account, *losses)))

    def add(self, losses: Iterable[Loss], *, files: Iterable[Path]) -> None:
        """Enter losses; `files` go when the account is saved."""
        self._set(merged((*self.account, *losses)))
        self._going += files
        self._saved = False

    def clear(self, told: Iterable[Loss]) -> None:
        """Take out what a segment tells."""
        told = tuple(told)
        self._set(tuple(loss for loss in self.account if not any(_within(loss, other) for other in told)))
        self._saved = False

    def save(self) -> None:
        """Bring the account to disk, then remove the files that it stands for. Raises OSError."""
        if self._saved:
            return
        if self.account:
            part = self._path.with_name(PART)
            body = report(self.account, at_ms=0)
            try:
                part.write_bytes(MAGIC + frame.head(body) + body)
                part.replace(self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise
        elif self._on_disk:
            self._path.unlink(missing_ok=True)
        self._on_disk = bool(self.account)
        for path in self._going:
            with contextlib.suppress(OSError):
                path.unlink()
        self._going = []
        self._saved = True

    def _set(self, account: tuple[Loss, ...]) -> None:
        self.account = account
        self.size = _size(account) if account else 0


def _size(account: Iterable[Loss]) -> int:
    return len(MAGIC) + frame.HEAD_BYTES + len(report(account, at_ms=0))


def _within(loss: Loss, other: Loss) -> bool:
    return loss.environment == other.environment and other.segment <= loss.segment and loss.until <= other.until
