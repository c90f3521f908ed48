"""Verification of a time window, for prefixes with a lifecycle rule and for running environments."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from logferry.cli.stored_objects import ReadObject
from logferry.cli.verify.completeness import Report, judge
from logferry.cli.verify.object_check import check_object
from logferry.cli.verify.window import EVERYTHING, Window, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def line(segment: int, *, lost: int = 0) -> bytes:
    """Return the only line of a segment, which reports a lost segment if `lost` is set."""
    record = {"environment": "e1", "segment": lost, "records": 1, "bytes": 1} if lost else "x"
    kind = "logferry.dropped" if lost else "function"
    value = {"record": json.dumps(record)} if lost else {"message": record}
    return json.dumps({"type": kind, **value, "environment": "e1", "segment": segment, "line": 1}).encode()


def closing(segment: int) -> bytes:
    """Return the last line of a segment."""
    return json.dumps({"type": "logferry.segment", "environment": "e1", "segment": segment, "line": 2}).encode()


def metadata(segment: int, *, final: bool = False) -> Mapping[str, str]:
    """Return the metadata of a segment with records from minute `segment` of hour 2."""
    times = {
        f"{name}-time": f"2026-11-21T02:{segment:02d}:{second}.000Z"
        for name, second in (("first", "00"), ("last", "59"))
    }
    return {"environment": "e1", "segment": str(segment), "records": "1", "final": str(final).lower(), **times}


def stored(segment: int, *, final: bool = False, lost: int = 0) -> ReadObject:
    """Return an object with one line."""
    return ReadObject(f"{segment}.ndjson", metadata(segment, final=final), (line(segment, lost=lost), closing(segment)))


def at(minute: int, second: int = 30) -> datetime:
    """Return a time in hour 2."""
    return datetime(2026, 11, 21, 2, minute, second, tzinfo=UTC)


def report(*objects: ReadObject, window: Window) -> Report:
    """Return the report for objects in a window."""
    return judge([check_object(each) for each in objects], window)


def test_expired_segments_are_not_missing_since_a_time() -> None:
    """Without a window the segments before the first one are missing."""
    objects = [stored(number) for number in (4, 5, 6)]
    assert report(*objects, window=EVERYTHING).status == 1
    found = report(*objects, window=Window(since=at(4)))
    assert (found.status, found.objects) == (0, 3)


def test_a_gap_in_the_window_is_missing() -> None:
    """The window does not hide gaps between its segments."""
    objects = [stored(number) for number in (4, 5, 7)]
    [environment] = report(*objects, window=Window(since=at(4))).environments
    assert environment.missing_segments == (range(6, 7),)


def test_a_gap_outside_the_window_is_not_missing() -> None:
    """Only the segments between the first and the last one in the window are verified."""
    objects = [stored(number) for number in (1, 3, 4, 6)]
    found = report(*objects, window=Window(since=at(3), until=at(4)))
    assert (found.status, found.objects) == (0, 2)


def test_a_segment_with_older_records_between_two_others_is_verified() -> None:
    """The times of segments can overlap, for example by a late report of the platform."""
    old = ReadObject("5.ndjson", {**metadata(1), "segment": "5"}, (line(5), closing(5)))
    found = report(stored(4), old, stored(6), window=Window(since=at(4)))
    assert (found.status, found.objects) == (0, 3)


def test_a_loss_that_is_reported_after_the_window_is_no_gap() -> None:
    """A report of a loss always follows the lost segment."""
    objects = [stored(4), stored(6), stored(9, lost=5)]
    found = report(*objects, window=Window(since=at(4), until=at(6)))
    assert (found.status, found.objects) == (0, 2)


def test_a_window_without_records_has_no_objects() -> None:
    """An empty window must not look complete."""
    assert report(stored(1), window=Window(since=at(9))).status == 2


def test_the_end_of_an_environment_is_known_outside_the_window() -> None:
    """The final segment after the window shows that the environment has ended."""
    [environment] = report(stored(1), stored(2, final=True), window=Window(until=at(1))).environments
    assert environment.ended


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90 m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("30s", NOW - timedelta(seconds=30)),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-21T02:00", datetime(2026, 11, 21, 2, tzinfo=UTC)),
        ("2026-11-21T02:00Z", datetime(2026, 11, 21, 2, tzinfo=UTC)),
        ("2026-11-21T02:00:00.5+01:00", datetime(2026, 11, 21, 1, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_parse_time_reads_ages_and_iso_times(text: str, expected: datetime) -> None:
    """A time without a zone is UTC, as in the stored lines."""
    assert parse_time(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "2", "2 weeks", "yesterday", "2026-13-01", "-2h"])
def test_parse_time_rejects_other_text_with_the_remedy(text: str) -> None:
    """The message has a valid form."""
    with pytest.raises(ValueError, match="such as 2h or 7d"):
        parse_time(text, now=NOW)


def test_the_command_reads_only_objects_stored_since_the_time(tmp_path: Path) -> None:
    """An old file is not read, so that a large prefix needs few requests."""
    for number in (1, 3):
        path = tmp_path / f"{number}.ndjson.gz"
        path.write_bytes(
            gzip.compress(b"\n".join([line(number), closing(number), b""])) if number == 3 else b"unreadable"
        )
        (tmp_path / f"{path.name}.meta.json").write_text(json.dumps(metadata(number)))
        if number == 1:
            for each in (path, tmp_path / f"{path.name}.meta.json"):
                os.utime(each, (at(1).timestamp(), at(1).timestamp()))
    command = [sys.executable, "-c", "from logferry.cli.main import main; main()", "verify", f"file://{tmp_path}"]
    limited = subprocess.run([*command, "--since", "2026-11-21T02:03Z"], capture_output=True, text=True, check=False)
    assert limited.returncode == 0, limited.stdout + limited.stderr
    assert "since 2026-11-21T02:03:00.000Z" in limited.stdout
    wrong = subprocess.run([*command, "--until", "soon"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "such as 2h or 7d" in " ".join(wrong.stderr.split())
