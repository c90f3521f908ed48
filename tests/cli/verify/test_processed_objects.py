"""Objects whose records were filtered and masked: `logferry verify` proves them complete and shows the counts."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest

from logferry.cli.stored_objects import ReadObject, decode
from logferry.cli.verify.completeness import judge
from logferry.cli.verify.object_check import Processed, check_object
from logferry.cli.verify.report import render
from logferry.records.masking import Masker
from records.test_processed_lines import fails
from support.processed import HEADER, batch, encoded


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
