"""The ledger of losses is bounded in any outage, durable, and reported once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.errors import JournalFull
from logferry.journal import frame, losses, orphans
from logferry.journal.losses import MAGIC, Loss, merged
from logferry.records.internal import InternalBatch
from support.journal_harness import bodies_in, close, flip, numbered, numbers_in, open_journal, reports_in, waiting_in
from support.tmpfs import fill

if TYPE_CHECKING:
    from logferry.journal.journal import Journal

DROPPED = "logferry.dropped"


def size_of(directory: Path) -> int:
    """Return the size of the files of a directory, in bytes."""
    return sum(path.stat().st_size for path in directory.iterdir())


def ship_all(journal: Journal) -> tuple[list[int], list[dict[str, Any]]]:
    """Upload all segments, with the reports that follow; return the numbers and the reports of losses."""
    bodies: list[bytes] = []
    for _ in range(2):
        journal.seal()
        while journal.sealed:
            bodies += bodies_in(journal, journal.sealed[0])
            journal.remove(journal.sealed[0])
    return numbers_in(bodies), reports_in(bodies, DROPPED)


# --- the limit


def assert_lost_up_to(number: int, reports: list[dict[str, Any]]) -> None:
    """Assert that at most two reports cover the first segments, of one record each, up to this one."""
    assert len(reports) <= 2, "one that waits with its segment, and one of later losses"
    lost = [n for report in reports for n in range(report["segment"], report["until"] + 1)]
    assert sorted(lost) == list(range(1, number + 1))
    assert sum(report["records"] for report in reports) == number


def test_journal_accepts_the_newest_and_reports_the_rest_in_two_records_during_a_long_outage(tmp_path: Path) -> None:
    """The spool stays within its limit, and the reports of 200 lost segments are no larger than those of two."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    for n in range(1, 201):
        journal.append(numbered(n, size=600))
        journal.seal()
        assert size_of(tmp_path) <= 4000 + 400, "an empty open segment, until the next body makes room"
    numbers, reports = ship_all(journal)
    assert numbers == list(range(numbers[0], 201))
    assert_lost_up_to(numbers[0] - 1, reports)


@pytest.mark.timeout(20)
def test_journal_refuses_a_body_if_only_reports_are_left(tmp_path: Path) -> None:
    """Losses of many environments are not merged. If they fill the spool, the platform keeps new batches."""
    accepted, refused = 0, 0
    for environment in range(60):
        journal = open_journal(tmp_path, environment=f"e{environment}", limit_bytes=4000)
        for _ in range(5):
            try:
                journal.append(numbered(accepted, size=600))
                accepted += 1
            except JournalFull:
                refused += 1
            assert size_of(tmp_path) <= 4000 + 400
        journal.seal()
        close(journal)
    assert refused
    journal = open_journal(tmp_path, environment="last")
    numbers, reports = ship_all(journal)
    assert len(numbers) + sum(report["records"] for report in reports) == accepted


def test_spool_of_tiny_segments_discards_the_oldest(tmp_path: Path) -> None:
    """Each is smaller than the report of its loss, but together they make room for the newest."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    for n in range(1, 41):
        journal.append(numbered(n))
        journal.seal()
    numbers, reports = ship_all(journal)
    assert numbers == list(range(numbers[0], 41))
    assert_lost_up_to(numbers[0] - 1, reports)


def test_journal_discards_no_more_than_necessary(tmp_path: Path) -> None:
    """A body that does not fit even without all waiting segments costs none of them."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    for n in (1, 2, 3):
        journal.append(numbered(n, size=600))
        journal.seal()
    with journal.holding(journal.sealed[0]), pytest.raises(JournalFull, match="LOGFERRY_SPOOL_BYTES=4000"):
        journal.append(numbered(4, size=3000))
    assert [s.number for s in journal.sealed] == [1, 2, 3]
    journal.append(numbered(5, size=1500))
    assert [s.number for s in journal.sealed] == [2, 3]


