"""Parsers of the files in /proc that the usage of an invocation needs. Pure.

Guarantees:
- A text that is damaged, incomplete or of another form gives None, never a wrong number and never an error.

References: proc(5).
"""

from __future__ import annotations

import re
from typing import NamedTuple

KIB = 1024
_NOT_THE_FUNCTIONS = (b"lo", b"telemetry")
"""Beginnings of interfaces without traffic of the function: loopback, and the platform's own."""
_HEAD_LINES = 2
_CPU = re.compile(rb"cpu +(\d+) (\d+) (\d+) \d+ \d+ (\d+) (\d+) (\d+)[ \n]")
_CORE = b"\ncpu"
_STATUS = re.compile(
    rb"^(?:VmHWM:\s+(\d+) kB\n(?:.*\n)*?)?VmRSS:\s+(\d+) kB\n(?:(?:.*\n)*?Threads:\s+(\d+)\n)?", re.MULTILINE
)
"""Fields in the order in which every kernel writes them."""
_MEMORY = re.compile(rb"MemTotal:\s+(\d+) kB\n(?:.*\n){1,2}?MemAvailable:\s+(\d+) kB\n")
_INTERFACE = re.compile(rb"^ *([^ :\n]+): *(\d+)(?: +\d+){7} +(\d+)(?: +\d+){7} *\n", re.MULTILINE)
_HANDLER = re.compile(rb"(?:^|\0)_HANDLER=")


class CpuTicks(NamedTuple):
    """CPU time of all cores since the start of the machine, in clock ticks, and their number."""

    busy: int
    steal: int
    """Time in which the hypervisor ran something else, although a process was ready to run."""
    cores: int


class ProcessStatus(NamedTuple):
    """Memory and threads of a process. A value that the text lacks is None."""

    rss_bytes: int | None
    peak_rss_bytes: int | None
    threads: int | None


class NetworkBytes(NamedTuple):
    """Bytes of all network interfaces except loopback and the platform's own."""

    received: int
    sent: int


def cpu_ticks(stat: bytes) -> CpuTicks | None:
    """Return the ticks in the text of /proc/stat, of which the lines of the cores are the first."""
    found = _CPU.match(stat)
    if not found:
        return None
    user, nice, system, irq, softirq, steal = map(int, found.groups())
    return CpuTicks(user + nice + system + irq + softirq, steal, stat.count(_CORE))


def process_status(status: bytes) -> ProcessStatus:
    """Return the fields in the text of /proc/PID/status. A process that has ended has no memory, and no other value."""
    found = _STATUS.search(status)
    if not found:
        return ProcessStatus(None, None, None)
    peak, rss, threads = found.groups()
    return ProcessStatus(
        int(rss) * KIB, None if peak is None else int(peak) * KIB, None if threads is None else int(threads)
    )


def used_memory_bytes(meminfo: bytes) -> int | None:
    """Return the memory in use, with the page cache that cannot be reclaimed, in the text of /proc/meminfo."""
    found = _MEMORY.match(meminfo)
    used = int(found[1]) - int(found[2]) if found else -1
    return used * KIB if used >= 0 else None


def network_bytes(net_dev: bytes) -> NetworkBytes | None:
    """Return the bytes in the text of /proc/net/dev; None if a line is damaged."""
    found = _INTERFACE.findall(net_dev)
    if not net_dev.endswith(b"\n") or len(found) != net_dev.count(b"\n") - _HEAD_LINES:
        return None
    counted = [(received, sent) for name, received, sent in found if not name.startswith(_NOT_THE_FUNCTIONS)]
    return NetworkBytes(sum(int(received) for received, _ in counted), sum(int(sent) for _, sent in counted))


def parent_pid(stat: bytes) -> int | None:
    """Return the parent in the text of /proc/PID/stat. The name of the process may contain any character."""
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None


def is_runtime(environ: bytes) -> bool:
    """Return whether the text of /proc/PID/environ is that of a runtime.

    Extensions receive no variable whose name begins with an underscore.
    """
    return _HANDLER.search(environ) is not None
