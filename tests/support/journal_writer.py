"""A process that lives to be killed: it fills, seals and ships a journal, and says on stdout what it has done.

    python journal_writer.py SPOOL OUT SEED FIRST       appends bodies numbered from FIRST on, until it is killed

One line for each thing that is done and cannot be taken back: `accepted <number>` after an append has returned,
`stored <segment>` after the segment's numbers stand in a file of OUT, which is before it is removed from the journal.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.journal_harness import bodies_in, number_of, numbered, open_journal

if TYPE_CHECKING:
    from logferry.journal.journal import Journal


def say(what: str) -> None:
    """Write a line in one piece: it is out, or it is not."""
    os.write(1, what.encode() + b"\n")


def ship_oldest(journal: Journal, out: Path) -> None:
    """Store the oldest segment whole or not at all, under its own name, and commit."""
    segment = journal.sealed[0]
    path = out / f"{segment.environment}-{segment.number:08d}"
    numbers = [number_of(body) for body in bodies_in(journal, segment)]
    part = path.with_suffix(".part")
    part.write_text("\n".join(map(str, numbers)))
    part.rename(path)
    say(f"stored {path.name}")
    journal.remove(segment)


def main(spool: Path, out: Path, seed: int, first: int) -> None:
    """Do one thing after another, at random, for ever."""
    dice = random.Random(seed)  # noqa: S311 - a seed that can be repeated is the point
    journal = open_journal(spool)
    number = first
    while True:
        throw = dice.random()
        if throw < 0.15:
            journal.seal()
        elif throw < 0.35 and journal.sealed:
            ship_oldest(journal, out)
        else:
            journal.append(numbered(number, size=dice.choice((0, 100, 70_000))))
            say(f"accepted {number}")
            number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
