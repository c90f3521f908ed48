"""The option --config of the commands that use settings."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from support.command_line import run
from support.end_to_end import SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FIGURES = ("cost", "--invocations-per-day", "100000", "--lines", "10", "--memory", "512", "--json")
FUNCTION = f"{sys.executable} -m awslambdaric app.handler"


def _delays(*arguments: str) -> dict[str, float]:
    done = run(*FIGURES, *arguments)
    assert done.status == 0, done.stderr
    rows = json.loads(done.stdout)["costs"]
    return {row["policy"]: row["max_delay_seconds"] for row in rows if row["policy"] == "time"}


def test_cost_uses_the_thresholds_of_the_file_unless_an_option_replaces_them(tmp_path: Path) -> None:
    """The destination of the file, here a reference, does not matter."""
    file = tmp_path / "logferry.toml"
    file.write_text('destination = "ssm:/logs/destination"\nflush_seconds = 300\n')
    by_file = _delays("--config", str(file))
    assert by_file == _delays("--flush-seconds", "300")
    assert by_file != _delays()
    assert _delays("--config", str(file), "--flush-seconds", "60") == _delays("--flush-seconds", "60")


def test_cost_reports_a_mistake_in_the_file_with_its_key(tmp_path: Path) -> None:
    """The status is that of an invalid option."""
    file = tmp_path / "logferry.toml"
    file.write_text("flush_seconds = 0\nflush_byte = 5\n")
    done = run(*FIGURES, "--config", str(file))
    text = " ".join(done.stderr.replace("│", " ").split())
    assert done.status == 2
    assert "flush_seconds is '0': use seconds from 0.1 to 86400" in text
    assert "'flush_byte' is not a setting: use flush_bytes" in text


def test_emulate_runs_the_extension_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination of the file is used, and --destination replaces it."""
    monkeypatch.chdir(SAMPLES)
    file = tmp_path / "logferry.toml"
    file.write_text(f'destination = "file://{tmp_path}/of-the-file"\nflush = "invocation"\ncompression = "none"\n')
    done = run("emulate", FUNCTION, "--config", str(file))
    assert done.status == 0, done.stdout + done.stderr
    assert list((tmp_path / "of-the-file").rglob("*.ndjson"))
    done = run("emulate", FUNCTION, "--config", str(file), "--destination", f"file://{tmp_path}/of-the-option")
    assert done.status == 0, done.stdout + done.stderr
    assert list((tmp_path / "of-the-option").rglob("*.ndjson"))


def test_emulate_needs_a_destination_if_that_of_the_file_is_a_reference(tmp_path: Path) -> None:
    """The command counts the objects there, and must not store the records of a test elsewhere."""
    file = tmp_path / "logferry.toml"
    file.write_text('destination = "ssm:/logs/destination"\n')
    done = run("emulate", FUNCTION, "--config", str(file))
    assert done.status == 2
    assert "the reference ssm:/logs/destination" in " ".join(done.stderr.replace("│", " ").split())
