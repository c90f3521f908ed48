"""The function: a process that computes for a fixed number of loop iterations and reports the duration.

The work is a number of iterations and not a CPU time. On a shared core the same work takes longer,
which is what a function experiences. The number of iterations per millisecond is determined once,
when the process starts.

Executed as a script, this file is the process. Imported, it is the handle of the process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Protocol

CALIBRATION_ROUNDS = 15
CALIBRATION_ITERATIONS = 20_000
END_SECONDS = 5.0


class Work(Protocol):
    """The work of a function during an invocation."""

    def begin(self) -> None:
        """Start the work without waiting for it."""

    def finish(self) -> float:
        """Wait for the end of the work; return the seconds since `begin`."""


class Idle:
    """A function that waits and uses no CPU time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = 0.0

    def begin(self) -> None:
        """Record the start."""
        self._began = time.perf_counter()

    def finish(self) -> float:
        """Sleep for the remaining time."""
        time.sleep(max(0.0, self._began + self._seconds - time.perf_counter()))
        return time.perf_counter() - self._began


class CpuWorker:
    """The computing process; it serves the whole run, so that all rounds do the same work."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}, bufsize=0
        )
        self._read()

    @property
    def pid(self) -> int:
        """Return the process ID, for CPU affinity and quotas."""
        return self._process.pid

    def work(self, milliseconds: float) -> Work:
        """Return an amount of work that takes the given time on an undisturbed core."""
        return _CpuWork(self, milliseconds)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(END_SECONDS)
        self._process.stdout.close()

    def order(self, milliseconds: float) -> None:
        """Start computing."""
        assert self._process.stdin
        self._process.stdin.write(b"%f\n" % milliseconds)

    def _read(self) -> float:
        assert self._process.stdout
        return float(self._process.stdout.readline())

    def ended_at(self) -> float:
        """Wait for the end of the work; return its time (`time.perf_counter`)."""
        return self._read()


class _CpuWork:
    def __init__(self, worker: CpuWorker, milliseconds: float) -> None:
        self._burner = worker
        self._milliseconds = milliseconds
        self._began = 0.0

    def begin(self) -> None:
        self._began = time.perf_counter()
        self._burner.order(self._milliseconds)

    def finish(self) -> float:
        return self._burner.ended_at() - self._began


def _iterate(iterations: int) -> int:
    total = 0
    for number in range(iterations):
        total += number * number
    return total


def _calibrated() -> float:
    """Return the iterations per millisecond on an undisturbed core: the fastest of several attempts."""
    best = float("inf")
    for _ in range(CALIBRATION_ROUNDS):
        began = time.perf_counter()
        _iterate(CALIBRATION_ITERATIONS)
        best = min(best, time.perf_counter() - began)
    return CALIBRATION_ITERATIONS / best / 1000


def _main() -> None:
    per_millisecond = _calibrated()
    print(f"{time.perf_counter():.9f}", flush=True)
    for line in sys.stdin:
        _iterate(int(float(line) * per_millisecond))
        print(f"{time.perf_counter():.9f}", flush=True)


if __name__ == "__main__":
    _main()
