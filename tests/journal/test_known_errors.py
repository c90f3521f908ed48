"""Faults of disks and directories, one test each: the test damages the file and checks the result.

The rule behind all of them: an accepted body is shipped, or its loss is counted where a reader finds it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logferry.errors import JournalFull, SegmentLost
from logferry.journal.memory_buffer import MEMORY_BYTES
from logferry.journal.segment import LAST, MAGIC, SEALED
from support.journal_harness import (
    bodies_in,
    close,
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
    """Return a journal whose open segment holds these numbers."""
    journal = open_journal(directory)
    for n in numbers:
        journal.append(numbered(n))
    return journal


def losses_in(bodies: list[bytes]) -> list[str]:
    """Return every report of a loss."""
    return [str(r) for kind in ("logferry.dropped", "logferry.damaged") for r in reports_in(bodies, kind)]


# --- torn and damaged files


@pytest.mark.parametrize("torn", [1, 11, 12, 13])
def test_torn_tail_is_cut_and_appending_continues(tmp_path: Path, torn: int) -> None:
    """A frame that was being written at the kill was never accepted, so it is cut without a report."""
    journal = filled(tmp_path, 1, 2)
    path = Path(journal._file.path)
    close(journal)
    content = path.read_bytes()
    overwrite(path, content + content[frames_of(content)[-1].head :][:torn])
    journal = open_journal(tmp_path)
    journal.append(numbered(3))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3]
    assert losses_in(waiting_in(journal)) == []


def test_flipped_bit_in_a_body_loses_that_body_and_is_counted(tmp_path: Path) -> None:
    """The other bodies are shipped, and a record names the segment and the lost bytes."""
    journal = filled(tmp_path, 1, 2, 3)
    path = Path(journal._file.path)
    close(journal)
    hit = frames_of(path.read_bytes())[2]
    flip(path, hit.start + 3)
    journal = open_journal(tmp_path)
    (segment,) = journal.sealed
    bodies = bodies_in(journal, segment)
    assert numbers_in(bodies) == [1, 3]
    (report,) = reports_in(bodies, "logferry.damaged")
    assert (report["environment"], report["segment"], report["bytes"]) == ("e1", 1, len(hit.body))


def test_damaged_segment_reads_the_same_each_time(tmp_path: Path) -> None:
    """A repeated upload must overwrite itself, so the report of the damage has the time of the segment."""
    journal = filled(tmp_path, 1, 2)
    sealed = journal.seal()
    assert sealed
    flip(Path(sealed.path), sealed.size - 2)
    assert bodies_in(journal, sealed) == bodies_in(journal, sealed)


@pytest.mark.parametrize("state", ["open", "sealed"])
def test_flipped_bit_in_a_head_is_counted(tmp_path: Path, state: str) -> None:
    """After a flipped bit in a length or checksum, the bodies that cannot be found are reported."""
    journal = filled(tmp_path, 1, 2, 3)
    if state == "sealed":
        journal.seal()
    path = next(tmp_path.glob("*-00000001.*"))
    close(journal)
    flip(path, frames_of(path.read_bytes())[2].head + 3)
    bodies = waiting_in(open_journal(tmp_path))
    assert numbers_in(bodies)[0] == 1
    assert numbers_in(bodies) == [1, 2, 3] or losses_in(bodies)


def test_zeroed_length_is_counted(tmp_path: Path) -> None:
    """A length of zero in the middle hides the bodies behind it, and a record reports them."""
    journal = filled(tmp_path, 1, 2, 3)
    path = Path(journal._file.path)
    close(journal)
    content = bytearray(path.read_bytes())
    head = frames_of(bytes(content))[2].head
    content[head : head + 4] = bytes(4)
    overwrite(path, bytes(content))
    assert losses_in(waiting_in(open_journal(tmp_path)))


def test_cut_of_a_sealed_file_is_counted(tmp_path: Path) -> None:
    """Every frame of a sealed segment was accepted, so half a frame is a loss."""
    journal = filled(tmp_path, 1, 2)
    sealed = journal.seal()
    assert sealed
    overwrite(Path(sealed.path), Path(sealed.path).read_bytes()[:-3])
    assert losses_in(bodies_in(journal, sealed))


@pytest.mark.parametrize("mine", [True, False])
def test_damaged_header_of_an_open_file_is_counted(tmp_path: Path, *, mine: bool) -> None:
    """Key and bytes depend on the header; without it the segment is reported lost."""
    journal = filled(tmp_path, 1, 2)
    path = Path(journal._file.path)
    close(journal)
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


def test_damaged_header_of_a_sealed_file_is_a_lost_segment(tmp_path: Path) -> None:
    """Reading raises SegmentLost, and the next object reports the loss."""
    journal = filled(tmp_path, 1, 2)
    sealed = journal.seal()
    assert sealed
    flip(Path(sealed.path), len(MAGIC) + 20)
    with pytest.raises(SegmentLost, match="header is damaged"):
        bodies_in(journal, sealed)
    journal.lose(sealed, reason="its header is damaged")
    journal.seal()
    (report,) = reports_in(waiting_in(journal), "logferry.dropped")
    assert (report["environment"], report["segment"], report["bytes"]) == ("e1", 1, sealed.size)
    assert not Path(sealed.path).exists()


@pytest.mark.parametrize("state", ["open", "sealed"])
def test_file_of_another_version_is_left_unchanged(tmp_path: Path, state: str) -> None:
    """Another version may be able to read the file: it is neither deleted nor discarded."""
    other = tmp_path / f"1795000000000-e0-00000001.{state}"
    other.write_bytes(b"logferry segment 2\n and what it holds")
    journal = open_journal(tmp_path)
    assert other.exists()
    assert journal.sealed == ()


@pytest.mark.parametrize(
    "name",
    ["lost+found", "core.1234", "1795000000000-e1-1.open", "x-e1-00000001.open", "1795000000000-e1-00000001.part"],
)
def test_file_with_another_name_is_left_unchanged(tmp_path: Path, name: str) -> None:
    """Other programs may keep files in the same directory."""
    (tmp_path / name).write_text("not ours")
    journal = filled(tmp_path, 1)
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1]
    assert (tmp_path / name).read_text() == "not ours"


@pytest.mark.parametrize("kind", ["directory", "link to nothing"])
def test_entry_with_the_name_of_a_segment_is_left_unchanged_if_it_is_not_a_file(tmp_path: Path, kind: str) -> None:
    """The journal opens with any entry in the directory: a shipper that cannot start ships no record."""
    path = tmp_path / "1795000000000-e0-00000001.open"
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nothing")
    assert open_journal(tmp_path).sealed == ()


# --- a full disk


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Limit the files of this process to `size`: a write is then partial, and the next one fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_partially_written_body_is_cut_and_waits_in_memory(tmp_path: Path) -> None:
    """The file never holds a part of a frame; the body waits in memory until the disk accepts it."""
    journal = filled(tmp_path, 1)
    size = Path(journal._file.path).stat().st_size
    with files_limited_to(size + 40):
        journal.append(numbered(2, size=100))
        assert Path(journal._file.path).stat().st_size == size
    journal.append(numbered(3))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3]


def test_full_disk_is_warned_about_once_and_the_memory_buffer_is_used(small_disk: Path) -> None:
    """The bounded buffer is used, then 503 is returned; when there is space again, the disk receives all."""
    warnings: list[str] = []
    journal = open_journal(small_disk, warn=warnings.append)
    journal.append(numbered(1))
    ballast = fill(small_disk)
    for n in (2, 3):
        journal.append(numbered(n, size=8000))
    with pytest.raises(JournalFull, match="neither the disk nor the memory buffer"):
        journal.append(numbered(4, size=MEMORY_BYTES))
    assert len(warnings) == 1
    ballast.unlink()
    journal.append(numbered(5))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [1, 2, 3, 5]
    assert not journal._memory.in_use
    close(journal)


def test_bodies_in_memory_are_sealed_and_shipped_on_a_full_disk(small_disk: Path) -> None:
    """Two segments result: one of the file, and one of the bodies that the disk rejected, without a gap."""
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
    close(journal)


def test_bodies_wait_in_memory_if_there_is_no_directory(tmp_path: Path) -> None:
    """Records are shipped even if the directory cannot be made."""
    (tmp_path / "spool").write_text("in the way")
    journal = open_journal(tmp_path / "spool")
    journal.append(numbered(1))
    journal.seal()
    journal.append(numbered(2))
    journal.seal(last=True)
    assert numbers_in(waiting_in(journal)) == [1, 2]


def test_waiting_bodies_can_be_sealed_and_shipped_on_a_full_disk(small_disk: Path) -> None:
    """Shipping frees the disk, so it must not need space."""
    journal = filled(small_disk, 1)
    fill(small_disk)
    try:
        sealed = journal.seal()
    finally:
        close(journal)
    assert sealed


def test_journal_opens_on_a_full_disk_with_the_waiting_segments(small_disk: Path) -> None:
    """A restarted shipper, or the next environment, ships the waiting segments, and that makes room."""
    journal = filled(small_disk, 1)
    journal.seal()
    close(journal)
    fill(small_disk)
    journal = open_journal(small_disk)
    close(journal)
    assert numbers_in(waiting_in(journal)) == [1]


def test_partially_written_header_is_not_appended_to(tmp_path: Path) -> None:
    """A body behind half a header could never be read again."""
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


# --- the limit of the spool


def test_oldest_segment_is_discarded_first_and_the_next_object_reports_it(tmp_path: Path) -> None:
    """The report names segment, records, bytes and the setting of the limit."""
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


def test_body_larger_than_the_spool_is_refused_with_the_name_of_the_setting(tmp_path: Path) -> None:
    """The body can never fit, so no segment is discarded for it."""
    journal = open_journal(tmp_path, limit_bytes=1000)
    with pytest.raises(JournalFull, match="LOGFERRY_SPOOL_BYTES=1000"):
        journal.append(numbered(1, size=2000))
    journal.append(numbered(2))
    journal.seal()
    assert numbers_in(waiting_in(journal)) == [2]


@pytest.mark.timeout(3)
def test_body_that_can_never_fit_discards_no_segment(tmp_path: Path) -> None:
    """The platform delivers it again and again: each time the complete spool would be discarded."""
    journal = open_journal(tmp_path, limit_bytes=2000)
    journal.append(numbered(1))
    journal.seal()
    with pytest.raises(JournalFull):
        journal.append(numbered(2, size=3000))
    assert [s.number for s in journal.sealed] == [1]


def test_held_segment_is_not_discarded(tmp_path: Path) -> None:
    """During an upload the journal discards another segment, or it refuses the body."""
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


def test_held_segment_is_not_discarded_after_another_one_was(tmp_path: Path) -> None:
    """Counting the records of a loss does not end the protection of an upload."""
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


def test_discarded_segment_can_still_be_committed(tmp_path: Path) -> None:
    """After a slow upload during a flood, the commit must not end the process."""
    journal = open_journal(tmp_path, limit_bytes=2000)
    journal.append(numbered(1, size=600))
    sealed = journal.seal()
    assert sealed
    bodies_in(journal, sealed)
    for n in (2, 3, 4, 5):
        journal.append(numbered(n, size=600))
    journal.remove(sealed)
    assert sealed not in journal.sealed


# --- other processes in the directory


def test_open_segment_survives_an_emptied_directory(tmp_path: Path) -> None:
    """After `rm -rf /tmp/*` in the function, the open file is written again from its descriptor at the seal."""
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


def test_deleted_sealed_segment_is_lost_and_counted(tmp_path: Path) -> None:
    """The content is lost, and the next object reports it."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    Path(sealed.path).unlink()
    with pytest.raises(SegmentLost, match="cannot be read"):
        bodies_in(journal, sealed)
    journal.lose(sealed, reason="gone")
    journal.seal()
    assert [r["segment"] for r in reports_in(waiting_in(journal), "logferry.dropped")] == [1]


