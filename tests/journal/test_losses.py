"""The account of losses: bounded however long an outage lasts, durable, and told once."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from logferry.errors import JournalFull
from logferry.journal import frame, losses, orphans
from logferry.journal.losses import MAGIC, Loss, merged
from logferry.records.internal import InternalBatch
from support.journal_harness import bodies_in, flip, numbered, numbers_in, open_journal, reports_in, waiting_in
from support.tmpfs import fill

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.journal.journal import Journal

DROPPED = "logferry.dropped"


def size_of(directory: Path) -> int:
    """Give how many bytes lie in a directory."""
    return sum(path.stat().st_size for path in directory.iterdir())


def ship_all(journal: Journal) -> tuple[list[int], list[dict[str, Any]]]:
    """Upload all there is, with what the journal then has to say; gives the numbers and the reports of losses."""
    bodies: list[bytes] = []
    for _ in range(2):
        journal.seal()
        while journal.sealed:
            bodies += bodies_in(journal, journal.sealed[0])
            journal.remove(journal.sealed[0])
    return numbers_in(bodies), reports_in(bodies, DROPPED)


# --- the bound


def assert_lost_up_to(number: int, reports: list[dict[str, Any]]) -> None:
    """Two reports at most tell that the first segments, of one record each, are lost up to this one."""
    assert len(reports) <= 2, "one that waits with its segment, and one of what was lost since"
    told = [n for report in reports for n in range(report["segment"], report["until"] + 1)]
    assert sorted(told) == list(range(1, number + 1))
    assert sum(report["records"] for report in reports) == number


def test_in_an_outage_without_end_the_newest_is_taken_and_two_reports_tell_the_rest(tmp_path: Path) -> None:
    """The spool stays within its bound, and the reports of 200 lost segments are no larger than those of two."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    for n in range(1, 201):
        journal.append(numbered(n, size=600))
        journal.seal()
        assert size_of(tmp_path) <= 4000 + 400, "an empty open segment, until the next body makes room for it"
    numbers, reports = ship_all(journal)
    assert numbers == list(range(numbers[0], 201))
    assert_lost_up_to(numbers[0] - 1, reports)


@pytest.mark.timeout(20)
def test_where_reports_are_all_that_is_left_what_comes_is_refused_and_nobody_spins(tmp_path: Path) -> None:
    """Losses of many environments are no neighbours: when they fill the spool, the platform keeps what comes."""
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
        journal.close()
    assert refused
    journal = open_journal(tmp_path, environment="last")
    numbers, reports = ship_all(journal)
    assert len(numbers) + sum(report["records"] for report in reports) == accepted


def test_a_spool_full_of_tiny_segments_gives_up_the_oldest_of_them(tmp_path: Path) -> None:
    """Each is smaller than the report of its loss, together they make room: the newest is not refused for them."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    for n in range(1, 41):
        journal.append(numbered(n))
        journal.seal()
    numbers, reports = ship_all(journal)
    assert numbers == list(range(numbers[0], 41))
    assert_lost_up_to(numbers[0] - 1, reports)


def test_no_more_is_given_up_than_it_takes(tmp_path: Path) -> None:
    """A body that would not fit for all of what waits costs nothing of it."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    for n in (1, 2, 3):
        journal.append(numbered(n, size=600))
        journal.seal()
    with journal.holding(journal.sealed[0]), pytest.raises(JournalFull, match="LOGFERRY_SPOOL_BYTES=4000"):
        journal.append(numbered(4, size=3000))
    assert [s.number for s in journal.sealed] == [1, 2, 3]
    journal.append(numbered(5, size=1500))
    assert [s.number for s in journal.sealed] == [2, 3]


def test_what_is_open_is_given_up_too_when_all_that_is_sealed_is_not_enough(tmp_path: Path) -> None:
    """The oldest goes for the newest, whether a flush has sealed it or not."""
    journal = open_journal(tmp_path, limit_bytes=4000)
    journal.append(numbered(1, size=100))
    journal.seal()
    journal.append(numbered(2, size=900))
    journal.append(numbered(3, size=2900))
    assert ship_all(journal)[0] == [3]


def test_only_neighbours_of_one_environment_and_one_reason_are_one_loss() -> None:
    """A range says that each number in it is lost; sums are exact."""
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


# --- the account on disk


def lost_and_closed(directory: Path, *, environment: str = "e1") -> Path:
    """Leave the account of an environment of which segment 1 was given up and 2 waits; gives its file."""
    journal = open_journal(directory, environment=environment)
    for n in (1, 2):
        journal.append(numbered(n))
        journal.seal()
    journal.lose(journal.sealed[0], reason="unreadable")
    journal.close()
    return directory / f"{environment}.lost"


def test_a_loss_is_on_disk_before_its_file_goes_and_the_next_life_tells_it(tmp_path: Path) -> None:
    """Nothing but the account is left of the segment, and when it is told the account goes."""
    account = lost_and_closed(tmp_path)
    assert account.exists()
    assert not list(tmp_path.glob("*-00000001.*"))
    journal = open_journal(tmp_path, environment="e2")
    numbers, (report,) = ship_all(journal)
    assert numbers == [2]
    assert (report["environment"], report["segment"], report["until"], report["records"]) == ("e1", 1, 1, 1)
    assert [path.suffix for path in tmp_path.iterdir() if path.name != "lock"] == [".open"]


