"""Parsers of the files in /proc that the usage of an invocation needs. Pure.

Guarantees:
- A text that is damaged, incomplete or of another form gives None, never a wrong number and never an error.

Design: the parsers search and split. Regular expressions would be compiled during the Init phase of the function.

References: proc(5).
"""

from __future__ import annotations

KIB = 1024
_NOT_THE_FUNCTIONS = (b"lo", b"telemetry")
"""Beginnings of interfaces without traffic of the function: loopback, and the platform's own."""
_CPU, _CORE = b"cpu ", b"\ncpu"
_CPU_COLUMNS = 8
_HEAD_LINES = 2
_RECEIVED, _SENT, _NET_COLUMNS = 0, 8, 16
_HANDLER = b"_HANDLER="


def cpu_ticks(stat: bytes) -> tuple[int, int] | None:
    """Return busy and stolen ticks of all cores, in the text of /proc/stat.

    The hypervisor ran something else during a stolen tick, although a process was ready to run.
    """
    end = stat.find(b"\n")
    columns = stat[len(_CPU) : end].split()
    if end < 0 or not stat.startswith(_CPU) or len(columns) < _CPU_COLUMNS or not b"".join(columns).isdigit():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, columns[:_CPU_COLUMNS])
    return user + nice + system + irq + softirq, steal


def cores(stat: bytes) -> int:
    """Return the number of cores in the text of /proc/stat. Their lines are the first of the text."""
    return stat.count(_CORE)


def process_status(status: bytes) -> tuple[int | None, int | None, int | None]:
    """Return memory and peak memory in bytes, and the number of threads, in the text of /proc/PID/status.

    A process that has ended has no memory, and no other value.
    """
    rss_bytes = _kib(status, b"\nVmRSS:")
    if rss_bytes is None:
        return None, None, None
    threads = _columns(status, b"\nThreads:")
    count = int(threads[0]) if len(threads) == 1 and threads[0].isdigit() else None
    return rss_bytes, _kib(status, b"\nVmHWM:"), count


def used_memory_bytes(meminfo: bytes) -> int | None:
    """Return the memory in use, with the page cache that cannot be reclaimed, in the text of /proc/meminfo."""
    total = _kib(meminfo, b"MemTotal:") if meminfo.startswith(b"MemTotal:") else None
    available = _kib(meminfo, b"\nMemAvailable:")
    return total - available if total is not None and available is not None and available <= total else None


def network_bytes(net_dev: bytes) -> tuple[int, int] | None:
    """Return the received and sent bytes in the text of /proc/net/dev; None if a line is damaged.

    Loopback and the platform's own interfaces are left out.
    """
    *lines, rest = net_dev.split(b"\n")
    if rest or len(lines) < _HEAD_LINES:
        return None
    received = sent = 0
    for line in lines[_HEAD_LINES:]:
        name, _, values = line.partition(b":")
        if name.lstrip().startswith(_NOT_THE_FUNCTIONS):
            continue
        columns = values.split()
        if len(columns) != _NET_COLUMNS or not (columns[_RECEIVED] + columns[_SENT]).isdigit():
            return None
        received += int(columns[_RECEIVED])
        sent += int(columns[_SENT])
    return received, sent


def parent_pid(stat: bytes) -> int | None:
    """Return the parent in the text of /proc/PID/stat. The name of the process may contain any character."""
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None


def is_runtime(environ: bytes) -> bool:
    """Return whether the text of /proc/PID/environ is that of a runtime.

    Extensions receive no variable whose name begins with an underscore.
    """
    return environ.startswith(_HANDLER) or b"\0" + _HANDLER in environ


def _kib(text: bytes, name: bytes) -> int | None:
    """Return the value of a line in bytes; the unit must be the kernel's."""
    columns = _columns(text, name)
    is_valid = len(columns) == 2 and columns[1] == b"kB" and columns[0].isdigit()  # noqa: PLR2004 - value and unit
    return int(columns[0]) * KIB if is_valid else None


def _columns(text: bytes, name: bytes) -> list[bytes]:
    """Return the columns behind the name of a line; none if the line is missing or incomplete."""
    start = text.find(name)
    end = text.find(b"\n", start + 1)
    return text[start + len(name) : end].split() if start >= 0 and end >= 0 else []
