"""What a group of processes uses: CPU time to the microsecond, memory by its proportional share.

CPU: the kernel's per-process clock (clock_getcpuclockid(3)), which counts threads that have ended; `/proc/*/stat`
counts in hundredths of a second. Memory: the proportional share (PSS, proc(5)) that the group would have if it were
alone on the machine, as it is in Lambda. The kernel's own PSS divides a library's pages by all who have mapped them,
and the stand-ins have mapped the naive rival's interpreter: that hid 11 MB of it. Needs no privilege.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTLE_STEP_SECONDS = 0.1
SETTLED_CPU_SECONDS = 0.001
"""Less than this in three steps is an idle process: a timer may tick."""
KILLED_SECONDS = 5.0
"""For the kernel to take a killed process apart; milliseconds."""
SETTLE_SECONDS = 60.0
"""Longer than the slowest start under a quota of 7 % of a core."""


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    found.append(int(entry.name))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of one process, all its threads included, also those that have ended."""
    return time.clock_gettime((~pid << 3) | 2)


def group_cpu_seconds(group: int) -> float:
    """CPU time of all processes of a group that are alive."""
    total = 0.0
    for pid in members(group):
        with contextlib.suppress(OSError):
            total += cpu_seconds(pid)
    return total


def group_pss_bytes(group: int) -> int:
    """The kernel's own PSS of a group: quickly read, and good for comparing a group with itself."""
    total = 0
    for pid in members(group):
        with contextlib.suppress(OSError):
            total += _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines(), "Pss") * 1024
    return total


def group_memory_bytes(group: int) -> int:
    """Memory of a group if it were alone: its anonymous pages by their shares, each file's pages once."""
    anonymous = 0
    files: dict[tuple[str, str], int] = {}
    for pid in members(group):
        with contextlib.suppress(OSError):
            anonymous += _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines(), "Pss_Anon")
            for mapping, lines in _mappings(Path(f"/proc/{pid}/smaps").read_text()):
                resident = _kilobytes(lines, "Rss") - _kilobytes(lines, "Anonymous")
                files[mapping] = max(files.get(mapping, 0), resident)
    return (anonymous + sum(files.values())) * 1024


def _mappings(smaps: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """The mappings of files in an `smaps`: file and offset, and the lines that describe it."""
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)[1:]:
        first, *lines = block.splitlines()
        fields = first.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/"):
            yield (fields[5], fields[2]), lines


def _kilobytes(lines: list[str], name: str) -> int:
    return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)


def settle(group: int) -> float:
    """Wait until a group is idle; returns its CPU time in seconds. Raises TimeoutError."""
    until = time.monotonic() + SETTLE_SECONDS
    history = [group_cpu_seconds(group)]
    while time.monotonic() < until:
        time.sleep(SETTLE_STEP_SECONDS)
        history.append(group_cpu_seconds(group))
        if len(history) > 3 and history[-1] - history[-4] < SETTLED_CPU_SECONDS:
            return history[-1]
    raise TimeoutError(f"the processes were not idle within {SETTLE_SECONDS:g} s")


def kill(group: int) -> None:
    """Kill all processes of a group and wait for their ends: a dying process takes CPU from what is measured next."""
    with contextlib.ExitStack() as stack:
        ends = []
        for pid in members(group):
            with contextlib.suppress(ProcessLookupError):
                ends.append(os.pidfd_open(pid))
                stack.callback(os.close, ends[-1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        for end in ends:
            select.select([end], [], [], KILLED_SECONDS)


@contextlib.contextmanager
def on_cpus(cpus: set[int] | None) -> Iterator[None]:
    """Let what this thread starts inside the block run on these cores only; None: on all."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
