"""What goes wrong on a disk, one sentence each: damage the file, not the code, then look at what is left.

The law behind all of them: what was accepted is shipped, or its loss is counted where a reader finds it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from logferry.errors import JournalFull, SegmentLost
from logferry.journal.memory_buffer import MEMORY_BYTES
from logferry.journal.segment import LAST, MAGIC, SEALED
from support.journal_harness import (
    bodies_in,
    flip,
    frames_of,
    numbered,
    numbers_in,
    open_journal,
    overwrite,
    reports_in,
    waiting_in,
)
from support.tmpfs import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logferry.journal.journal import Journal

HOLD_THE_LOCK = """
import sys, pathlib
sys.path.insert(0, {tests!r})
from support.journal_harness import open_journal
journal = open_journal(pathlib.Path({directory!r}))
print("held", flush=True)
sys.stdin.read()
"""


def filled(directory: Path, *numbers: int) -> Journal:
    """Give a journal in whose open segment these numbers wait."""
    journal = open_journal(directory)
    for n in numbers:
        journal.append(numbered(n))
    return journal


def losses_in(bodies: list[bytes]) -> list[str]:
    """Give every report of a loss, of whichever kind."""
    return [str(r) for kind in ("logferry.dropped", "logferry.damaged") for r in reports_in(bodies, kind)]


# --- torn and damaged files


@pytest.mark.parametrize("torn", [1, 11, 12, 13])
def test_a_torn_tail_is_cut_and_appending_goes_on(tmp_path: Path, torn: int) -> None:
    """A frame that was being written when the process died was never accepted: it goes without a word."""
    journal = filled(tmp_path, 1, 2)
    path = journal._file.path
    journal.close()
    whole = path.read_bytes()
    overwrite(path, whole + whole[frames_of(whole)[-1].head :][:torn])
    journal = open_journal(tmp_path)
    journal.append(numbered(3))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3]
    assert losses_in(waiting_in(journal)) == []


def test_a_flipped_bit_in_a_body_costs_that_body_and_is_counted(tmp_path: Path) -> None:
    """The bodies before and behind are shipped, and a record says which segment lost how many bytes."""
    journal = filled(tmp_path, 1, 2, 3)
    path = journal._file.path
    journal.close()
    hit = frames_of(path.read_bytes())[2]
    flip(path, hit.start + 3)
    journal = open_journal(tmp_path)
    (segment,) = journal.sealed
    bodies = bodies_in(journal, segment)
    assert numbers_in(bodies) == [1, 3]
    (report,) = reports_in(bodies, "logferry.damaged")
    assert (report["environment"], report["segment"], report["bytes"]) == ("e1", 1, len(hit.body))


def test_reading_a_damaged_segment_twice_gives_the_same(tmp_path: Path) -> None:
    """A repeated upload must overwrite itself, so the report of the damage has no date of its own."""
    journal = filled(tmp_path, 1, 2)
    sealed = journal.seal()
    assert sealed
    flip(sealed.path, sealed.size - 2)
    assert bodies_in(journal, sealed) == bodies_in(journal, sealed)


HEAD_REASON = (
    "a damaged head ends the reading without a word, and everything behind it is lost in silence; "
    "what stands behind an unsound head that is not a torn tail should be counted as damaged"
)


@pytest.mark.parametrize("state", ["open", "sealed"])
def test_a_flipped_bit_in_a_head_is_counted(tmp_path: Path, state: str) -> None:
    """A bit of a frame's length or checksum flips: what can no longer be found is reported, not forgotten."""
    journal = filled(tmp_path, 1, 2, 3)
    if state == "sealed":
        journal.seal()
    path = next(tmp_path.glob("*-00000001.*"))
    journal.close()
    flip(path, frames_of(path.read_bytes())[2].head + 3)
    bodies = waiting_in(open_journal(tmp_path))
    assert numbers_in(bodies)[0] == 1
    assert numbers_in(bodies) == [1, 2, 3] or losses_in(bodies)


