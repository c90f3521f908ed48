"""What every figure is measured with: the rivals, the S3 stand-in, the function, the number of rounds, the cores.

Where there are two cores or more, the last one belongs to the stand-ins in those figures that hold the extension to one
core; in the others the scheduler decides, as it does in Lambda.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmark.burner import Burner
    from benchmark.rivals import Rivals
    from benchmark.s3 import S3

Taken = TypeVar("Taken")

FIRST_PORT = 20_000
"""logferry's listener is given a port of its own for each environment: a fixed one may still be held by the last."""
PORTS = 10_000


@dataclass(frozen=True)
class Workbench:
    """Given to each figure."""

    rivals: Rivals
    s3: S3
    burner: Burner
    rounds: int
    scratch: Path
    say: Callable[[str], None]
    """Told what is being done, for a person who waits."""

    def turns(
        self, takers: Mapping[str, Callable[[], Taken]], *, rounds: int | None = None, discard: bool = True
    ) -> dict[str, list[Taken]]:
        """Take each in turns, the order turned round every time, `rounds` times; the first taking is thrown away."""
        taken: dict[str, list[Taken]] = {name: [] for name in takers}
        count = rounds or self.rounds
        for number in range(-1 if discard else 0, count):
            names = list(takers) if number % 2 else list(takers)[::-1]
            for name in names:
                self.say(f"{name}, {'once to warm up' if number < 0 else f'round {number + 1} of {count}'}")
                value = takers[name]()
                if number >= 0:
                    taken[name].append(value)
        return taken

    @property
    def shared_core(self) -> set[int]:
        """The core that an extension and a function share."""
        return {min(os.sched_getaffinity(0))}

    @property
    def own_cores(self) -> set[int]:
        """The cores of the stand-ins; the shared one where there is no other."""
        return (os.sched_getaffinity(0) - self.shared_core) or self.shared_core

    @contextmanager
    def one_core(self) -> Iterator[set[int]]:
        """Keep the stand-ins off the core that is given: for figures of one shared core. The function is put on it."""
        before = os.sched_getaffinity(0)
        core, others = self.shared_core, self.own_cores
        for pid, cores in ((0, others), (self.s3.pid, others), (self.burner.pid, core)):
            _place(pid, cores)
        try:
            yield core
        finally:
            for pid in (0, self.s3.pid, self.burner.pid):
                _place(pid, before)


def _place(pid: int, cores: set[int]) -> None:
    """Every thread of a process; 0 is this one."""
    for thread in os.listdir(f"/proc/{pid or os.getpid()}/task"):  # noqa: PTH208 - names of threads, not files
        os.sched_setaffinity(int(thread), cores)
