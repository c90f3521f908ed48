"""Large batches, and the memory and descriptors of the process that receives them."""

from __future__ import annotations

import os

from support.platform_events import batch, function

MIB = 1024 * 1024
ONE_MIB_OF_LINES = 64
LINE = "x" * (MIB // ONE_MIB_OF_LINES - 100)


def one_mib_batch(name: str) -> bytes:
    """Return a batch of about one MiB whose lines differ from those of a batch with another name."""
    return batch(*(function(f"{name}-{n} {LINE}") for n in range(ONE_MIB_OF_LINES)))


def resident_bytes(pid: int | None) -> int:
    """Return the resident memory of a process, in bytes; 0 if the process has ended."""
    try:
        with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - read a thousand times
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def open_descriptors(pid: int | None) -> int:
    """Return the number of open descriptors of a process; 0 if the process has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count
    except (FileNotFoundError, ProcessLookupError):
        return 0