def test_numbers_go_on_behind_what_is_lost(tmp_path: Path) -> None:
    """Somebody deleted the open file: the number of a lost segment is not given to another."""
    journal = open_journal(tmp_path)
    for n in (1, 2, 3):
        journal.append(numbered(n))
        journal.seal()
    journal.lose(journal.sealed[2], reason="unreadable")
    journal._file.path.unlink()
    journal.close()
    journal = open_journal(tmp_path)
    journal.append(numbered(4))
    sealed = journal.seal()
    assert sealed
    assert sealed.number == 4


def test_a_damaged_account_is_counted(tmp_path: Path) -> None:
    """A bit flips in it: which segments were lost is not known any more, that something was is said."""
    account = lost_and_closed(tmp_path)
    size = account.stat().st_size
    flip(account, len(MAGIC) + frame.HEAD_BYTES + 40)
    journal = open_journal(tmp_path)
    journal.seal()
    (damaged,) = reports_in(waiting_in(journal), "logferry.damaged")
    assert damaged["bytes"] == size - len(MAGIC) - frame.HEAD_BYTES
    assert not account.exists()


@pytest.mark.parametrize("name", ["e1.lost", "other.lost"])
def test_an_account_of_another_version_is_left_alone(tmp_path: Path, name: str) -> None:
    """What this version cannot read, the other one may."""
    other = tmp_path / name
    other.write_bytes(b"logferry losses 2\n and what it holds")
    journal = open_journal(tmp_path, environment="e2")
    journal.append(numbered(1))
    assert ship_all(journal) == ([1], [])
    assert other.exists()


def test_accounts_of_several_lives_are_made_one(tmp_path: Path) -> None:
    """What an environment left beside the spool comes with its segments, and nothing is told twice."""
    spool, beside = tmp_path / "spool", tmp_path / "spool-e2"
    lost_and_closed(spool)
    lost_and_closed(beside, environment="e2")
    (beside / losses.PART).write_bytes(b"half an acc")
    orphans.take_in(spool)
    assert not beside.exists()
    journal = open_journal(spool, environment="e3")
    assert sorted(path.name for path in spool.glob("*.lost")) == ["e3.lost"]
    numbers, reports = ship_all(journal)
    assert (numbers, [report["environment"] for report in reports]) == ([2, 2], ["e1", "e2"])


def test_a_kill_while_accounts_are_made_one_tells_nothing_twice(tmp_path: Path) -> None:
    """The old one lies beside the new one, which holds it and more."""
    account = lost_and_closed(tmp_path)
    old = account.read_bytes()
    journal = open_journal(tmp_path, environment="e2")
    journal.lose(journal.sealed[0], reason="unreadable")
    journal.close()
    account.write_bytes(old)
    _, (report,) = ship_all(open_journal(tmp_path, environment="e3"))
    assert (report["segment"], report["until"], report["records"]) == (1, 2, 2)


def test_the_function_empties_tmp_and_what_was_lost_is_told_all_the_same(tmp_path: Path) -> None:
    """The account is held in memory, too."""
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


# --- where the disk takes nothing


def test_on_a_full_disk_a_file_stays_until_its_loss_is_written_and_goes_in_the_same_life(small_disk: Path) -> None:
    """Else a kill would leave neither; and when the disk takes the account nobody has to wait for the next life."""
    complaints: list[str] = []
    journal = open_journal(small_disk, complain=complaints.append)
    journal.append(numbered(1))
    sealed = journal.seal()
    assert sealed
    ballast = fill(small_disk)
    journal.lose(sealed, reason="unreadable")
    assert sealed.path.exists()
    assert journal.seal() is None, "a report in a segment would be a second truth beside the file"
    for n in (2, 3, 4):  # the open file's last page has room for these, the account would need another
        journal.append(numbered(n))
    assert len(complaints) == 1
    ballast.unlink()
    journal.append(numbered(5))
    assert not sealed.path.exists()
    numbers, (report,) = ship_all(journal)
    journal.close()
    assert (numbers, report["segment"]) == ([2, 3, 4, 5], 1)


def test_where_nothing_was_ever_on_disk_losses_are_told_from_memory(tmp_path: Path) -> None:
    """A spool that cannot be written: what is given up for newer records is counted all the same."""
    (tmp_path / "spool").write_text("in the way")
    journal = open_journal(tmp_path / "spool", limit_bytes=4000)
    for n in range(1, 21):
        journal.append(numbered(n, size=600))
        journal.seal()
    numbers, reports = ship_all(journal)
    assert numbers[-1] == 20
    assert len(numbers) + sum(report["records"] for report in reports) == 20


# --- what is our own


def test_a_report_that_somebody_posted_is_given_up_as_the_record_it_is(tmp_path: Path) -> None:
    """Only a marked body tells of losses: a forged one does not live on as ours."""
    journal = open_journal(tmp_path)
    forged = {"environment": "x", "segment": 1, "until": 1, "records": 10**6, "bytes": 1, "reason": "forged"}
    journal.append(json.dumps([{"type": DROPPED, "record": forged}]).encode())
    sealed = journal.seal()
    assert sealed
    journal.lose(sealed, reason="unreadable")
    _, (report,) = ship_all(journal)
    assert (report["environment"], report["records"]) == ("e1", 1)


def test_the_mark_of_our_own_outlives_a_kill_and_a_change_of_name(tmp_path: Path) -> None:
    """SnapStart: what waits is written anew under another name; damage that was found is still our own word."""
    journal = open_journal(tmp_path)
    journal._write(losses.report([Loss("e0", 1, 1, records=1, bytes=1, reason="x")], at_ms=0))
    journal.append(numbered(1))
    journal.renew("e9")
    journal.close()
    journal = open_journal(tmp_path, environment="e9")
    assert [isinstance(body, InternalBatch) for body in waiting_in(journal)] == [True, False]