def test_a_zeroed_length_is_counted(tmp_path: Path) -> None:
    """A length that became zero in the middle hides what stands behind it, and that is said."""
    journal = filled(tmp_path, 1, 2, 3)
    path = journal._file.path
    journal.close()
    content = bytearray(path.read_bytes())
    head = frames_of(bytes(content))[2].head
    content[head : head + 4] = bytes(4)
    overwrite(path, bytes(content))
    assert losses_in(waiting_in(open_journal(tmp_path)))


def test_a_sealed_file_that_was_cut_is_counted(tmp_path: Path) -> None:
    """In a sealed segment every frame was accepted: half of one is a loss."""
    journal = filled(tmp_path, 1, 2)
    sealed = journal.seal()
    assert sealed
    overwrite(sealed.path, sealed.path.read_bytes()[:-3])
    assert losses_in(bodies_in(journal, sealed))


@pytest.mark.parametrize("mine", [True, False])
def test_a_damaged_header_of_an_open_file_is_counted(tmp_path: Path, *, mine: bool) -> None:
    """The header decides key and bytes; without it the segment is lost, and a report says so."""
    journal = filled(tmp_path, 1, 2)
    path = journal._file.path
    journal.close()
    flip(path, frames_of(path.read_bytes())[0].start + 3)
    journal = open_journal(tmp_path, environment="e1" if mine else "e2")
    journal.seal()
    unreadable = []
    for segment in journal.sealed:
        try:
            bodies = bodies_in(journal, segment)
        except SegmentLost:
            unreadable.append(segment)
        else:
            assert losses_in(bodies)
    assert unreadable or journal.sealed


def test_a_damaged_header_of_a_sealed_file_is_a_lost_segment(tmp_path: Path) -> None:
    """Reading it says so, and giving it up counts it in the next object."""
    journal = filled(tmp_path, 1, 2)
    sealed = journal.seal()
    assert sealed
    flip(sealed.path, len(MAGIC) + 20)
    with pytest.raises(SegmentLost, match="header is damaged"):
        bodies_in(journal, sealed)
    journal.lose(sealed, reason="its header is damaged")
    journal.seal()
    (report,) = reports_in(waiting_in(journal), "logferry.dropped")
    assert (report["environment"], report["segment"], report["bytes"]) == ("e1", 1, sealed.size)
    assert not sealed.path.exists()


@pytest.mark.parametrize("state", ["open", "sealed"])
def test_a_file_of_another_version_is_left_alone(tmp_path: Path, state: str) -> None:
    """What this version cannot read, the other one may: it is neither deleted nor given up."""
    other = tmp_path / f"1795000000000-e0-00000001.{state}"
    other.write_bytes(b"logferry segment 2\n and what it holds")
    journal = open_journal(tmp_path)
    assert other.exists()
    assert journal.sealed == ()


@pytest.mark.parametrize(
    "name",
    ["lost+found", "core.1234", "1795000000000-e1-1.open", "x-e1-00000001.open", "1795000000000-e1-00000001.part"],
)
def test_a_file_with_another_name_is_left_alone(tmp_path: Path, name: str) -> None:
    """Others may keep their things beside ours."""
    (tmp_path / name).write_text("not ours")
    journal = filled(tmp_path, 1)
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1]
    assert (tmp_path / name).read_text() == "not ours"