def test_lost_segment_at_shutdown_does_not_end_the_process(tmp_path: Path) -> None:
    """After the last seal there is no open segment for a report; the other segments are shipped."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    journal.append(numbered(2))
    journal.seal(last=True)
    Path(sealed.path).unlink()
    journal.lose(sealed, reason="gone")
    assert journal.sealed[0].number == 2


def test_last_segment_is_not_renamed_during_its_upload(tmp_path: Path) -> None:
    """A rename made it unreadable for the encoder thread: it was both reported lost and delivered."""
    journal = filled(tmp_path, 1)
    journal.seal(last=True)
    close(journal)
    journal = open_journal(tmp_path)
    (last,) = journal.sealed
    assert last.state == LAST
    with journal.holding(last):
        journal.append(numbered(2))
        with journal.reading(last) as (_, bodies):
            assert list(bodies) == [numbered(1)]
    journal.append(numbered(3))
    assert journal.sealed[0].state == SEALED, "its upload failed, and it is no longer the last"
    journal.seal(last=True)
    assert [s.state for s in journal.sealed] == [SEALED, LAST]


def test_directory_in_use_is_refused_until_its_process_has_ended(tmp_path: Path) -> None:
    """A directory has one writer, held by a lock that ends with the process."""
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
    close(open_journal(tmp_path))


# --- ends


def test_environment_without_waiting_bodies_still_reports_its_end(tmp_path: Path) -> None:
    """Its earlier objects are stored; an empty last segment shows a reader that none is missing."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    journal.remove(sealed)
    close(journal)
    (end,) = open_journal(tmp_path, environment="e2").sealed
    assert (end.environment, end.number, end.state) == ("e1", 2, LAST)


