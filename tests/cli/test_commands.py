"""The commands as a person types them: their output, their exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "src" / "logferry" / "emulator" / "samples"
SECONDS = 60


def _logferry(*arguments: str, cwd: Path = SAMPLES) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from logferry.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=cwd, check=False)


def test_emulate_prints_a_timeline_and_a_summary_and_ships_to_the_destination(tmp_path: Path) -> None:
    """One command: a function, an event, a destination; status 0 when all succeeded and arrived."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    done = _logferry(
        "emulate", function, "--event", '{"marker": "typed"}', "--count", "3", "--destination", f"file://{tmp_path}/out"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("register", "INVOKE", "delivery", "summary", "3, failed 0", "0 dropped"):
        assert part in done.stdout
    assert list((tmp_path / "out").rglob("*.ndjson.gz"))
    assert _logferry("verify", f"file://{tmp_path}/out").returncode == 0


def test_emulate_takes_events_from_a_file(tmp_path: Path) -> None:
    """An event on each line, each sent once."""
    (tmp_path / "events").write_text("".join(json.dumps({"marker": f"e{n}"}) + "\n" for n in range(4)))
    function = f"{sys.executable} -m awslambdaric app.handler"
    done = _logferry("emulate", function, "--events", str(tmp_path / "events"), "--flush", "invocation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4, failed 0" in done.stdout


def test_a_failing_function_shows_in_the_status_and_does_not_hide_its_records(tmp_path: Path) -> None:
    """The status is not 0 when an invocation failed; its records are shipped all the same."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    destination = f"file://{tmp_path}/out"
    done = _logferry("emulate", function, "--event", '{"raise": "on purpose"}', "--destination", destination)
    assert done.returncode == 1
    assert "failed 1" in done.stdout
    assert _logferry("verify", destination).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("emulate", "x", "--event", "{"), "not JSON"),
        (("emulate", "x", "--event", "[]"), "not a JSON object"),
        (("emulate", "x", "--set", "NOVALUE"), "NAME=VALUE"),
        (("emulate", "x", "--mode", "edge"), "lambda-managed-instances"),
    ],
)
def test_wrong_options_are_named_with_the_remedy(arguments: tuple[str, ...], complaint: str) -> None:
    """Status 2, and a sentence that says what to write instead."""
    done = _logferry(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_run_outside_lambda_says_where_it_belongs() -> None:
    """`logferry run` in a terminal: one sentence, no traceback."""
    done = _logferry("run")
    assert done.returncode == 2
    assert "this is not a Lambda environment; try `logferry demo`" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_demo_ends_with_the_proof() -> None:
    """The demo of the README: objects listed, an invocation read back, nothing missing, status 0."""
    done = _logferry("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read back from S3 (6 records)" in done.stdout
    assert "invocation 6 line-2" in done.stdout
    assert "PROVEN" in done.stdout