@pytest.mark.parametrize("kind", ["directory", "link to nothing"])
def test_something_that_is_no_file_under_a_segments_name_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Whatever lies there, the journal opens: a shipper that cannot start ships nothing at all."""
    path = tmp_path / "1795000000000-e0-00000001.open"
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nothing")
    assert open_journal(tmp_path).sealed == ()


# --- a full disk


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size`: a write then takes a part, and the next fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_body_that_is_written_only_in_part_is_cut_away_and_waits_in_memory(tmp_path: Path) -> None:
    """All of a frame or none of it in the file; the body waits in memory and follows when the disk takes it."""
    journal = filled(tmp_path, 1)
    size = journal._file.path.stat().st_size
    with files_limited_to(size + 40):
        journal.append(numbered(2, size=100))
        assert journal._file.path.stat().st_size == size
    journal.append(numbered(3))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3]


def test_a_full_disk_is_complained_of_once_and_a_small_memory_takes_over(small_disk: Path) -> None:
    """A bounded memory, then 503, and the platform keeps the records; when there is space again the disk takes all."""
    complaints: list[str] = []
    journal = open_journal(small_disk, complain=complaints.append)
    journal.append(numbered(1))
    ballast = fill(small_disk)
    for n in (2, 3):
        journal.append(numbered(n, size=8000))
    with pytest.raises(JournalFull, match="neither the disk nor the memory"):
        journal.append(numbered(4, size=MEMORY_BYTES))
    assert len(complaints) == 1
    ballast.unlink()
    journal.append(numbered(5))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3, 5]
    assert not journal._memory.in_use
    journal.close()


def test_on_a_full_disk_what_is_in_memory_is_sealed_and_shipped_from_there(small_disk: Path) -> None:
    """Two segments then: what the file holds, and behind it what it did not take; their numbers have no gap."""
    journal = open_journal(small_disk)
    journal.append(numbered(1))
    fill(small_disk)
    journal.append(numbered(2, size=8000))
    journal.seal(last=True)
    assert [(s.number, s.final) for s in journal.sealed] == [(1, False), (2, True)]
    assert numbers_in(waiting_in(journal)) == [1, 2]
    for sealed in journal.sealed:
        journal.remove(sealed)
    assert journal.sealed == ()
    journal.close()


def test_where_there_is_no_directory_everything_waits_in_memory(tmp_path: Path) -> None:
    """Not writable, or a file in the way: records are shipped all the same."""
    (tmp_path / "spool").write_text("in the way")
    journal = open_journal(tmp_path / "spool")
    journal.append(numbered(1))
    journal.seal()
    journal.append(numbered(2))
    journal.seal(last=True)
    assert numbers_in(waiting_in(journal)) == [1, 2]


def test_on_a_full_disk_what_waits_can_still_be_sealed_and_shipped(small_disk: Path) -> None:
    """Shipping is what frees the disk: it must not need space of its own."""
    journal = filled(small_disk, 1)
    fill(small_disk)
    try:
        sealed = journal.seal()
    finally:
        journal.close()
    assert sealed


def test_on_a_full_disk_the_journal_opens_and_offers_what_waits(small_disk: Path) -> None:
    """A shipper that is restarted, or the next environment, ships what is there, and that makes room."""
    journal = filled(small_disk, 1)
    journal.seal()
    journal.close()
    fill(small_disk)
    journal = open_journal(small_disk)
    journal.close()
    assert numbers_in(waiting_in(journal)) == [1]


def test_a_header_written_only_in_part_is_not_appended_to(tmp_path: Path) -> None:
    """What is accepted behind half a header could never be read again."""
    journal = filled(tmp_path, 1)
    with files_limited_to(40), contextlib.suppress(OSError, JournalFull):
        journal.seal()
    try:
        journal.append(numbered(2))
        accepted = [1, 2]
    except (JournalFull, OSError):
        accepted = [1]
    journal.seal()
    assert numbers_in(waiting_in(journal)) == accepted


# --- the bound of the spool


def test_the_oldest_segment_goes_first_and_its_loss_is_in_the_next_object(tmp_path: Path) -> None:
    """The report names segment, records, bytes and the setting that says how much may wait."""
    journal = open_journal(tmp_path, limit_bytes=2000)
    for n in (1, 2):
        journal.append(numbered(n, size=600))
        journal.seal()
    size = journal.sealed[0].size
    journal.append(numbered(3, size=600))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [2, 3]
    (report,) = reports_in(waiting_in(journal), "logferry.dropped")
    assert (report["environment"], report["segment"], report["records"], report["bytes"]) == ("e1", 1, 1, size)
    assert "LOGFERRY_SPOOL_BYTES=2000" in report["reason"]


def test_a_body_larger_than_the_spool_is_refused_and_says_which_setting(tmp_path: Path) -> None:
    """It can never fit, and nothing else is dropped for it in vain that could have stayed."""
    journal = open_journal(tmp_path, limit_bytes=1000)
    with pytest.raises(JournalFull, match="LOGFERRY_SPOOL_BYTES=1000"):
        journal.append(numbered(1, size=2000))
    journal.append(numbered(2))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [2]


@pytest.mark.timeout(3)
def test_a_body_that_can_never_fit_costs_nothing_that_waits(tmp_path: Path) -> None:
    """The platform delivers it again and again: each time the whole spool would go."""
    journal = open_journal(tmp_path, limit_bytes=2000)
    journal.append(numbered(1))
    journal.seal()
    with pytest.raises(JournalFull):
        journal.append(numbered(2, size=3000))
    assert [s.number for s in journal.sealed] == [1]


def test_a_segment_that_is_being_read_is_not_dropped(tmp_path: Path) -> None:
    """An upload reads while deliveries come in: the bound takes another one, or refuses."""
    journal = open_journal(tmp_path, limit_bytes=2000)
    journal.append(numbered(1, size=600))
    sealed = journal.seal()
    assert sealed
    with journal.holding(sealed), journal.reading(sealed) as (_, bodies):
        for n in (2, 3):
            with suppress(JournalFull):
                journal.append(numbered(n, size=600))
        assert numbers_in(list(bodies)) == [1]
        assert sealed in journal.sealed


def test_a_segment_that_is_being_read_is_not_dropped_after_another_one_was(tmp_path: Path) -> None:
    """The hold of an upload outlives the count of what a loss cost."""
    journal = open_journal(tmp_path, limit_bytes=2600)
    for n in (1, 2):
        journal.append(numbered(n, size=600))
        journal.seal()
    held = journal.sealed[0]
    with journal.holding(held):
        for n in range(3, 9):
            with suppress(JournalFull):
                journal.append(numbered(n, size=600))
        assert held in journal.sealed


def test_a_segment_dropped_while_it_was_on_its_way_can_still_be_committed(tmp_path: Path) -> None:
    """A slow upload and a flood: the object is stored, and saying so must not end the process."""
    journal = open_journal(tmp_path, limit_bytes=2000)
    journal.append(numbered(1, size=600))
    sealed = journal.seal()
    assert sealed
    bodies_in(journal, sealed)
    for n in (2, 3, 4, 5):
        journal.append(numbered(n, size=600))
    journal.remove(sealed)
    assert sealed not in journal.sealed


# --- somebody else in the directory


def test_an_emptied_directory_costs_nothing_that_is_in_the_open_segment(tmp_path: Path) -> None:
    """`rm -rf /tmp/*` in the function: the open file is held, and is written anew when it is sealed."""
    spool = tmp_path / "spool"
    journal = filled(spool, 1, 2)
    for path in spool.iterdir():
        path.unlink()
    spool.rmdir()
    journal.append(numbered(3))
    journal.seal()
    journal.append(numbered(4))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3, 4]


def test_a_sealed_segment_that_was_deleted_is_lost_and_counted(tmp_path: Path) -> None:
    """What was on disk alone is gone, and the next object says so."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    sealed.path.unlink()
    with pytest.raises(SegmentLost, match="cannot be read"):
        bodies_in(journal, sealed)
    journal.lose(sealed, reason="gone")
    journal.seal()
    assert [r["segment"] for r in reports_in(waiting_in(journal), "logferry.dropped")] == [1]


