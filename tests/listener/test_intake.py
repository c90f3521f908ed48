"""The intake: a batch is accepted when the journal has stored it, and the stream can be observed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from logferry.errors import JournalFull
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.listener.refusals import REMEMBERED, Refusals
from logferry.records.invocations import Invocations
from support.journal_harness import numbered, open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.journal.journal import Journal

START_BATCH = json.dumps([{"type": "platform.start", "record": {"requestId": "r1"}}]).encode()


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def new_intake(journal: Journal, **arguments: Any) -> Intake:
    """Return an intake of a new execution environment."""
    defaults: dict[str, Any] = {"deduplicator": Deduplicator(), "invocations": Invocations(), "managed": False}
    return Intake(journal=journal, **(defaults | arguments))


def stored(journal: Journal) -> list[bytes]:
    """Seal the journal and return the batches of all segments."""
    journal.seal()
    found: list[bytes] = []
    for segment in journal.sealed:
        with journal.reading(segment) as (_, bodies):
            found += bodies
    return found


def test_intake_stores_a_batch_before_it_calls_back(tmp_path: Path) -> None:
    """A callback observes the journal with the batch, and callbacks run in the order of registration."""
    journal = open_journal(tmp_path)
    intake = new_intake(journal)
    calls: list[tuple[str, bool]] = []
    intake.add_callback(lambda: calls.append(("first", journal.waiting_bytes > 0)))
    intake.add_callback(lambda: calls.append(("second", journal.waiting_bytes > 0)))
    intake.accept(numbered(1))
    assert calls == [("first", True), ("second", True)]
    assert stored(journal) == [numbered(1)]


def test_intake_stores_a_repeated_batch_once(tmp_path: Path) -> None:
    """The platform repeats a batch whose response was lost; the repetition is accepted and not stored."""
    journal = open_journal(tmp_path)
    intake = new_intake(journal)
    calls: list[None] = []
    intake.add_callback(lambda: calls.append(None))
    for batch in (numbered(1), numbered(1), numbered(2)):
        intake.accept(batch)
    assert stored(journal) == [numbered(1), numbered(2)]
    assert len(calls) == 2


def test_intake_refuses_a_batch_and_accepts_its_repetition_when_the_journal_has_room(tmp_path: Path) -> None:
    """A refused batch is not remembered as a duplicate: its repetition must be stored."""
    full = open_journal(tmp_path / "full", limit_bytes=400)
    with pytest.raises(JournalFull):
        new_intake(full).accept(numbered(1, size=1000))
    assert stored(full) == []
    deduplicator = Deduplicator()
    with pytest.raises(JournalFull):
        new_intake(full, deduplicator=deduplicator).accept(numbered(1, size=1000))
    journal = open_journal(tmp_path / "roomy")
    new_intake(journal, deduplicator=deduplicator).accept(numbered(1, size=1000))
    assert stored(journal) == [numbered(1, size=1000)]


@pytest.mark.parametrize(("managed", "running"), [(False, "r1"), (True, None)])
def test_intake_passes_the_running_request_to_the_journal(tmp_path: Path, *, managed: bool, running: str) -> None:
    """The next segment's header names the running request; on Managed Instances no single request is running."""
    journal = open_journal(tmp_path)
    new_intake(journal, managed=managed).accept(START_BATCH)
    assert journal.running == running


def test_intake_refuses_every_batch_after_close(tmp_path: Path) -> None:
    """Records that could no longer be uploaded are refused, and the count states how many."""
    journal = open_journal(tmp_path)
    intake = new_intake(journal)
    intake.accept(numbered(1))
    intake.close()
    with pytest.raises(JournalFull):
        intake.accept(numbered(2))
    assert stored(journal) == [numbered(1)]
    assert (intake.refused.batches, intake.refused.bytes) == (1, len(numbered(2)))


def test_intake_reports_the_time_of_the_latest_accepted_batch(tmp_path: Path) -> None:
    """A repeated batch counts as activity of the stream, a refused batch does not."""
    clock = Clock()
    intake = new_intake(open_journal(tmp_path, limit_bytes=1000), clock=clock)
    assert intake.last_accepted_at is None
    intake.accept(numbered(1))
    assert intake.last_accepted_at == 100.0
    clock.now = 101.0
    intake.accept(numbered(1))
    assert intake.last_accepted_at == 101.0
    clock.now = 102.0
    with pytest.raises(JournalFull):
        intake.accept(numbered(2, size=5000))
    assert intake.last_accepted_at == 101.0


def test_refusals_count_a_batch_once_and_not_after_its_acceptance() -> None:
    """The platform repeats a refused batch; only a batch whose last delivery was refused is lost."""
    refusals = Refusals()
    for batch in (b"[1]", b"[1]", b"[22]"):
        refusals.add(batch)
    assert (refusals.batches, refusals.bytes) == (2, 7)
    refusals.discard(b"[1]")
    refusals.discard(b"[1]")
    refusals.discard(b"never refused")
    assert (refusals.batches, refusals.bytes) == (1, 4)


def test_refusals_remember_a_bounded_number_and_count_all() -> None:
    """A process that sends batches into a full spool cannot exhaust the memory."""
    refusals = Refusals()
    for number in range(REMEMBERED + 10):
        refusals.add(b"%d" % number)
    assert refusals.batches == REMEMBERED + 10
    assert len(refusals._open) == REMEMBERED
    refusals.discard(b"0")
    assert refusals.batches == REMEMBERED + 10


def test_intake_counts_a_refused_batch_until_it_is_accepted(tmp_path: Path) -> None:
    """After an acceptance the batch is stored, so the final message must not report it as lost."""
    intake = new_intake(open_journal(tmp_path))
    intake.refused.add(numbered(1))
    intake.accept(numbered(1))
    assert intake.refused.batches == 0
