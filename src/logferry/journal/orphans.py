"""Adoption of spool directories that no process holds any more.

If another process holds the spool (an earlier one that has not ended yet), an environment keeps its segments in
`<spool>-<environment>`. The next process that opens the spool adopts such a directory once its lock is free.

Guarantees:
- Each file is moved by one rename, so a kill in between loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from logferry.journal import losses, segment

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "lock"


def separate_directory(spool: Path, environment: str) -> Path:
    """Return the directory of an environment whose spool is held by another process."""
    return spool.with_name(f"{spool.name}-{environment}")


def adopt(spool: Path) -> None:
    """Move the segments of separate directories that no process holds into the spool."""
    for directory in spool.parent.glob(f"{spool.name}-*"):
        with contextlib.suppress(OSError):
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                spool.mkdir(parents=True, exist_ok=True)
                # The ledger of losses is moved last: until it is there, no segment that it names may be shipped.
                for path in sorted(directory.iterdir(), key=losses.is_ledger):
                    if segment.parse_filename(path) or losses.is_ledger(path):
                        path.rename(spool / path.name)
                for name in (losses.PART, LOCK):
                    (directory / name).unlink(missing_ok=True)
                directory.rmdir()
            finally:
                os.close(lock)
