"""The commands in processes: output and exit status."""

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


def test_emulate_prints_timeline_and_summary_and_stores_the_records(tmp_path: Path) -> None:
    """The status is 0 if all invocations succeeded and all records were stored."""
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
    """Each line is one event."""
    (tmp_path / "events").write_text("".join(json.dumps({"marker": f"e{n}"}) + "\n" for n in range(4)))
    function = f"{sys.executable} -m awslambdaric app.handler"
    done = _logferry("emulate", function, "--events", str(tmp_path / "events"), "--flush", "invocation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4, failed 0" in done.stdout


def test_emulate_has_status_1_and_stores_the_records_if_an_invocation_fails(tmp_path: Path) -> None:
    """The records of a failed invocation are stored like any other."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    destination = f"file://{tmp_path}/out"
    done = _logferry("emulate", function, "--event", '{"raise": "on purpose"}', "--destination", destination)
    assert done.returncode == 1
    assert "failed 1" in done.stdout
    assert _logferry("verify", destination).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("emulate", "x", "--event", "{"), "not JSON"),
        (("emulate", "x", "--event", "[]"), "not a JSON object"),
        (("emulate", "x", "--set", "NOVALUE"), "NAME=VALUE"),
        (("emulate", "x", "--mode", "edge"), "lambda-managed-instances"),
    ],
)
def test_invalid_options_are_named_with_the_remedy(arguments: tuple[str, ...], message: str) -> None:
    """The status is 2, and the message contains a valid form."""
    done = _logferry(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_run_outside_lambda_is_one_message() -> None:
    """`logferry run` in a terminal ends with one sentence and without a traceback."""
    done = _logferry("run")
    assert done.returncode == 2
    assert "this is not a Lambda environment; try `logferry demo`" in done.stdout
    assert "Traceback" not in done.stderr


def test_demo_ends_with_the_verdict_complete() -> None:
    """The demo lists objects, shows the records of an invocation, and verifies completeness."""
    done = _logferry("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read from S3 (6 records)" in done.stdout
    assert "invocation 6 line-2" in done.stdout
    assert "COMPLETE" in done.stdout
