"""The surroundings of every figure: extensions, S3 stand-in, function, number of rounds, and cores.

With two cores or more, the last one belongs to the stand-ins in figures that restrict the extension to
one core. In all other figures the scheduler decides, as it does in Lambda.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmark.cpu_worker import CpuWorker
    from benchmark.extensions import Extension, Extensions
    from benchmark.s3 import S3

Sample = TypeVar("Sample")
Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class RunContext:
    """The surroundings of a figure."""

    extensions: Extensions
    s3: S3
    worker: CpuWorker
    rounds: int
    scratch: Path
    progress: Callable[[str], None]
    """Reports the current step to the user."""

    def interleaved(
        self, samplers: Mapping[str, Callable[[], Sample]], *, rounds: int | None = None, discard: bool = True
    ) -> dict[str, list[Sample]]:
        """Take samples alternately for `rounds` rounds, in reverse order every other time; discard the first round."""
        samples: dict[str, list[Sample]] = {name: [] for name in samplers}
        count = rounds or self.rounds
        for number in range(-1 if discard else 0, count):
            names = list(samplers) if number % 2 else list(samplers)[::-1]
            for name in names:
                self.progress(f"{name}, {'warm-up round' if number < 0 else f'round {number + 1} of {count}'}")
                value = samplers[name]()
                if number >= 0:
                    samples[name].append(value)
        return samples

    def compared(self, prepare: Callable[[Extension], Prepared]) -> dict[str, Prepared]:
        """Prepare logferry, the naive shipper and, if there is one, the baseline layer; return the results by name."""
        found = [self.extensions.logferry, self.extensions.naive]
        if self.extensions.baseline:
            found.append(self.extensions.baseline)
        return {extension.name: prepare(extension) for extension in found}

    @property
    def shared_core(self) -> set[int]:
        """Return the core that an extension and a function share."""
        return {min(os.sched_getaffinity(0))}

    @property
    def other_cores(self) -> set[int]:
        """Return the cores of the stand-ins, or the shared one if there is no other."""
        return (os.sched_getaffinity(0) - self.shared_core) or self.shared_core

    @contextmanager
    def one_core(self) -> Iterator[set[int]]:
        """Reserve a core for the extension and the function, and move the stand-ins to the other cores."""
        before = os.sched_getaffinity(0)
        core, others = self.shared_core, self.other_cores
        for pid, cores in ((0, others), (self.s3.pid, others), (self.worker.pid, core)):
            _place(pid, cores)
        try:
            yield core
        finally:
            for pid in (0, self.s3.pid, self.worker.pid):
                _place(pid, before)


def _place(pid: int, cores: set[int]) -> None:
    """Set the affinity of every thread of a process; 0 is this process."""
    for thread in os.listdir(f"/proc/{pid or os.getpid()}/task"):  # noqa: PTH208 - names of threads, not files
        os.sched_setaffinity(int(thread), cores)
