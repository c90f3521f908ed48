"""The commands in processes: output and exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "src" / "logferry" / "emulator" / "samples"
SECONDS = 60


def _logferry(*arguments: str, columns: int = 120, folder: Path = SAMPLES) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from logferry.cli.main import main; main()", *arguments]
    environment = os.environ | {"COLUMNS": str(columns)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=folder, check=False, env=environment
    )


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


def test_emulate_counts_the_records_of_logferry_and_verify_accepts_them(tmp_path: Path) -> None:
    """Only the objects of this session count, and the summary names each type."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    given = ("--destination", f"file://{tmp_path}/out", "--set", "LOGFERRY_USAGE=true", "--timeout", "1.5")
    for _ in range(2):
        done = _logferry("emulate", function, "--event", "{}", "--event", '{"sleep_ms": 3000}', *given)
        assert done.returncode == 1, "an invocation fails by its timeout"
        assert re.search(r"records of logferry +│ 2 invocation, 1 timeout", done.stdout), done.stdout
    verified = _logferry("verify", f"file://{tmp_path}/out")
    assert verified.returncode == 0, verified.stdout


def test_emulate_shows_the_output_of_the_function(tmp_path: Path) -> None:
    """The lines of the function are shown unchanged, even with characters of rich's markup."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    event = '{"marker": "[bold]on the screen[/]"}'
    done = _logferry("emulate", function, "--event", event, "--destination", f"file://{tmp_path}/out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r" output +runtime +\[bold\]on the screen\[/\]-0\n", done.stdout)


def test_emulate_shows_all_output_of_a_long_session() -> None:
    """The timeline of a long session omits entries, so the output has a separate section."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    done = _logferry("emulate", function, "--event", '{"marker": "line", "lines": 120}')
    assert done.returncode == 0, done.stdout + done.stderr
    section = done.stdout[done.stdout.index("output of the function") :].splitlines()
    assert [line for line in section if line.startswith("line-")] == [f"line-{n}" for n in range(120)]


def test_emulate_sends_each_event_option(tmp_path: Path) -> None:
    """`--event` is repeatable, and `--count` repeats all events."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    events = ("--event", '{"marker": "first"}', "--event", '{"marker": "second"}', "--count", "2")
    done = _logferry("emulate", function, *events, "--destination", f"file://{tmp_path}/out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4, failed 0" in done.stdout
    assert re.findall(r"runtime +(\w+)-0\n", done.stdout) == 2 * ["first", "second"]


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("LOGFERRY_ENABLED=false", "logferry is idle and stores no records"),
        ("LOGFERRY_KEY={segment}", "records not delivered to logferry"),
        ("LOGFERRY_DESTINATION=s3://bucket/%Y", "records not delivered to logferry"),
    ],
)
def test_emulate_has_status_1_if_records_are_not_stored(setting: str, fault: str) -> None:
    """An idle extension and undelivered records are faults, although the invocations succeed."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    done = _logferry("emulate", function, "--set", setting)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1, failed 0" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED: ")
    assert fault in done.stdout.splitlines()[-1]


def test_emulate_timeline_has_eighty_columns_and_no_truncated_details() -> None:
    """Long details are wrapped into their column."""
    function = f"{sys.executable} -m awslambdaric app.handler"
    done = _logferry("emulate", function, columns=80)
    timeline = done.stdout[: done.stdout.index("summary")].splitlines()[1:]
    assert max(map(len, timeline)) <= 80
    assert not [line for line in timeline if "…" in line]
    assert "schema=2025-01-29 status=200" in done.stdout
    assert "error_type" not in done.stdout


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
        (("emulate", "x", "--event", "{}", "--events", "x.ndjson"), "exclude each other"),
        (("emulate", "x", "--events", "/nowhere.ndjson"), "cannot read /nowhere.ndjson"),
        (("emulate", "x", "--events", "/dev/null"), "has no events"),
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


def test_demo_ends_with_the_verdict_complete_and_the_report(tmp_path: Path) -> None:
    """The demo lists objects, shows an invocation with its calls, verifies completeness, and writes the page."""
    done = _logferry("demo", "--report", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read from S3 (9 records)" in done.stdout
    assert "invocation 5 line-1" in done.stdout
    assert done.stdout.count("logferry.call ") == 3
    assert re.search(r"records of logferry +│ 18 call, 6 invocation", done.stdout)
    assert re.search(r"calls to 127\.0\.0\.1 +│ 3 in [\d.]+ ms, 1 error", done.stdout)
    for field in ("cpuMs", "rssBytes", "threads"):
        assert re.search(rf"usage: {field} +│ [\d.,]+", done.stdout), field
    assert "COMPLETE" in done.stdout
    page = tmp_path / "logferry-demo-report.html"
    assert done.stdout.splitlines()[-1] == f"Report of the demo: {page}"
    assert '"invocations":6,"failed":0,"cold":1' in page.read_text()
    assert list(tmp_path.iterdir()) == [page]