def test_a_segment_that_is_lost_at_shutdown_does_not_end_the_process(tmp_path: Path) -> None:
    """After the last seal there is no open segment to write a report into; the others must be shipped all the same."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    journal.append(numbered(2))
    journal.seal(last=True)
    sealed.path.unlink()
    journal.lose(sealed, reason="gone")
    assert journal.sealed[0].number == 2


def test_a_last_segment_in_upload_is_not_renamed_under_the_thread_that_reads_it(tmp_path: Path) -> None:
    """A body that came just then made it unreadable: it was entered as lost, and delivered all the same."""
    journal = filled(tmp_path, 1)
    journal.seal(last=True)
    journal.close()
    journal = open_journal(tmp_path)
    (last,) = journal.sealed
    assert last.state == LAST
    with journal.holding(last):
        journal.append(numbered(2))
        with journal.reading(last) as (_, bodies):
            assert list(bodies) == [numbered(1)]
    journal.append(numbered(3))
    assert journal.sealed[0].state == SEALED, "it failed, and is no longer the last"
    journal.seal(last=True)
    assert [s.state for s in journal.sealed] == [SEALED, LAST]


def test_a_directory_in_use_is_refused_until_its_owner_has_died(tmp_path: Path) -> None:
    """One writer per directory, held by a lock that ends with the process and not with its good manners."""
    tests = __file__.rpartition("/journal/")[0]
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK.format(tests=tests, directory=str(tmp_path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            open_journal(tmp_path)
        owner.kill()
        owner.wait()
    open_journal(tmp_path).close()


# --- ends


def test_an_environment_that_left_nothing_but_an_end_still_says_that_it_ended(tmp_path: Path) -> None:
    """Its earlier objects are stored; an empty last one is what tells a reader that none is missing."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    journal.remove(sealed)
    journal.close()
    (end,) = open_journal(tmp_path, environment="e2").sealed
    assert (end.environment, end.number, end.state) == ("e1", 2, LAST)


