"""A kill before each disk operation of the journal, one after another: the totals balance at every kill point.

`test_kill` leaves the moment to the kernel; this module covers all of them. A process is a journal that an uncaught
exception interrupts. Afterwards its open descriptors are closed, as the kernel does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.journal.losses import Loss, losses_in
from support.journal_harness import ROOMY, bodies_in, close, numbered, numbers_in, open_journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal

LIMIT = 2600
"""Limit of the spool, in bytes: two segments of the run below. With a third, the oldest is discarded."""


class Killed(BaseException):
    """SIGKILL: no code runs after it, so no code may catch it."""


class Disk:
    """Counter of the calls that change the disk. Call `end` kills the process, before the call or during it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.end = -1
        self.torn = False
        self._opened: set[int] = set()
        self._close = os.close
        for owner, name in ((os, "open"), (os, "write"), (os, "rename"), (os, "replace"), (os, "unlink")):
            monkeypatch.setattr(owner, name, self._guarded(name, getattr(owner, name)))
        monkeypatch.setattr(Path, "write_bytes", self._guarded("write_bytes", Path.write_bytes))
        monkeypatch.setattr(os, "close", self._closing)

    def _guarded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.end:
                if self.torn and name in {"write", "write_bytes"}:
                    real(args[0], args[1][: len(args[1]) // 2])
                raise Killed
            done = real(*args, **options)
            if name == "open":
                self._opened.add(done)
            return done

        return guarded

    def _closing(self, fd: int) -> None:
        self._opened.discard(fd)
        self._close(fd)

    def close_all(self) -> None:
        """Close the descriptors of the killed process."""
        for fd in self._opened:
            self._close(fd)
        self._opened.clear()
        self.end = -1


class Totals:
    """State that is known from outside the journal."""

    def __init__(self) -> None:
        self.offered = 0
        self.accepted: set[int] = set()
        self.delivered: dict[tuple[str, int], list[int]] = {}
        self.reported: list[Loss] = []

    def append(self, journal: Journal) -> None:
        """Append one more batch; a kill during the call leaves open whether it is stored."""
        self.offered += 1
        journal.append(numbered(self.offered, size=600))
        self.accepted.add(self.offered)

    def upload(self, journal: Journal) -> None:
        """Store the oldest segment, as a repeated upload may do again, and commit."""
        segment = journal.sealed[0]
        bodies = bodies_in(journal, segment)
        journal.remove(segment)
        assert (segment.environment, segment.number) not in self.delivered
        self.delivered[segment.environment, segment.number] = numbers_in(bodies)
        self.reported += [loss for body in bodies for loss in losses_in(body)]

    def run(self, journal: Journal) -> None:
        """Fill the spool beyond its limit, ship some segments, fill it again, and end."""
        for _ in range(5):
            self.append(journal)
            journal.seal()
        self.upload(journal)
        for _ in range(4):
            self.append(journal)
            journal.seal()
        journal.lose(journal.sealed[0], reason="unreadable")
        self.append(journal)
        journal.seal(last=True)
        close(journal)


def play(directory: Path, disk: Disk, *, end: int = -1, torn: bool = False) -> Totals:
    """Run a process that is killed at `end`, one that is not, then a reset, and ship everything."""
    totals = Totals()
    disk.count, disk.end, disk.torn = 0, end, torn
    try:
        for _ in range(2):
            totals.run(open_journal(directory, limit_bytes=LIMIT))
    except Killed:
        disk.close_all()
        totals.run(open_journal(directory, limit_bytes=LIMIT))
    disk.end = -1
    journal = open_journal(directory, environment="e2", limit_bytes=ROOMY)
    for _ in range(2):
        journal.seal()
        while journal.sealed:
            totals.upload(journal)
    close(journal)
    return totals


def assert_balanced(totals: Totals) -> None:
    """Assert that each accepted record is delivered or reported lost, and never both."""
    delivered = [number for numbers in totals.delivered.values() for number in numbers]
    reported = [(loss.environment, n) for loss in totals.reported for n in range(loss.segment, loss.until + 1)]
    assert len(delivered) == len(set(delivered)), "delivered twice"
    assert len(reported) == len(set(reported)), "reported twice"
    assert not set(reported) & set(totals.delivered), "delivered, and reported lost"
    lost = sum(loss.records for loss in totals.reported)
    stored = len(delivered) + lost
    assert len(totals.accepted) <= stored <= totals.offered, (delivered, totals.reported)
    numbers = sorted(number for name, number in {*reported, *totals.delivered} if name == "e1")
    assert numbers == list(range(1, len(numbers) + 1)), "a number is missing"


@pytest.mark.parametrize("torn", [False, True], ids=["before the call", "during the call"])
def test_totals_balance_at_every_kill_point_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, torn: bool
) -> None:
    """Delivered, waiting and reported lost together are the accepted records, at every kill point."""
    disk = Disk(monkeypatch)
    totals = play(tmp_path / "whole", disk)
    points = disk.count
    assert_balanced(totals)
    assert {loss.reason for loss in totals.reported} > {"unreadable"}
    for end in range(1, points + 1):
        totals = play(tmp_path / str(end), disk, end=end, torn=torn)
        try:
            assert_balanced(totals)
        except AssertionError as error:
            raise AssertionError(f"killed at {end} of {points}: {error}") from error
    print(f"{points} kill points")
