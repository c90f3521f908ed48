"""What an environment left in a directory beside the spool.

Where the spool is held by another process (an earlier life that is not quite dead), an environment keeps its segments
in `<spool>-<environment>`. Whoever opens the spool next takes them in, once nobody holds that directory any more: a
rename each, so that a kill in between loses nothing.
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


def beside(spool: Path, environment: str) -> Path:
    """The directory of an environment that finds the spool held."""
    return spool.with_name(f"{spool.name}-{environment}")


def take_in(spool: Path) -> None:
    """Move the segments of directories beside the spool, which nobody holds, into it."""
    for directory in spool.parent.glob(f"{spool.name}-*"):
        with contextlib.suppress(OSError):
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                spool.mkdir(parents=True, exist_ok=True)
                # The account of losses comes last: until it is there, no segment that it names may be shipped.
                for path in sorted(directory.iterdir(), key=losses.recognise):
                    if segment.recognise(path) or losses.recognise(path):
                        path.rename(spool / path.name)
                for name in (losses.PART, LOCK):
                    (directory / name).unlink(missing_ok=True)
                directory.rmdir()
            finally:
                os.close(lock)
