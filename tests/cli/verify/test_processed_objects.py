"""Objects whose records were filtered and masked: `logferry verify` proves them complete and shows the counts."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from logferry.cli.stored_objects import ReadObject, decode
from logferry.cli.verify.checked_object import Processed
from logferry.cli.verify.completeness import judge
from logferry.cli.verify.directory_verification import verify_directory
from logferry.cli.verify.object_check import check_object
from logferry.cli.verify.report import render
from logferry.cli.verify.window import Window
from logferry.records import zstd_packing
from logferry.records.encoder import GZIP_LEVEL
from logferry.records.masking import Masker
from records.test_processed_lines import fails
from support.processed import HEADER, batch, encoded, event

if TYPE_CHECKING:
    from pathlib import Path


def stored(number: int, rules: dict[str, str], *lines: str, final: bool = False) -> ReadObject:
    """Return the object of a segment as the reader of a destination returns it."""
    made = encoded([batch(*lines)], rules, header=HEADER._replace(number=number), final=final)
    found = decode(made.key.removesuffix(".gz"), made.metadata, made.body)
    assert isinstance(found, ReadObject)
    return found


def test_filtered_objects_are_complete_and_their_counts_are_shown() -> None:
    """A gap in the lines would be a missing record; a filtered record leaves none."""
    rules = {"EXCLUDE": "drop", "MASK": "email"}
    objects = [stored(1, rules, "drop", "a@b.io", "keep"), stored(2, rules, "drop", "drop", final=True)]
    report = judge(map(check_object, objects))
    assert report.status == 0
    assert report.processed == Processed(filtered=3, masked=1)
    texts = [str(part) for part in render(report)]
    assert "Not stored because of the settings: 3 records." in texts
    assert "Stored with masked parts: 1 record." in texts
    assert texts[-1].startswith("COMPLETE")


@pytest.mark.parametrize("suffix", [".ndjson", ".ndjson.gz", ".ndjson.zst"])
def test_counts_of_a_directory_need_no_complete_check(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan carries them, for each compression, and a window limits them."""
    monkeypatch.setattr("logferry.cli.verify.object_check.check_object", None)
    rules = {"EXCLUDE": "drop", "MASK": "email"}
    for number, lines in enumerate((["drop", "a@b.io", "keep"], ["drop"], ["drop", "drop", "b@b.io"]), 1):
        time = f"2026-11-21T0{number}:00:00.000Z"
        events = [event(text, time=time) for text in lines]
        made = encoded([batch(*events)], rules, header=HEADER._replace(number=number, opened_ms=0), final=number == 3)
        (tmp_path / f"{HEADER.origin.environment}-{number:08d}{suffix}").write_bytes(compressed(made.body, suffix))
    report = verify_directory(str(tmp_path))
    assert (report.status, report.objects) == (0, 3)
    assert report.processed == Processed(filtered=4, masked=2)
    late = verify_directory(str(tmp_path), Window(since=datetime(2026, 11, 21, 2, 30, tzinfo=UTC)))
    assert late.processed == Processed(filtered=2, masked=1)


def compressed(body: bytes, suffix: str) -> bytes:
    """Return a body as the encoder compresses it."""
    if suffix == ".ndjson":
        return body
    packer = zstd_packing.packing().make() if suffix.endswith("zst") else zlib.compressobj(GZIP_LEVEL, wbits=31)
    return packer.compress(body) + packer.flush()


def test_copies_of_a_segment_are_counted_once() -> None:
    """A repeated object is a separate fault."""
    one = stored(1, {"EXCLUDE": "drop"}, "drop")
    assert judge([check_object(one), check_object(replace(one, key="copy"))]).processed.filtered == 1


def test_failed_rule_is_reported_as_a_fault_of_logferry() -> None:
    """The records are stored, but their content is replaced."""
    with patch.object(Masker, "text", fails):
        report = judge([check_object(stored(1, {"MASK": "email"}, "a@b.io", final=True))])
    assert report.status == 0
    assert [text for text in map(str, render(report)) if "failed for 1 record" in text]


@pytest.mark.parametrize("name", ["filtered", "masked"])
def test_counts_that_contradict_each_other_make_an_object_unreadable(name: str) -> None:
    """Metadata and closing line are written together."""
    one = stored(1, {"EXCLUDE": "drop", "MASK": "email"}, "drop", "a@b.io")
    changed = replace(one, metadata={**one.metadata, name: "7"})
    assert f"its metadata have {name}=7" in check_object(changed).unreadable
    assert not check_object(replace(one, metadata={})).unreadable, "a copy without metadata has the closing line alone"
