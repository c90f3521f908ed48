"""`logferry cost` as a person types it: the table, the verdict, what it rests on, and what is wrong with a question."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from logferry.cli.main import main; main()", "cost"]
FIGURES = ("--invocations-per-day", "100000", "--lines", "10", "--memory", "512")
SECONDS = 60
COLUMNS = 80
README = (Path(__file__).parents[3] / "README.md").read_text()


def cost(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command, its output piped."""
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "FORCE_COLOR"}}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
    )


def answered(*arguments: str) -> dict[str, Any]:
    """Run the command with --json and give what it says."""
    done = cost(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def complaint(*arguments: str) -> str:
    """Run the command with wrong arguments and give what it complains about, as one line without the frame."""
    done = cost(*arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    return re.sub(r"[\s│]+", " ", done.stderr)


def test_it_prints_each_policy_beside_awss_own_ways_and_names_the_cheapest() -> None:
    """A row each, then the cheapest with the wait that it costs, the default's, and what all that rests on."""
    done = cost(*FIGURES)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\S.*?) {2,}.* (?:PUTs|time|storage|ingestion) \d+% *$", done.stdout, flags=re.MULTILINE)
    assert rows == [
        *(
            "invocation",
            "invocation, next-invocation",
            "time",
            "time, next-invocation",
            "size",
            "adaptive",
            "adaptive, next-invocation",
        ),
        *("CloudWatch Logs", "Lambda to S3"),
    ]
    assert re.search(r"^Cheapest: size, [\d.]+ USD; for that a record waits up to \d+ min\. adaptive, the default: ",
                     done.stdout, flags=re.MULTILINE)  # fmt: skip
    assert re.search(
        r"^Assumed: .*in each one every 864 ms; .*every 8,333 invocations; .*25 ms", done.stdout, re.MULTILINE
    )
    assert re.search(
        r"^Prices: us-east-1, \d{4}-\d\d-\d\d, https://aws\.amazon\.com/s3/pricing/ ", done.stdout, re.MULTILINE
    )


def test_the_readme_shows_what_the_command_prints() -> None:
    """Each line below the command stands in its output; whoever changes a constant sees it here."""
    shown = re.search(r"^\$ logferry cost (.*)\n((?:.+\n)+?)```$", README, flags=re.MULTILINE)
    assert shown
    printed = [line.rstrip() for line in cost(*shown[1].split()).stdout.splitlines()]
    assert set(shown[2].splitlines()) <= set(printed)


@pytest.mark.parametrize(
    "figures",
    [
        ("1", "0", "128"),
        ("100000", "10", "512"),
        ("100000000", "100", "10240", "--duration-ms", "300000", "--retention-days", "3650"),
        (
            "1000000000",
            "1000000",
            "128",
            "--bytes-per-line",
            "1000",
            "--duration-ms",
            "900000",
            "--flush-bytes",
            "1KiB",
        ),
    ],
)
def test_the_table_fits_into_eighty_columns_whatever_the_figures(figures: tuple[str, ...]) -> None:
    """From one invocation a day to more than there are on earth: no cell is cut."""
    done = cost("--invocations-per-day", figures[0], "--lines", figures[1], "--memory", figures[2], *figures[3:])
    table = done.stdout.splitlines()[1 : done.stdout.splitlines().index("")]
    assert len(table) >= 6
    assert max(map(len, table)) <= COLUMNS
    assert "…" not in done.stdout


def test_on_a_terminal_sentences_break_between_words() -> None:
    """A real terminal of 80 columns: coloured, and no line is longer than it."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with os.fdopen(leader, "rb", buffering=0) as screen:
        done = subprocess.run([*COMMAND, *FIGURES], stdout=follower, env=environment, timeout=SECONDS, check=False)
        os.close(follower)
        seen = b""
        try:
            while part := screen.read(65536):
                seen += part
        except OSError:  # Linux: the other end is closed
            pass
    assert done.returncode == 0
    assert b"\x1b[" in seen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())
    assert all(len(line.rstrip()) <= COLUMNS for line in plain.splitlines())
    assert "PUTs" in plain


def test_a_program_gets_everything_unrounded() -> None:
    """--json: figures, bills, the cheapest, assumptions, and each price with its source."""
    found = answered(*FIGURES)
    assert found["function"]["size"] == 2000
    assert {each["name"] for each in found["bills"]} >= {"size", "adaptive", "CloudWatch Logs", "Lambda to S3"}
    for each in found["bills"]:
        parts = {what: usd for what, usd in each["usd"].items() if what != "total"}
        assert each["usd"]["total"] == pytest.approx(sum(parts.values()))
    of_policies = {each["name"]: each["usd"]["total"] for each in found["bills"] if each["policy"]}
    assert of_policies[found["cheapest"]] <= min(of_policies.values()) + 0.01
    assert found["prices"]["s3_put"]["tiers"] == [{"up_to": None, "usd": 0.005}]
    assert found["assumptions"]


def test_a_way_of_awss_that_costs_less_is_said() -> None:
    """Every record at once and next to no lines: PUTs cost more than CloudWatch does."""
    done = cost("--invocations-per-day", "1000000", "--lines", "1", "--memory", "128", "--flush-invocations", "1")
    assert re.search(r"^Cheapest: .* CloudWatch Logs costs less: [\d.]+ USD\.", done.stdout, flags=re.MULTILINE)


def test_a_moment_a_threshold_and_a_processor_are_what_they_are_to_a_function() -> None:
    """Only beside; an object for ten minutes instead of one; arm64 at its own price."""
    beside = answered(*FIGURES, "--timing", "next-invocation", "--flush-seconds", "600")
    assert {each["name"] for each in beside["bills"] if each["policy"]} == {
        f"{policy}, next-invocation" for policy in ("invocation", "time", "size", "adaptive")
    }
    puts = {each["name"]: each["puts"] for each in beside["bills"]}
    lives = 2_592_000 / 0.864 / 8333
    assert puts["time, next-invocation"] == pytest.approx(lives * 12, rel=0.01)
    intel, arm = (answered(*FIGURES, "--architecture", name)["bills"][0]["usd"] for name in ("x86_64", "arm64"))
    assert arm["time"] / intel["time"] == pytest.approx(0.8, rel=1e-3)


def test_another_price_is_taken_from_a_file_and_said(tmp_path: Path) -> None:
    """--prices: what the file names is replaced, and the sentence about prices names the file."""
    (tmp_path / "mine.toml").write_text("[s3_put]\ntiers = [{ usd = 0.01 }]\n")
    ours, mine = answered(*FIGURES), answered(*FIGURES, "--prices", str(tmp_path / "mine.toml"))
    assert mine["bills"][0]["usd"]["PUTs"] == pytest.approx(2 * ours["bills"][0]["usd"]["PUTs"])
    assert mine["bills"][0]["usd"]["time"] == ours["bills"][0]["usd"]["time"]
    assert f"Prices: unsaid, unsaid, {tmp_path}/mine.toml" in cost(*FIGURES, "--prices", f"{tmp_path}/mine.toml").stdout


def test_everything_that_is_wrong_is_said_at_once_with_its_remedy() -> None:
    """Contradictions, thresholds and the file of prices, in one message."""
    said = complaint(
        *("--invocations-per-day", "10000", "--lines", "3", "--memory", "128"),
        *("--bytes", "3", "--bytes-per-line", "5", "--environments", "1", "--duration-ms", "90000"),
        *("--flush-bytes", "lots", "--flush-seconds", "0", "--prices", "/nowhere.toml"),
    )
    for part in (
        "--bytes and --bytes-per-line say the same: give one of them",
        "--environments 1 cannot run 10,000 invocations of 90000 ms in a day: give 11 or more",
        "LOGFERRY_FLUSH_SECONDS is '0': give seconds from 0.1 to 86400",
        "LOGFERRY_FLUSH_BYTES is 'lots': give bytes from 1KiB to 256MiB",
        "/nowhere.toml cannot be read",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--invocations-per-day'"),
        (("--invocations-per-day", "0"), "should be greater than or equal to 1"),
        ((*FIGURES, "--memory", "64"), "should be greater than or equal to 128"),
        ((*FIGURES, "--architecture", "mips"), "'mips' is not one of 'x86_64', 'arm64'"),
        ((*FIGURES, "--bytes", str(10**10)), "10,000,000,000 bytes: give lines and bytes that make 1 GiB at most"),
        ((*FIGURES, "--timing", "never"), "'never' is not one of 'post-execution', 'next-invocation'"),
        ((*FIGURES, "--duration-ms", "900001"), "should be less than or equal to 900000"),
    ],
)
def test_a_single_value_out_of_its_range_is_named(arguments: tuple[str, ...], said: str) -> None:
    """What Lambda does not offer is refused before anything is worked out."""
    assert said in complaint(*arguments)
