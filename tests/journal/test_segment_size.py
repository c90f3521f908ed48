"""LOGFERRY_OBJECT_BYTES: a segment is sealed before a batch that would make it too large."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from support.journal_harness import bodies_in, close, numbered, numbers_in, open_journal, waiting_in

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LIMIT = 64 * 1024


def test_batch_that_does_not_fit_begins_the_next_segment(tmp_path: Path) -> None:
    """No segment exceeds the size, and the order of the batches stays."""
    journal = open_journal(tmp_path, segment_bytes=LIMIT)
    for number in range(20):
        journal.append(numbered(number, size=10_000))
    journal.seal(last=True)
    sizes = [sum(map(len, bodies_in(journal, segment))) for segment in journal.sealed]
    assert len(sizes) == 4
    assert max(sizes) <= LIMIT
    assert numbers_in(waiting_in(journal)) == list(range(20))
    assert [segment.number for segment in journal.sealed] == [1, 2, 3, 4]
    close(journal)


def test_single_larger_batch_is_one_segment(tmp_path: Path) -> None:
    """A batch is never divided: the platform delivers it again as a whole if its response is lost."""
    journal = open_journal(tmp_path, segment_bytes=LIMIT)
    for number, size in enumerate((10, 3 * LIMIT, 10)):
        journal.append(numbered(number, size=size))
    journal.seal(last=True)
    assert [numbers_in(bodies_in(journal, segment)) for segment in journal.sealed] == [[0], [1], [2]]
    close(journal)


def test_halves_of_a_cut_record_stay_in_one_segment(tmp_path: Path) -> None:
    """The encoder joins them only if both are in its segment."""
    journal = open_journal(tmp_path, segment_bytes=LIMIT)
    journal.append(numbered(0, size=LIMIT - 1000))
    journal.has_partial_record = True
    journal.append(numbered(1, size=LIMIT))
    journal.has_partial_record = False
    journal.append(numbered(2))
    journal.seal(last=True)
    assert [numbers_in(bodies_in(journal, segment)) for segment in journal.sealed] == [[0, 1], [2]]
    close(journal)


def test_bodies_in_memory_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk rejects writes, the segments in memory have the same size."""
    directory = tmp_path / "spool"
    journal = open_journal(directory, segment_bytes=LIMIT)
    monkeypatch.setattr("logferry.journal.segment._write", _full)
    for number in range(8):
        journal.append(numbered(number, size=20_000))
    journal.seal(last=True)
    sizes = [sum(map(len, bodies_in(journal, segment))) for segment in journal.sealed]
    assert max(sizes) <= LIMIT
    assert numbers_in(waiting_in(journal)) == list(range(8))
    close(journal)


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_bodies_of_a_sealed_segment_are_read_as_often_as_needed(tmp_path: Path) -> None:
    """A sample that keeps errors reads the ends of invocations before the first line is written."""
    journal = open_journal(tmp_path)
    for number in range(3):
        journal.append(numbered(number))
    segment = journal.seal()
    assert segment
    with journal.reading(segment) as (_, bodies):
        assert [*itertools.islice(bodies, 1)] == [numbered(0)]
        assert [*bodies] == [*bodies] == [numbered(number) for number in range(3)]
    close(journal)
