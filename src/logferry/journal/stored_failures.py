"""List of the failed invocations that have a record, in a file of the spool.

    <type> <request>

Guarantees:
- An entry is added after the journal has the record. A kill in between leaves the record in the journal, where the
  next process finds it.
- The list survives the end of the shipper and a reset of the execution environment, which keeps `/tmp`.
- At most `KEPT` entries are kept.

Design: the platform may deliver the report of a failed invocation to the process that follows the reset. The segment
with the earlier record is uploaded and removed then. The file is read and written only after a failure.
"""

from __future__ import annotations

import contextlib
import os

from logferry.journal.orphans import FAILURES
from logferry.records.internal import PREFIX
from logferry.records.started_requests import valid_id

KEPT = 64
"""Number of entries. A failed invocation has at most two."""
MAX_BYTES = 64 * 1024
"""Largest part of the file that is read: another process may write any file."""


class StoredFailures:
    """Types and requests of stored records, oldest first."""

    def __init__(self, directory: str) -> None:
        """Read the list of a spool. A file that cannot be read gives an empty list."""
        self._path = f"{directory}/{FAILURES}"
        self._entries: dict[tuple[str, str], None] = {}
        with contextlib.suppress(OSError, ValueError):
            for line in self._read().splitlines():
                kind, _, request_id = line.partition(" ")
                if kind.startswith(PREFIX) and valid_id(request_id):
                    self._entries[kind, request_id] = None
        self._trim()

    def __contains__(self, entry: tuple[str, str]) -> bool:
        return entry in self._entries

    def note(self, kind: str, request_id: str) -> None:
        """Add an entry that another process has written, without a change of the file."""
        self._entries[kind, request_id] = None
        self._trim()

    def add(self, kind: str, request_id: str) -> None:
        """Add an entry and write the file. If the disk rejects it, the list stays in memory."""
        self.note(kind, request_id)
        text = "".join(f"{each} {request}\n" for each, request in self._entries)
        part = f"{self._path}.part"
        with contextlib.suppress(OSError):
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
            os.rename(part, self._path)

    def _read(self) -> str:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return os.read(fd, MAX_BYTES).decode()
        finally:
            os.close(fd)

    def _trim(self) -> None:
        while len(self._entries) > KEPT:
            del self._entries[next(iter(self._entries))]
