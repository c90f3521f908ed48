"""The function: a process that does a fixed amount of computing when it is told, and says how long that took.

A fixed number of turns of a loop, not a fixed CPU time: a core that is shared makes the same work last longer, and that
is what a function would feel. The number of turns per millisecond is found once, when the process starts.

Run as a script it is the process; imported it is the handle on it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Protocol

CALIBRATION_ROUNDS = 15
CALIBRATION_TURNS = 20_000
END_SECONDS = 5.0


class Work(Protocol):
    """What a function does during an invocation."""

    def begin(self) -> None:
        """Start the work without waiting for it."""

    def finish(self) -> float:
        """Wait for its end; returns the seconds since `begin`."""


class Idle:
    """A function that waits for something else and uses no CPU."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = 0.0

    def begin(self) -> None:
        """Remember the moment."""
        self._began = time.perf_counter()

    def finish(self) -> float:
        """Sleep for what is left."""
        time.sleep(max(0.0, self._began + self._seconds - time.perf_counter()))
        return time.perf_counter() - self._began


class Burner:
    """The computing process, kept for the whole run so that all rounds do the very same work."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}, bufsize=0
        )
        self._read()

    @property
    def pid(self) -> int:
        """The process, to be pinned to a core or put under a quota."""
        return self._process.pid

    def work(self, milliseconds: float) -> Work:
        """So much computing, as long as that takes on a core of its own."""
        return _Burning(self, milliseconds)

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
        """Wait for the end of the computing; returns when it was (`time.perf_counter`)."""
        return self._read()


class _Burning:
    def __init__(self, burner: Burner, milliseconds: float) -> None:
        self._burner = burner
        self._milliseconds = milliseconds
        self._began = 0.0

    def begin(self) -> None:
        self._began = time.perf_counter()
        self._burner.order(self._milliseconds)

    def finish(self) -> float:
        return self._burner.ended_at() - self._began


def _turn(turns: int) -> int:
    total = 0
    for number in range(turns):
        total += number * number
    return total


def _calibrated() -> float:
    """Turns in a millisecond on an undisturbed core: the fastest of some tries."""
    best = float("inf")
    for _ in range(CALIBRATION_ROUNDS):
        began = time.perf_counter()
        _turn(CALIBRATION_TURNS)
        best = min(best, time.perf_counter() - began)
    return CALIBRATION_TURNS / best / 1000


def _main() -> None:
    per_millisecond = _calibrated()
    print(f"{time.perf_counter():.9f}", flush=True)
    for line in sys.stdin:
        _turn(int(float(line) * per_millisecond))
        print(f"{time.perf_counter():.9f}", flush=True)


if __name__ == "__main__":
    _main()
