"""The command in a process: files, JSON, messages and statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from logferry.cli.report.atomic_file import replacing
from support.stored_functions import Fleet, store

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60
MAIN = "from logferry.cli.main import main; main()"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with a few objects."""
    folder = tmp_path_factory.mktemp("objects")
    store(folder, [Fleet("orders-api", 1, 9), Fleet("orders-web", 1, 4, missing={0: (1,)}, per_object=1)])
    return folder


def report(folder: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    command = [sys.executable, "-c", before + MAIN, "report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder, check=False)


def test_report_writes_one_file_and_prints_the_verdict(root: Path, tmp_path: Path) -> None:
    """The status is 0 although there is a fault, and stdout is empty."""
    done = report(tmp_path, f"file://{root}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "INCOMPLETE: 1 fault (13 invocations" in done.stderr
    assert "Wrote report.html (" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_report_of_one_function_has_only_its_records(root: Path, tmp_path: Path) -> None:
    """`--function` takes a name or a pattern."""
    done = report(tmp_path, f"file://{root}", "--function", "*-api", "--json")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)
    assert [one["name"] for one in model["functions"]] == ["orders-api"]
    assert model["proof"]["result"] == "complete"
    assert list(tmp_path.iterdir()) == []


def test_report_writes_page_and_trace_together(root: Path, tmp_path: Path) -> None:
    """With `--perfetto` alone, no page is written."""
    done = report(tmp_path, f"file://{root}", "--perfetto", "trace.json")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert report(tmp_path, f"file://{root}", "--perfetto", "trace.json", "-o", "page.html").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "trace.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("file:///does/not/exist",), "the directory does not exist"),
        (("s3:/typo",), "not a valid destination"),
        (("{root}", "--function", "other"), "no records within the limits: use other limits"),
        (("{root}", "--since", "2030-01-01"), "no records within the limits"),
        (("{root}", "-o", "missing/page.html"), "does not exist, create it first"),
        (("{root}", "-o", "."), "it is a directory"),
        (("{root}", "--since", "yesterday"), "use an age such as 2h"),
    ],
)
def test_report_that_is_not_possible_has_status_2_and_one_sentence(
    root: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """The message names the remedy, and no file is written."""
    done = report(tmp_path, *(text.replace("{root}", f"file://{root}") for text in arguments))
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_report_without_its_library_names_the_extra(tmp_path: Path) -> None:
    """`pip install logferry[cli]` contains no DuckDB."""
    done = report(tmp_path, f"file://{tmp_path}", before="import sys; sys.modules['duckdb'] = None\n")
    assert done.returncode == 2
    assert "logferry report needs duckdb" in done.stderr
    assert "extra read" in done.stderr


def test_interrupt_leaves_no_partial_file(root: Path, tmp_path: Path) -> None:
    """SIGINT while the page is written keeps the older file."""
    (tmp_path / "report.html").write_text("older")
    before = (
        "import os, signal\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGINT)\n"  # the page is written, and not yet in place
    )
    done = report(tmp_path, f"file://{root}", before=before)
    assert done.returncode in {130, 1, -signal.SIGINT}
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "older"


def test_failed_write_keeps_the_older_file(tmp_path: Path) -> None:
    """A part of the new file is removed."""
    path = tmp_path / "page.html"
    path.write_text("older")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(str(1 / 0))
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["page.html"]  # noqa: PTH208 - hidden files too
