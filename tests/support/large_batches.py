"""Deliveries in bulk, and what a process holds while it takes them."""

from __future__ import annotations

import os

from support.platform_events import batch, function

MIB = 1024 * 1024


ONE_MIB_OF_LINES = 64


LINE = "x" * (MIB // ONE_MIB_OF_LINES - 100)


def mebibyte(name: str) -> bytes:
    """A delivery of about one MiB whose lines can be told apart."""
    return batch(*(function(f"{name}-{n} {LINE}") for n in range(ONE_MIB_OF_LINES)))


def resident(pid: int | None) -> int:
    """Bytes of memory that a process holds."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - read a thousand times
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int | None) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count