def test_numbers_continue_if_no_segment_waits(tmp_path: Path) -> None:
    """If numbers began again after a kill, new objects would overwrite old ones."""
    for expected in (1, 2, 3):
        journal = open_journal(tmp_path)
        journal.append(numbered(expected))
        sealed = journal.seal()
        assert sealed
        assert (sealed.number, sealed.state) == (expected, SEALED)
        journal.remove(sealed)
        close(journal)


def test_environment_that_is_sealed_twice_ends_once(tmp_path: Path) -> None:
    """The shipper is killed after the last seal; the next one ships its segment and seals again."""
    journal = filled(tmp_path, 1)
    journal.seal()
    journal.append(numbered(2))
    journal.seal(last=True)
    close(journal)
    journal = open_journal(tmp_path)
    journal.append(numbered(3))
    journal.seal(last=True)
    assert [s.final for s in journal.sealed] == [False, False, True]


def closed_and_found_again(directory: Path) -> Journal:
    """Return the journal of a shipper that follows one which was killed after its last seal."""
    journal = filled(directory, 1)
    journal.seal()
    journal.append(numbered(2))
    journal.seal(last=True)
    close(journal)
    return open_journal(directory)


def test_loss_reported_behind_the_end_moves_the_end(tmp_path: Path) -> None:
    """The report is in a later segment, which is the last one then."""
    journal = closed_and_found_again(tmp_path)
    journal.lose(journal.sealed[0], reason="unreadable")
    journal.seal(last=True)
    assert [s.final for s in journal.sealed] == [False, True]