def test_open_segment_is_discarded_if_all_sealed_ones_are_not_enough(tmp_path: Path) -> None:
    """The oldest is discarded for the newest, whether a flush has sealed it or not."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    journal.append(numbered(1, size=100))
    journal.seal()
    journal.append(numbered(2, size=900))
    journal.append(numbered(3, size=2900))
    assert ship_all(journal)[0] == [3]


def test_losses_are_merged_only_for_neighbours_with_one_environment_and_reason() -> None:
    """Each number of a range is lost, and sums are exact."""
    full = [Loss("e1", n, n, records=n, bytes=10 * n, reason="full") for n in (3, 1, 2, 5)]
    other = [
        Loss("e1", 6, 6, records=1, bytes=1, reason="damaged"),
        Loss("e2", 4, 4, records=1, bytes=1, reason="full"),
    ]
    assert merged([*other, *full]) == (
        Loss("e1", 1, 3, records=6, bytes=60, reason="full"),
        Loss("e1", 5, 5, records=5, bytes=50, reason="full"),
        *other,
    )


# --- the ledger on disk


def lost_and_closed(directory: Path, *, environment: str = "e1") -> Path:
    """Leave the ledger of an environment whose segment 1 was discarded and whose 2 waits; return its file."""
    journal = open_journal(directory, environment=environment)
    for n in (1, 2):
        journal.append(numbered(n))
        journal.seal()
    journal.lose(journal.sealed[0], reason="unreadable")
    close(journal)
    return directory / f"{environment}.lost"


def test_loss_is_on_disk_before_its_file_is_removed_and_the_next_process_reports_it(tmp_path: Path) -> None:
    """Only the ledger is left of the segment, and it is removed after the report."""
    ledger = lost_and_closed(tmp_path)
    assert ledger.exists()
    assert not list(tmp_path.glob("*-00000001.*"))
    journal = open_journal(tmp_path, environment="e2")
    numbers, (report,) = ship_all(journal)
    assert numbers == [2]
    assert (report["environment"], report["segment"], report["until"], report["records"]) == ("e1", 1, 1, 1)
    assert [path.suffix for path in tmp_path.iterdir() if path.name != "lock"] == [".open"]


def test_numbers_continue_behind_lost_segments(tmp_path: Path) -> None:
    """If the open file was deleted, the number of a lost segment is not used again."""
    journal = open_journal(tmp_path)
    for n in (1, 2, 3):
        journal.append(numbered(n))
        journal.seal()
    journal.lose(journal.sealed[2], reason="unreadable")
    Path(journal._file.path).unlink()
    close(journal)
    journal = open_journal(tmp_path)
    journal.append(numbered(4))
    sealed = journal.seal()
    assert sealed
    assert sealed.number == 4


def test_damaged_ledger_is_counted(tmp_path: Path) -> None:
    """After a flipped bit the lost segments are unknown, but a record reports that there was a loss."""
    ledger = lost_and_closed(tmp_path)
    size = ledger.stat().st_size
    flip(ledger, len(MAGIC) + frame.HEAD_BYTES + 40)
    journal = open_journal(tmp_path)
    journal.seal()
    (damaged,) = reports_in(waiting_in(journal), "logferry.damaged")
    assert damaged["bytes"] == size - len(MAGIC) - frame.HEAD_BYTES
    assert not ledger.exists()


@pytest.mark.parametrize("name", ["e1.lost", "other.lost"])
def test_ledger_of_another_version_is_left_unchanged(tmp_path: Path, name: str) -> None:
    """Another version may be able to read the file."""
    other = tmp_path / name
    other.write_bytes(b"logferry losses 2\n and what it holds")
    journal = open_journal(tmp_path, environment="e2")
    journal.append(numbered(1))
    assert ship_all(journal) == ([1], [])
    assert other.exists()


def test_ledgers_of_several_processes_are_merged(tmp_path: Path) -> None:
    """A separate directory is adopted with its segments, and no loss is reported twice."""
    spool, separate = tmp_path / "spool", tmp_path / "spool-e2"
    lost_and_closed(spool)
    lost_and_closed(separate, environment="e2")
    (separate / losses.PART).write_bytes(b"half a led")
    orphans.adopt(str(spool))
    assert not separate.exists()
    journal = open_journal(spool, environment="e3")
    assert sorted(path.name for path in spool.glob("*.lost")) == ["e3.lost"]
    numbers, reports = ship_all(journal)
    assert (numbers, [report["environment"] for report in reports]) == ([2, 2], ["e1", "e2"])


def test_kill_during_a_merge_of_ledgers_reports_no_loss_twice(tmp_path: Path) -> None:
    """The old ledger is still there next to the new one, which includes it."""
    ledger = lost_and_closed(tmp_path)
    old = ledger.read_bytes()
    journal = open_journal(tmp_path, environment="e2")
    journal.lose(journal.sealed[0], reason="unreadable")
    close(journal)
    ledger.write_bytes(old)
    _, (report,) = ship_all(open_journal(tmp_path, environment="e3"))
    assert (report["segment"], report["until"], report["records"]) == (1, 2, 2)


def test_loss_is_reported_if_the_function_empties_tmp(tmp_path: Path) -> None:
    """The ledger is held in memory as well."""
    spool = tmp_path / "spool"
    journal = open_journal(spool)
    journal.append(numbered(1))
    sealed = journal.seal()
    assert sealed
    journal.lose(sealed, reason="unreadable")
    shutil.rmtree(spool)
    journal.append(numbered(2))
    numbers, (report,) = ship_all(journal)
    assert (numbers, report["segment"]) == ([2], 1)


# --- a disk that rejects writes


def test_file_stays_on_a_full_disk_until_its_loss_is_written(small_disk: Path) -> None:
    """Otherwise a kill could leave neither. Once the disk accepts the ledger, the same process removes the file."""
    warnings: list[str] = []
    journal = open_journal(small_disk, warn=warnings.append)
    journal.append(numbered(1))
    sealed = journal.seal()
    assert sealed
    ballast = fill(small_disk)
    journal.lose(sealed, reason="unreadable")
    assert Path(sealed.path).exists()
    assert journal.seal() is None, "a report would contradict the file that is still there"
    for n in (2, 3, 4):  # the last page of the open file has room for these, the ledger needs another page
        journal.append(numbered(n))
    assert len(warnings) == 1
    ballast.unlink()
    journal.append(numbered(5))
    assert not Path(sealed.path).exists()
    numbers, (report,) = ship_all(journal)
    close(journal)
    assert (numbers, report["segment"]) == ([2, 3, 4, 5], 1)


def test_losses_are_reported_from_memory_if_no_segment_was_on_disk(tmp_path: Path) -> None:
    """If the spool cannot be written, discarded segments are counted as well."""
    (tmp_path / "spool").write_text("in the way")
    journal = open_journal(tmp_path / "spool", limit_bytes=4000)
    for n in range(1, 21):
        journal.append(numbered(n, size=600))
        journal.seal()
    numbers, reports = ship_all(journal)
    assert numbers[-1] == 20
    assert len(numbers) + sum(report["records"] for report in reports) == 20


# --- internal batches


def test_posted_report_is_discarded_as_an_ordinary_record(tmp_path: Path) -> None:
    """Only an internal batch reports losses; a forged report does not survive as one."""
    journal = open_journal(tmp_path)
    forged = {"environment": "x", "segment": 1, "until": 1, "records": 10**6, "bytes": 1, "reason": "forged"}
    journal.append(json.dumps([{"type": DROPPED, "record": forged}]).encode())
    sealed = journal.seal()
    assert sealed
    journal.lose(sealed, reason="unreadable")
    _, (report,) = ship_all(journal)
    assert (report["environment"], report["records"]) == ("e1", 1)


def test_internal_mark_survives_a_kill_and_a_renewal(tmp_path: Path) -> None:
    """SnapStart: waiting bodies are written again under another name, with the mark of internal batches."""
    journal = open_journal(tmp_path)
    journal._write(losses.report([Loss("e0", 1, 1, records=1, bytes=1, reason="x")], at_ms=0))
    journal.append(numbered(1))
    journal.renew("e9")
    close(journal)
    journal = open_journal(tmp_path, environment="e9")
    assert [isinstance(body, InternalBatch) for body in waiting_in(journal)] == [True, False]
