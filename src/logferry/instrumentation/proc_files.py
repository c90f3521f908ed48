"""Parsers of the files in /proc that the usage of an invocation needs. Pure.

Guarantees:
- A text that is damaged, incomplete or of another form gives None, never a wrong number and never an error.

References: proc(5).
"""

from __future__ import annotations

import re
from typing import NamedTuple

KIB = 1024
_NOT_THE_FUNCTIONS = ("lo", "telemetry")
"""Beginnings of interfaces without traffic of the function: loopback, and the platform's own."""
_RECEIVED, _SENT, _NET_COLUMNS = 0, 8, 16
_CPU = re.compile(rb"cpu +(\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)[ \n]")
_CORE = re.compile(rb"^cpu\d", re.MULTILINE)
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
    """Return the ticks in the text of /proc/stat."""
    found = _CPU.match(stat)
    if not found:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, found.groups())
    return CpuTicks(user + nice + system + irq + softirq, steal, len(_CORE.findall(stat)))


def process_status(status: bytes) -> ProcessStatus:
    """Return the fields in the text of /proc/PID/status. A process that has ended has no memory, and no other value."""
    rss_bytes = _kib(status, rb"VmRSS")
    if rss_bytes is None:
        return ProcessStatus(None, None, None)
    threads = _number(re.search(rb"^Threads:\s+(\d+)\n", status, re.MULTILINE))
    return ProcessStatus(rss_bytes, _kib(status, rb"VmHWM"), threads)


def used_memory_bytes(meminfo: bytes) -> int | None:
    """Return the memory in use, with the page cache that cannot be reclaimed, in the text of /proc/meminfo."""
    total, available = _kib(meminfo, rb"MemTotal"), _kib(meminfo, rb"MemAvailable")
    return total - available if total is not None and available is not None and available <= total else None


def network_bytes(net_dev: bytes) -> NetworkBytes | None:
    """Return the bytes in the text of /proc/net/dev; None if a line is damaged."""
    if not net_dev.endswith(b"\n"):
        return None
    received = sent = 0
    for line in net_dev.splitlines()[2:]:
        name, _, columns = line.decode("utf-8", "replace").partition(":")
        values = columns.split()
        if len(values) != _NET_COLUMNS or not all(value.isascii() and value.isdigit() for value in values):
            return None
        if not name.strip().startswith(_NOT_THE_FUNCTIONS):
            received += int(values[_RECEIVED])
            sent += int(values[_SENT])
    return NetworkBytes(received, sent)


def parent_pid(stat: bytes) -> int | None:
    """Return the parent in the text of /proc/PID/stat. The name of the process may contain any character."""
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None


def is_runtime(environ: bytes) -> bool:
    """Return whether the text of /proc/PID/environ is that of a runtime.

    Extensions receive no variable whose name begins with an underscore.
    """
    return _HANDLER.search(environ) is not None


def _kib(text: bytes, name: bytes) -> int | None:
    value = _number(re.search(rb"^" + name + rb":\s+(\d+) kB\n", text, re.MULTILINE))
    return None if value is None else value * KIB


def _number(found: re.Match[bytes] | None) -> int | None:
    return int(found[1]) if found else None
