"""A kill before each thing the journal does to the disk, one after another: the books balance wherever it dies.

`test_kill` lets the kernel choose the moment; here none is left out. A process is played by a journal that is cut off
in the middle of its work by an exception nothing catches, after which what it held open is closed, as the kernel would.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.journal.losses import Loss, told_by
from support.journal_harness import ROOMY, bodies_in, numbered, numbers_in, open_journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal

LIMIT = 2600
"""Holds two segments of the life below; with a third the oldest goes."""


class Killed(BaseException):
    """SIGKILL: nothing runs after it, so nothing may catch it."""


class Disk:
    """Everything that changes the disk, counted; number `end` kills the process, before it or in its middle."""

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

    def bury(self) -> None:
        """Close what the dead process held open."""
        for fd in self._opened:
            self._close(fd)
        self._opened.clear()
        self.end = -1


class Books:
    """What is known from outside."""

    def __init__(self) -> None:
        self.offered = 0
        self.accepted: set[int] = set()
        self.delivered: dict[tuple[str, int], list[int]] = {}
        self.told: list[Loss] = []

    def append(self, journal: Journal) -> None:
        """One more delivery; a kill in its middle leaves open whether it is stored."""
        self.offered += 1
        journal.append(numbered(self.offered, size=600))
        self.accepted.add(self.offered)

    def upload(self, journal: Journal) -> None:
        """The oldest is stored, which an upload that is repeated may do again, and committed."""
        segment = journal.sealed[0]
        bodies = bodies_in(journal, segment)
        journal.remove(segment)
        assert (segment.environment, segment.number) not in self.delivered
        self.delivered[segment.environment, segment.number] = numbers_in(bodies)
        self.told += [loss for body in bodies for loss in told_by(body)]

    def live(self, journal: Journal) -> None:
        """Fill the spool beyond its bound, ship some, fill it again, and end."""
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
        journal.close()


def play(directory: Path, disk: Disk, *, end: int = -1, torn: bool = False) -> Books:
    """One life that is killed at `end`, one after it that is not, a reset, and all is shipped."""
    books = Books()
    disk.count, disk.end, disk.torn = 0, end, torn
    try:
        for _ in range(2):
            books.live(open_journal(directory, limit_bytes=LIMIT))
    except Killed:
        disk.bury()
        books.live(open_journal(directory, limit_bytes=LIMIT))
    disk.end = -1
    journal = open_journal(directory, environment="e2", limit_bytes=ROOMY)
    for _ in range(2):
        journal.seal()
        while journal.sealed:
            books.upload(journal)
    journal.close()
    return books


def assert_balanced(books: Books) -> None:
    """Each accepted record is delivered or told to be lost, and nothing is in two of the books."""
    delivered = [number for numbers in books.delivered.values() for number in numbers]
    told = [(loss.environment, n) for loss in books.told for n in range(loss.segment, loss.until + 1)]
    assert len(delivered) == len(set(delivered)), "delivered twice"
    assert len(told) == len(set(told)), "told twice"
    assert not set(told) & set(books.delivered), "delivered, and told to be lost"
    lost = sum(loss.records for loss in books.told)
    stored = len(delivered) + lost
    assert len(books.accepted) <= stored <= books.offered, (delivered, books.told)
    numbers = sorted(number for name, number in {*told, *books.delivered} if name == "e1")
    assert numbers == list(range(1, len(numbers) + 1)), "a number is missing"


@pytest.mark.parametrize("torn", [False, True], ids=["before it", "in its middle"])
def test_the_books_balance_wherever_the_journal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, torn: bool
) -> None:
    """Delivered, waiting and told to be lost are what was accepted, each in one of the books, at every kill point."""
    disk = Disk(monkeypatch)
    books = play(tmp_path / "whole", disk)
    points = disk.count
    assert_balanced(books)
    assert {loss.reason for loss in books.told} > {"unreadable"}
    for end in range(1, points + 1):
        books = play(tmp_path / str(end), disk, end=end, torn=torn)
        try:
            assert_balanced(books)
        except AssertionError as error:
            raise AssertionError(f"killed at {end} of {points}: {error}") from error
    print(f"{points} kill points")
