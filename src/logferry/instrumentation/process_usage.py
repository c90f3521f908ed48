"""Resource usage of the runtime's processes, for Managed Instances.

Guarantees:
- Only processes of the function and of logferry are read. Values of the machine would include other functions.
- A process that cannot be read, or has ended, adds nothing.

Design: invocations overlap there, so a usage belongs to a period of time and not to an invocation.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from logferry.instrumentation.proc_files import process_status
from logferry.instrumentation.runtime_processes import read_file, runtime_pids
from logferry.instrumentation.usage import cpu_ms_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Process(NamedTuple):
    """One process of the runtime at one moment."""

    cpu_ns: int
    rss_bytes: int | None
    peak_rss_bytes: int | None
    threads: int | None
    descriptors: int | None


class ProcessUsage:
    """Usage of all processes of the runtime since the previous record."""

    def __init__(
        self,
        *,
        supervisor_pid: int,
        cpu_ns: Callable[[int], int],
        own_cpu_ns: Callable[[], int | None],
        proc: str = "/proc",
    ) -> None:
        """Read nothing yet. `cpu_ns` returns the CPU time of a process or raises OSError; `proc` is set in tests."""
        self._supervisor_pid = supervisor_pid
        self._cpu_ns = cpu_ns
        self._own_cpu_ns = own_cpu_ns
        self._proc = proc
        self._before: dict[int, int] = {}
        self._own_before: int | None = None

    def take(self, seconds: float) -> dict[str, object]:
        """Return the content of a `logferry.usage` record for the last `seconds`."""
        pids = runtime_pids(supervisor_pid=self._supervisor_pid, proc=self._proc)
        processes = {pid: each for pid in pids if (each := self._process(pid))}
        own = self._own_cpu_ns()
        record = {
            "seconds": round(seconds, 3),
            "processes": len(processes),
            "cpuMs": self._cpu_ms(processes),
            "ownCpuMs": cpu_ms_between(self._own_before, own),
            **_sums(processes.values()),
        }
        self._before = {pid: each.cpu_ns for pid, each in processes.items()}
        self._own_before = own
        return {name: value for name, value in record.items() if value is not None}

    def _process(self, pid: int) -> Process | None:
        folder = f"{self._proc}/{pid}"
        try:
            cpu_ns = self._cpu_ns(pid)
        except OSError:
            return None
        try:
            descriptors: int | None = len(os.listdir(f"{folder}/fd"))  # noqa: PTH208 - pathlib is too large
        except OSError:
            descriptors = None
        return Process(cpu_ns, *process_status(read_file(f"{folder}/status")), descriptors)

    def _cpu_ms(self, processes: Mapping[int, Process]) -> float | None:
        """Return the CPU time of the processes; that of a new process counts from its start."""
        spent = [cpu_ms_between(self._before.get(pid, 0), each.cpu_ns) for pid, each in processes.items()]
        return round(sum(each for each in spent if each is not None), 3) if spent else None


def _sums(processes: Iterable[Process]) -> dict[str, object]:
    every = list(processes)
    return {
        "rssBytes": _sum(each.rss_bytes for each in every),
        "peakRssBytes": _sum(each.peak_rss_bytes for each in every),
        "descriptors": _sum(each.descriptors for each in every),
        "threads": _sum(each.threads for each in every),
    }


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
