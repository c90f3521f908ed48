"""CPU time of a process group to the microsecond, and its memory by the proportional share.

CPU: the kernel's clock of a process (clock_getcpuclockid(3)), which includes threads that have
ended; `/proc/*/stat` counts in hundredths of a second.

Memory: the proportional share (PSS, proc(5)) that the group would have if it were alone on the
machine, as it is in Lambda. The kernel's own PSS divides the pages of a library by all processes
that map it. The stand-ins map the interpreter of the naive shipper, which hid 11 MB of it. No
privilege is needed.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTLE_STEP_SECONDS = 0.1
SETTLED_CPU_SECONDS = 0.001
"""Maximum CPU time of an idle group in three steps, in seconds; it allows for a timer."""
KILLED_SECONDS = 5.0
"""Maximum time for the kernel to end a killed process, in seconds; milliseconds are usual."""
SETTLE_SECONDS = 60.0
"""Maximum wait for an idle group, in seconds: longer than the slowest start on 7 % of a core."""


def members(group: int) -> list[int]:
    """Return the processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    found.append(int(entry.name))
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of one process, including threads that have ended."""
    return time.clock_gettime((~pid << 3) | 2)


def group_cpu_seconds(group: int) -> float:
    """Return the CPU time of all living processes of a group."""
    total = 0.0
    for pid in members(group):
        with contextlib.suppress(OSError):
            total += cpu_seconds(pid)
    return total


def group_pss_bytes(group: int) -> int:
    """Return the kernel's PSS of a group: fast, and suited to comparisons of a group with itself."""
    total = 0
    for pid in members(group):
        with contextlib.suppress(OSError):
            total += _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines(), "Pss") * 1024
    return total


@dataclass(frozen=True)
class Memory:
    """Memory of a process group, in bytes."""

    total: int
    anonymous: int
    """Part that the kernel cannot reclaim: it counts in full against the limit of a function."""


def group_memory(group: int) -> Memory:
    """Return the memory of a group as if it were alone: anonymous pages by share, pages of each file once."""
    anonymous = 0
    files: dict[tuple[str, str], int] = {}
    for pid in members(group):
        with contextlib.suppress(OSError):
            anonymous += _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines(), "Pss_Anon")
            for mapping, lines in _mappings(Path(f"/proc/{pid}/smaps").read_text()):
                resident = _kilobytes(lines, "Rss") - _kilobytes(lines, "Anonymous")
                files[mapping] = max(files.get(mapping, 0), resident)
    return Memory((anonymous + sum(files.values())) * 1024, anonymous * 1024)


def _mappings(smaps: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Return the mapped files of an `smaps`: file and offset, and the lines that describe the mapping."""
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)[1:]:
        first, *lines = block.splitlines()
        fields = first.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/"):
            yield (fields[5], fields[2]), lines


def _kilobytes(lines: list[str], name: str) -> int:
    return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)


def settle(group: int) -> float:
    """Wait until a group is idle; return its CPU time in seconds. Raises TimeoutError."""
    until = time.monotonic() + SETTLE_SECONDS
    history = [group_cpu_seconds(group)]
    while time.monotonic() < until:
        time.sleep(SETTLE_STEP_SECONDS)
        history.append(group_cpu_seconds(group))
        if len(history) > 3 and history[-1] - history[-4] < SETTLED_CPU_SECONDS:
            return history[-1]
    raise TimeoutError(f"the processes were not idle within {SETTLE_SECONDS:g} s")


def kill(group: int) -> None:
    """Kill a group and wait for its end, because a process that ends uses CPU time of the next measurement."""
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
    """Restrict processes that this thread starts in the block to these cores; None: all cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
