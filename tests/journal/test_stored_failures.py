"""The list of failed invocations that have a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logferry.journal import orphans
from logferry.journal.stored_failures import KEPT, StoredFailures
from support.journal_harness import close, open_journal

if TYPE_CHECKING:
    from pathlib import Path

KIND = "logferry.timeout"


def test_list_survives_the_process(tmp_path: Path) -> None:
    """The next process reads the entries of the earlier one."""
    assert (KIND, "a") not in StoredFailures(str(tmp_path))
    StoredFailures(str(tmp_path)).add(KIND, "a")
    assert (KIND, "a") in StoredFailures(str(tmp_path))
    assert ("logferry.outOfMemory", "a") not in StoredFailures(str(tmp_path))


def test_list_is_bounded_and_keeps_the_newest_entries(tmp_path: Path) -> None:
    """A function that always fails does not fill the spool."""
    stored = StoredFailures(str(tmp_path))
    for n in range(KEPT * 3):
        stored.add(KIND, f"request-{n}")
    again = StoredFailures(str(tmp_path))
    assert (KIND, f"request-{KEPT * 3 - 1}") in again
    assert (KIND, f"request-{KEPT * 2}") in again
    assert (KIND, f"request-{KEPT * 2 - 1}") not in again
    assert len((tmp_path / "failures").read_text().splitlines()) == KEPT


def test_list_that_cannot_be_written_stays_in_memory(tmp_path: Path) -> None:
    """A full or missing directory changes nothing for this process."""
    stored = StoredFailures(str(tmp_path / "missing"))
    stored.add(KIND, "a")
    assert (KIND, "a") in stored


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no separator", b"x" * 200_000, b""])
def test_damaged_list_is_no_error(tmp_path: Path, content: bytes) -> None:
    """Any process may write any file in /tmp."""
    (tmp_path / "failures").write_bytes(content)
    stored = StoredFailures(str(tmp_path))
    stored.add(KIND, "a")
    assert (KIND, "a") in StoredFailures(str(tmp_path))


def test_link_at_the_place_of_the_list_is_not_followed(tmp_path: Path) -> None:
    """A process of the function cannot make logferry write to another file."""
    other = tmp_path / "other"
    other.write_text(f"{KIND} linked\n")
    (tmp_path / "failures").symlink_to(other)
    stored = StoredFailures(str(tmp_path))
    assert (KIND, "linked") not in stored
    stored.add(KIND, "a")
    assert other.read_text() == f"{KIND} linked\n"


def test_directory_of_an_ended_process_is_removed_with_its_list(tmp_path: Path) -> None:
    """Adoption leaves no directory behind."""
    separate = tmp_path / "spool-e1"
    close(open_journal(separate))
    StoredFailures(str(separate)).add(KIND, "a")
    orphans.adopt(str(tmp_path / "spool"))
    assert not separate.exists()
