"""A process that is started to be killed: it fills, seals and ships a journal, and writes its steps to stdout.

    python journal_writer.py SPOOL OUT SEED FIRST       appends bodies numbered from FIRST on, until it is killed

It writes one line for each completed step. `accepted <number>` follows an append that has returned. `stored <segment>`
follows the file of OUT with the numbers of the segment, and precedes its removal from the journal.
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


def report(step: str) -> None:
    """Write a line with one call, so that a kill leaves all of it or nothing."""
    os.write(1, step.encode() + b"\n")


def ship_oldest(journal: Journal, out: Path) -> None:
    """Store the oldest segment completely, under its own name, and commit."""
    segment = journal.sealed[0]
    path = out / f"{segment.environment}-{segment.number:08d}"
    numbers = [number_of(body) for body in bodies_in(journal, segment)]
    part = path.with_suffix(".part")
    part.write_text("\n".join(map(str, numbers)))
    part.rename(path)
    report(f"stored {path.name}")
    journal.remove(segment)


def main(spool: Path, out: Path, seed: int, first: int) -> None:
    """Run random steps until the process is killed."""
    dice = random.Random(seed)  # noqa: S311 - a seed makes the run repeatable
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
            report(f"accepted {number}")
            number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
