"""Samples of the resource usage, read from /proc and from the CPU clocks of processes.

Guarantees:
- A sample never raises. A value that cannot be read is None, and the others are read all the same.
- A sample takes about 0.1 ms of CPU time. It reads no list of processes unless the runtime has been replaced.

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
from logferry.instrumentation.proc_files import ProcessStatus
from logferry.instrumentation.runtime_processes import runtime_pids
from logferry.instrumentation.usage import Levels, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 64 * 1024
"""Size of one read. The texts have a few KiB."""
_NO_STATUS = ProcessStatus(None, None, None)


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
        self._status_fd = -1

    def sample(self) -> Sample:
        """Return the values of this moment."""
        pid, runtime_cpu_ns = self._runtime_clock()
        status = self._status()
        ticks = proc_files.cpu_ticks(self._text("stat"))
        network = proc_files.network_bytes(self._text("net/dev"))
        tmp_used, tmp_size = self._tmp_bytes()
        return Sample(
            runtime_pid=pid,
            runtime_cpu_ns=runtime_cpu_ns,
            own_cpu_ns=self.own_cpu_ns(),
            busy_ticks=ticks.busy if ticks else None,
            steal_ticks=ticks.steal if ticks else None,
            cores=ticks.cores if ticks else None,
            rss_bytes=status.rss_bytes,
            peak_rss_bytes=status.peak_rss_bytes,
            environment_bytes=proc_files.used_memory_bytes(self._text("meminfo")),
            received_bytes=network.received if network else None,
            sent_bytes=network.sent if network else None,
            tmp_used_bytes=tmp_used,
            tmp_bytes=tmp_size,
            descriptors=self._descriptors(),
            threads=status.threads,
        )

    def levels(self) -> Levels:
        """Return the values of this moment whose maxima are of interest."""
        status = self._status()
        used = proc_files.used_memory_bytes(self._text("meminfo"))
        return Levels(status.rss_bytes, used, self._tmp_bytes()[0], self._descriptors(), status.threads)

    def _runtime_clock(self) -> tuple[int | None, int | None]:
        """Return the process of the runtime and its CPU time; search for it if it has ended."""
        if self._runtime is not None:
            with contextlib.suppress(OSError):
                return self._runtime, self._cpu_ns(self._runtime)
            self._forget_runtime()
        pid = next(runtime_pids(supervisor_pid=self._supervisor_pid, proc=self._proc), None)
        if pid is None:
            return None, None
        try:
            cpu_ns = self._cpu_ns(pid)
        except OSError:
            return None, None
        self._runtime = pid
        with contextlib.suppress(OSError):
            self._status_fd = os.open(f"{self._proc}/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        return pid, cpu_ns

    def _forget_runtime(self) -> None:
        self._runtime = None
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1

    def own_cpu_ns(self) -> int | None:
        """Return the CPU time of the supervisor and of this process, in nanoseconds."""
        try:
            return self._shipper_cpu_ns() + self._cpu_ns(self._supervisor_pid)
        except OSError:
            return None

    def _status(self) -> ProcessStatus:
        try:
            return proc_files.process_status(os.pread(self._status_fd, READ_BYTES, 0))
        except OSError:
            return _NO_STATUS

    def _descriptors(self) -> int | None:
        try:
            # A process that has ended, and is not collected yet, has none.
            return len(os.listdir(f"{self._proc}/{self._runtime}/fd")) or None  # noqa: PTH208 - pathlib is too large
        except OSError:
            return None

    def _tmp_bytes(self) -> tuple[int | None, int | None]:
        try:
            found = os.statvfs(self._tmp)
        except OSError:
            return None, None
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize

    def _text(self, name: str) -> bytes:
        """Return the text of a file that stays open."""
        try:
            if name not in self._files:
                self._files[name] = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._files[name], READ_BYTES, 0)
        except OSError:
            return b""