def test_numbers_go_on_where_nothing_waits(tmp_path: Path) -> None:
    """All is shipped and the process dies: were the numbers to begin anew, new objects would overwrite old ones."""
    for expected in (1, 2, 3):
        journal = open_journal(tmp_path)
        journal.append(numbered(expected))
        sealed = journal.seal()
        assert sealed
        assert (sealed.number, sealed.state) == (expected, SEALED)
        journal.remove(sealed)
        journal.close()


def test_an_environment_that_is_closed_twice_ends_once(tmp_path: Path) -> None:
    """The shipper dies after the last seal; the one after it ships its segment and closes again."""
    journal = filled(tmp_path, 1)
    journal.seal()
    journal.append(numbered(2))
    journal.seal(last=True)
    journal.close()
    journal = open_journal(tmp_path)
    journal.append(numbered(3))
    journal.seal(last=True)
    assert [s.final for s in journal.sealed] == [False, False, True]


def closed_and_found_again(directory: Path) -> Journal:
    """Give the journal of a shipper that died after it had sealed its last segment, to the one after it."""
    journal = filled(directory, 1)
    journal.seal()
    journal.append(numbered(2))
    journal.seal(last=True)
    journal.close()
    return open_journal(directory)


def test_a_loss_that_is_reported_behind_the_end_moves_the_end(tmp_path: Path) -> None:
    """The report is in a later segment, and that one is the last then."""
    journal = closed_and_found_again(tmp_path)
    journal.lose(journal.sealed[0], reason="unreadable")
    journal.seal(last=True)
    assert [s.final for s in journal.sealed] == [False, True]


@pytest.mark.parametrize("gone", ["deleted", "stored", "dropped"])
def test_what_comes_after_an_end_that_is_gone_is_taken(tmp_path: Path, gone: str) -> None:
    """A delivery that is stored must not end the process."""
    journal = closed_and_found_again(tmp_path)
    end = journal.sealed[1]
    if gone == "deleted":
        end.path.unlink()
    elif gone == "stored":
        journal.remove(end)
    else:
        journal.lose(end, reason="the spool is full")
    journal.append(numbered(3))
    journal.seal()
    assert numbers_in(bodies_in(journal, journal.sealed[-1])) == [3]


def test_a_loss_that_cannot_be_reported_any_more_is_left_to_the_next_life(tmp_path: Path) -> None:
    """After the last seal, or on a full disk: the file goes only when its report is written."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    flip(sealed.path, len(MAGIC) + 20)
    journal.append(numbered(2))
    journal.seal(last=True)
    journal.lose(sealed, reason="its header is damaged")
    journal.close()
    journal = open_journal(tmp_path, environment="e2")
    journal.seal()
    assert [r["segment"] for r in reports_in(waiting_in(journal), "logferry.dropped")] == [1]


def test_what_ran_in_an_earlier_environment_says_nothing_of_this_one(tmp_path: Path) -> None:
    """A request that was cut off by a reset is not running here: lines of the new init must not be given to it."""
    journal = open_journal(tmp_path, environment="old")
    start = {"type": "platform.start", "record": {"requestId": "459921b5-681c-4a96-beb0-81e0aa586026"}}
    journal.append(json.dumps([start]).encode())
    journal.close()
    followed: list[bytes] = []
    journal = open_journal(tmp_path, environment="new", following=lambda _running, bodies: followed.extend(bodies))
    assert followed == []
    assert journal.running is None