@pytest.mark.parametrize("gone", ["deleted", "stored", "dropped"])
def test_body_after_a_removed_end_is_accepted(tmp_path: Path, gone: str) -> None:
    """An accepted batch must not end the process."""
    journal = closed_and_found_again(tmp_path)
    end = journal.sealed[1]
    if gone == "deleted":
        Path(end.path).unlink()
    elif gone == "stored":
        journal.remove(end)
    else:
        journal.lose(end, reason="the spool is full")
    journal.append(numbered(3))
    journal.seal()
    assert numbers_in(bodies_in(journal, journal.sealed[-1])) == [3]


def test_loss_after_the_last_seal_is_reported_by_the_next_process(tmp_path: Path) -> None:
    """After the last seal, or on a full disk, the file is removed only when its loss is on disk."""
    journal = filled(tmp_path, 1)
    sealed = journal.seal()
    assert sealed
    flip(Path(sealed.path), len(MAGIC) + 20)
    journal.append(numbered(2))
    journal.seal(last=True)
    journal.lose(sealed, reason="its header is damaged")
    close(journal)
    journal = open_journal(tmp_path, environment="e2")
    journal.seal()
    assert [r["segment"] for r in reports_in(waiting_in(journal), "logferry.dropped")] == [1]


def test_request_of_an_earlier_environment_is_not_running(tmp_path: Path) -> None:
    """A request that a reset ended is not running: lines of the new Init phase do not belong to it."""
    journal = open_journal(tmp_path, environment="old")
    start = {"type": "platform.start", "record": {"requestId": "459921b5-681c-4a96-beb0-81e0aa586026"}}
    journal.append(json.dumps([start]).encode())
    close(journal)
    followed: list[bytes] = []
    journal = open_journal(tmp_path, environment="new", following=lambda _header, bodies: followed.extend(bodies))
    assert followed == []
    assert journal.running is None
