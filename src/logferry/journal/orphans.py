"""Adoption of spool directories whose process has ended.

If another process holds the spool (an earlier one that has not ended yet), an environment keeps its segments in
`<spool>-<environment>`. The next process that opens the spool adopts such a directory once its lock is free.

Guarantees:
- Each file is moved by one rename, so a kill in between loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from logferry.journal import losses, segment

LOCK = "lock"
FAILURES = "failures"
"""Name of the list in `stored_failures`."""


def separate_directory(spool: str, environment: str) -> str:
    """Return the directory of an environment whose spool is held by another process."""
    return f"{spool}-{environment}"


def adopt(spool: str) -> None:
    """Move the segments of separate directories that no process holds into the spool."""
    parent, name = os.path.split(spool)
    try:
        found = [f"{parent}/{one}" for one in os.listdir(parent) if one.startswith(f"{name}-")]
    except OSError:
        return
    for directory in found:
        with contextlib.suppress(OSError):
            _move(directory, spool)


def _move(directory: str, spool: str) -> None:
    """Move the files of a directory and remove it. Raise OSError if a process holds the directory."""
    lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.makedirs(spool, exist_ok=True)
        # The ledger of losses is moved last: until it is there, no segment that it names may be shipped.
        for path in sorted((f"{directory}/{name}" for name in os.listdir(directory)), key=losses.is_ledger):
            if segment.parse_filename(path) or losses.is_ledger(path):
                os.rename(path, f"{spool}/{os.path.basename(path)}")
        for name in (losses.PART, FAILURES, LOCK):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    finally:
        os.close(lock)
