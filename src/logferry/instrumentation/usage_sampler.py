"""Samples of the resource usage, read from /proc and from the CPU clocks of processes.

Guarantees:
- A sample never raises. A value that cannot be read is None, and the others are read all the same.
- A complete sample takes less than 0.1 ms of CPU time, and 0.2 ms after a pause of the process. Any other sample reads
  three clocks and no file. A sample reads no list of processes unless the runtime has been replaced.
- A runtime that cannot be found is searched for at the next sample, and then ever more rarely.

Design: files that every sample reads stay open, and are read again from their beginning. The kernel makes the text at
each read. The clock of another process is the exact CPU time of all its threads (clock_getcpuclockid(3)); no permission
is needed for it.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from logferry.instrumentation import proc_files
from logferry.instrumentation.runtime_processes import runtime_pids
from logferry.instrumentation.usage import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SKIPPED = 1023
"""Largest number of samples between two searches for a runtime that cannot be found."""
READ_BYTES = 4096
"""Size of one read: the first lines of /proc/stat, of which the rest is not needed, and all of the other texts."""
NET_DEV, PART_BYTES = "net/dev", 2048
"""File with one line for each interface, and the size of a text that may be a part of it."""


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time of a process, in nanoseconds. Raise OSError if it has ended."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # CPUCLOCK_SCHED, include/linux/posix-timers.h


class UsageSampler:
    """Reader of the counters of one execution environment."""

    def __init__(
        self,
        *,
        tmp: str,
        supervisor_pid: int,
        proc: str = "/proc",
        cpu_ns: Callable[[int], int] = process_cpu_ns,
        shipper_cpu_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """Read nothing yet. `tmp` is a directory of the file system whose use is reported.

        `proc` and the clocks are replaced only in tests.
        """
        self._tmp = tmp
        self._supervisor_pid = supervisor_pid
        self._proc = proc
        self._cpu_ns = cpu_ns
        self._shipper_cpu_ns = shipper_cpu_ns
        self._files: dict[str, int] = {}
        self._runtime: int | None = None
        self._tmp_fd = self._status_fd = self._descriptors_fd = -1
        self._skipped = self._to_skip = 0
        """Number of samples since the last search, and number of those that are not to search."""
        self._searched = False
        """Whether the last search was in vain."""

    def sample(self, *, complete: bool = True) -> Sample:
        """Return the CPU times of this moment. A `complete` sample also has the counters and values of /proc."""
        pid, cpu_ns = self._runtime_clock()
        own_cpu_ns = self.own_cpu_ns()
        if not complete:
            return Sample(pid, cpu_ns, own_cpu_ns)
        stat = self._text("stat")
        busy, steal = proc_files.cpu_ticks(stat) or (None, None)
        received, sent = proc_files.network_bytes(self._network_text()) or (None, None)
        values = self.levels()
        if busy is not None:
            values["cores"] = proc_files.cores(stat)
        return Sample(pid, cpu_ns, own_cpu_ns, (busy, steal, received, sent), values)

    def levels(self) -> dict[str, int]:
        """Return the values of this moment that are no counters."""
        rss_bytes, peak_rss_bytes, threads = self._status()
        tmp_used_bytes, tmp_bytes = self._tmp_bytes()
        found = {
            "rssBytes": rss_bytes,
            "peakRssBytes": peak_rss_bytes,
            "environmentBytes": proc_files.used_memory_bytes(self._text("meminfo")),
            "tmpUsedBytes": tmp_used_bytes,
            "tmpBytes": tmp_bytes,
            "descriptors": self._descriptors(),
            "threads": threads,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _runtime_clock(self) -> tuple[int | None, int | None]:
        """Return the process of the runtime and its CPU time; search for it if it has ended."""
        if self._runtime is not None:
            try:
                return self._runtime, self._cpu_ns(self._runtime)
            except OSError:
                self._forget_runtime()
        if self._skipped < self._to_skip:
            self._skipped += 1
            return None, None
        pid = next(iter(runtime_pids(supervisor_pid=self._supervisor_pid, proc=self._proc)), None)
        try:
            cpu_ns = self._cpu_ns(pid) if pid else None
        except OSError:
            cpu_ns = None
        if pid is None or cpu_ns is None:
            self._skipped, self._to_skip = 0, min(2 * self._to_skip + self._searched, MAX_SKIPPED)
            self._searched = True
            return None, None
        self._skipped, self._to_skip, self._searched = 0, 0, False
        self._runtime = pid
        with contextlib.suppress(OSError):
            self._status_fd = os.open(f"{self._proc}/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            self._descriptors_fd = os.open(f"{self._proc}/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return pid, cpu_ns

    def _forget_runtime(self) -> None:
        self._runtime = None
        for fd in (self._status_fd, self._descriptors_fd):
            if fd >= 0:
                os.close(fd)
        self._status_fd = self._descriptors_fd = -1

    def own_cpu_ns(self) -> int | None:
        """Return the CPU time of the supervisor and of this process, in nanoseconds."""
        try:
            return self._shipper_cpu_ns() + self._cpu_ns(self._supervisor_pid)
        except OSError:
            return None

    def _status(self) -> tuple[int | None, int | None, int | None]:
        try:
            return proc_files.process_status(os.pread(self._status_fd, READ_BYTES, 0))
        except OSError:
            return None, None, None

    def _descriptors(self) -> int | None:
        if self._descriptors_fd < 0:  # `listdir` would take -1 for the working directory
            return None
        try:
            # A process that has ended, and is not collected yet, has none.
            return len(os.listdir(self._descriptors_fd)) or None  # noqa: PTH208 - pathlib has no descriptors
        except OSError:
            return None

    def _tmp_bytes(self) -> tuple[int | None, int | None]:
        try:
            if self._tmp_fd < 0:
                self._tmp_fd = os.open(self._tmp, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            found = os.statvfs(self._tmp_fd)
        except OSError:
            return None, None
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize

    def _network_text(self) -> bytes:
        """Return the complete table of the interfaces. The kernel returns a table of many interfaces in parts."""
        text = part = self._text(NET_DEV)
        while part and len(text) > PART_BYTES:
            text += (part := self._text(NET_DEV, len(text)))
        return text

    def _text(self, name: str, offset: int = 0) -> bytes:
        """Return the text of a file that stays open, at most `READ_BYTES` from an offset."""
        try:
            fd = self._files.get(name, -1)
            if fd < 0:
                fd = self._files[name] = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(fd, READ_BYTES, offset)
        except OSError:
            return b""
