"""`--fallback` of `logs`, `query` and `report`: the records of both destinations, each once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.both_destinations import store, stored
from support.command_line import run

if TYPE_CHECKING:
    from pathlib import Path

LINES = "SELECT segment, count(*) AS lines FROM logs GROUP BY 1 ORDER BY 1"


@pytest.fixture
def both(tmp_path: Path) -> list[str]:
    """Store segment 2 in both destinations, and segment 3 in the fallback alone; return the arguments."""
    first = store(tmp_path / "first", [stored(1), stored(2), stored(4, final=True)])
    second = store(tmp_path / "second", [stored(2, fallback=True), stored(3, fallback=True)])
    return [first, "--fallback", second]


def test_query_has_the_records_of_both_once(both: list[str]) -> None:
    """The copy is not read, so that sums and the views of the proof are right."""
    done = run("query", *both, LINES, "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"segment": n, "lines": 5} for n in range(1, 5)]
    assert run("query", *both, "FROM faults", "--json").stdout == ""
    marked = "SELECT segment FROM object_counts WHERE fallback"
    assert run("query", *both, marked, "--json").stdout == '{"segment":3}\n'


def test_copy_is_read_if_the_first_object_is_unreadable(both: list[str], tmp_path: Path) -> None:
    """Its records are the same."""
    path = tmp_path / "first" / stored(2).key
    path.write_bytes(path.read_bytes()[:-30])
    done = run("query", *both, LINES, "--json")
    assert len(done.stdout.splitlines()) == 4
    assert "unreadable, not in the result" in done.stderr


def test_logs_and_report_have_the_records_of_both(both: list[str]) -> None:
    """The report proves completeness over both."""
    done = run("logs", *both, "--function", "orders-api")
    assert [line.rpartition("  ")[2] for line in done.stdout.splitlines() if "line of" in line] == [
        f"line of {n}" for n in range(1, 5)
    ]
    assert "4 objects" in done.stderr
    report = json.loads(run("report", *both, "--json").stdout)
    assert report["proof"]["result"] == "complete"
    assert report["totals"]["objects"] == 4


def test_fallback_that_was_never_used_is_empty(both: list[str], tmp_path: Path) -> None:
    """The directory sink makes the directory for its first object."""
    done = run("query", both[0], "--fallback", f"file://{tmp_path}/never", LINES, "--json")
    assert done.status == 0
    assert len(done.stdout.splitlines()) == 3


def test_fallback_of_athena_is_a_mistake(both: list[str]) -> None:
    """Athena reads the tables that the user has created."""
    done = run("query", *both, LINES, "--engine", "athena")
    assert done.status == 2
    assert "Athena reads the tables of one destination" in done.stderr
