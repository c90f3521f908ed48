"""SIGKILL at any moment: a process dies, not a coroutine, and what it had accepted is there for the next one."""

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
from support.journal_harness import numbers_in, open_journal, waiting_in

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
LIVES = 40
LONGEST_SECONDS = 0.03
"""Of a life after its first words: some hundred appends, seals and removals, so that each is hit now and then."""
PYTHON = (sys.executable, "-S")
"""Without site: a life starts in a third of the time."""


@dataclass
class Said:
    """What the lives so far have said."""

    accepted: set[int] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)

    def heed(self, lines: Iterable[bytes]) -> None:
        """Take down what one life said; a line that the kill cut short was not said."""
        for line in lines:
            if line.endswith(b"\n"):
                what, _, which = line.decode().strip().partition(" ")
                if what == "accepted":
                    self.accepted.add(int(which))
                else:
                    self.stored.add(which)


def live_and_die(spool: Path, out: Path, *, seed: int, first: int, seconds: float) -> list[bytes]:
    """Let one process work that long after its first word, kill it, and give what it has said."""
    paths = os.pathsep.join((str(HERE.parent), str(Path(logferry.__file__).parent.parent)))
    life = subprocess.Popen(
        [*PYTHON, HERE.parent / "support" / "journal_writer.py", spool, out, str(seed), str(first)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": paths},
    )
    with life:
        assert life.stdout
        lines = [life.stdout.readline()]
        time.sleep(seconds)  # the moment of the kill is the random thing that is tested
        life.kill()
        return lines + life.stdout.readlines()


@pytest.mark.timeout(60)
def test_nothing_accepted_is_missing_or_twice_after_forty_kills(tmp_path: Path) -> None:
    """Stored and waiting together are what was said to be accepted, but for the one append that was under way."""
    seed = random.randrange(10**9)  # noqa: S311 - printed, to be repeated
    print(f"seed {seed}")
    dice, said = random.Random(seed), Said()  # noqa: S311
    spool, out = tmp_path / "spool", tmp_path / "out"
    out.mkdir()
    first = 1
    perhaps: set[int] = set()
    for _ in range(LIVES):
        seconds = dice.uniform(0, LONGEST_SECONDS)
        said.heed(live_and_die(spool, out, seed=dice.randrange(10**9), first=first, seconds=seconds))
        perhaps.add(max(said.accepted, default=0) + 1)
        first = max(said.accepted, default=0) + 2

    journal = open_journal(spool)
    journal.seal(last=True)
    waiting = {f"{s.environment}-{s.number:08d}" for s in journal.sealed}
    names = {path.name for path in out.iterdir() if path.suffix != ".part"}
    assert said.stored <= names
    stored = [int(n) for name in names - waiting for n in (out / name).read_text().split()]
    numbers = stored + numbers_in(waiting_in(journal))
    journal.close()
    assert len(said.accepted) > LIVES
    assert said.accepted <= set(numbers), "accepted and lost"
    assert set(numbers) <= said.accepted | perhaps, "never accepted"
    assert len(numbers) == len(set(numbers)), "there twice"
    segments = sorted(int(name.rpartition("-")[2]) for name in names | waiting)
    assert segments == list(range(1, len(segments) + 1)), "a number is missing"
    assert [s.final for s in journal.sealed][-1]
