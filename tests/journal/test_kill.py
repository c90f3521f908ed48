"""SIGKILL at random moments: the batches that a killed process has accepted are there for the next process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import logferry
from support.journal_harness import close, numbers_in, open_journal, waiting_in

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
PROCESSES = 40
LONGEST_SECONDS = 0.03
"""Longest time of a process after its first line, in seconds: some hundred appends, seals and removals."""
PYTHON = (sys.executable, "-S")
"""Command of the interpreter. Without `site`, a process starts in a third of the time."""


@dataclass
class Reported:
    """Steps that the processes so far have reported."""

    accepted: set[int] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)

    def add(self, lines: Iterable[bytes]) -> None:
        """Add the lines of one process; a line that the kill cut short does not count."""
        for line in lines:
            if line.endswith(b"\n"):
                step, _, which = line.decode().strip().partition(" ")
                if step == "accepted":
                    self.accepted.add(int(which))
                else:
                    self.stored.add(which)


def run_and_kill(spool: Path, out: Path, *, seed: int, first: int, seconds: float) -> list[bytes]:
    """Run one process for that long after its first line, kill it, and return its lines."""
    paths = os.pathsep.join((str(HERE.parent), str(Path(logferry.__file__).parent.parent)))
    process = subprocess.Popen(
        [*PYTHON, HERE.parent / "support" / "journal_writer.py", spool, out, str(seed), str(first)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": paths},
    )
    with process:
        assert process.stdout
        lines = [process.stdout.readline()]
        time.sleep(seconds)  # the moment of the kill is what varies
        process.kill()
        return lines + process.stdout.readlines()


@pytest.mark.timeout(60)
def test_journal_keeps_each_accepted_body_once_after_forty_kills(tmp_path: Path) -> None:
    """Stored and waiting bodies are the accepted ones, except for the append that was under way."""
    seed = random.randrange(10**9)  # noqa: S311 - printed, so that the run can be repeated
    print(f"seed {seed}")
    dice, reported = random.Random(seed), Reported()  # noqa: S311
    spool, out = tmp_path / "spool", tmp_path / "out"
    out.mkdir()
    first = 1
    perhaps: set[int] = set()
    for _ in range(PROCESSES):
        seconds = dice.uniform(0, LONGEST_SECONDS)
        reported.add(run_and_kill(spool, out, seed=dice.randrange(10**9), first=first, seconds=seconds))
        perhaps.add(max(reported.accepted, default=0) + 1)
        first = max(reported.accepted, default=0) + 2

    journal = open_journal(spool)
    journal.seal(last=True)
    waiting = {f"{s.environment}-{s.number:08d}" for s in journal.sealed}
    names = {path.name for path in out.iterdir() if path.suffix != ".part"}
    assert reported.stored <= names
    stored = [int(n) for name in names - waiting for n in (out / name).read_text().split()]
    numbers = stored + numbers_in(waiting_in(journal))
    close(journal)
    assert len(reported.accepted) > PROCESSES
    assert reported.accepted <= set(numbers), "accepted and lost"
    assert set(numbers) <= reported.accepted | perhaps, "never accepted"
    assert len(numbers) == len(set(numbers)), "duplicated"
    segments = sorted(int(name.rpartition("-")[2]) for name in names | waiting)
    assert segments == list(range(1, len(segments) + 1)), "a number is missing"
    assert [s.final for s in journal.sealed][-1]
