"""`logferry cost` as a command: table, verdict, assumptions, and messages for invalid requests."""

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
    """Run the command with --json and return the parsed output."""
    done = cost(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def complaint(*arguments: str) -> str:
    """Run the command with invalid arguments and return the message as one line without the frame."""
    done = cost(*arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    return re.sub(r"[\s│]+", " ", done.stderr)


def test_cost_prints_each_policy_and_names_the_cheapest() -> None:
    """Each policy and each AWS destination has a row. The verdict, assumptions and sources follow."""
    done = cost(*FIGURES)
    assert done.returncode == 0, done.stderr
    row = r"^(\S.*?) +(post-execution|next-invocation|either|-) .* (?:PUTs|time|storage|ingestion) \d+% *$"
    both = ("post-execution", "next-invocation")
    assert re.findall(row, done.stdout, flags=re.MULTILINE) == [
        *(("invocation", timing) for timing in both),
        *(("time", timing) for timing in both),
        ("size", "either"),
        *(("adaptive", timing) for timing in both),
        *(("CloudWatch", "-"), ("Lambda to S3", "-")),
    ]
    verdict = r"^Cheapest: size, [\d.]+ USD, each record is stored within \d+ min\. Default: adaptive, [\d.]+ USD, "
    assert re.search(verdict, done.stdout, flags=re.MULTILINE)
    assumptions = r"^Assumptions: .*in each one every 864 ms; .*per 8,333 invocations; .*25 ms"
    assert re.search(assumptions, done.stdout, re.MULTILINE)
    assert re.search(
        r"^Prices: us-east-1, \d{4}-\d\d-\d\d, https://aws\.amazon\.com/s3/pricing/ ", done.stdout, re.MULTILINE
    )


def test_the_command_in_the_readme_runs() -> None:
    """The options of the README's example are valid."""
    shown = re.search(r"logferry cost (.*)$", README, flags=re.MULTILINE)
    assert shown
    assert cost(*shown[1].split()).returncode == 0


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
    """No cell is truncated, from one invocation per day to 10^9."""
    done = cost("--invocations-per-day", figures[0], "--lines", figures[1], "--memory", figures[2], *figures[3:])
    table = done.stdout.splitlines()[1 : done.stdout.splitlines().index("")]
    assert len(table) >= 6
    assert max(map(len, table)) <= COLUMNS
    assert "…" not in done.stdout


def test_sentences_are_wrapped_between_words_on_a_terminal() -> None:
    """On a terminal of 80 columns the output has colours, and no line is longer."""
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


def test_json_output_is_complete_and_unrounded() -> None:
    """It contains figures, costs, the cheapest, assumptions, and each price with its source."""
    found = answered(*FIGURES)
    assert found["function"]["size"] == 2000
    assert {each["name"] for each in found["costs"]} >= {"size", "adaptive", "CloudWatch", "Lambda to S3"}
    for each in found["costs"]:
        parts = {what: usd for what, usd in each["usd"].items() if what != "total"}
        assert each["usd"]["total"] == pytest.approx(sum(parts.values()))
    of_policies = {each["name"]: each["usd"]["total"] for each in found["costs"] if each["policy"]}
    assert of_policies[found["cheapest"]] <= min(of_policies.values()) + 0.01
    assert found["prices"]["s3_put"]["tiers"] == [{"up_to": None, "usd": 0.005}]
    assert found["assumptions"]


def test_an_aws_destination_that_costs_less_is_named() -> None:
    """With one object per invocation and one line each, PUTs cost more than CloudWatch."""
    done = cost("--invocations-per-day", "1000000", "--lines", "1", "--memory", "128", "--flush-invocations", "1")
    assert re.search(r"^Cheapest: .* CloudWatch costs less: [\d.]+ USD\.", done.stdout, flags=re.MULTILINE)


def test_timing_thresholds_and_architecture_change_the_cost() -> None:
    """The options select one timing, ten minutes per object, and the price of arm64."""
    next_only = answered(*FIGURES, "--timing", "next-invocation", "--flush-seconds", "600")
    assert {each["name"] for each in next_only["costs"] if each["policy"]} == {
        f"{policy}, next-invocation" for policy in ("invocation", "time", "size", "adaptive")
    }
    puts = {each["name"]: each["puts"] for each in next_only["costs"]}
    environments = 2_592_000 / 0.864 / 8333
    assert puts["time, next-invocation"] == pytest.approx(environments * 12, rel=0.01)
    intel, arm = (answered(*FIGURES, "--architecture", name)["costs"][0]["usd"] for name in ("x86_64", "arm64"))
    assert arm["time"] / intel["time"] == pytest.approx(0.8, rel=1e-3)


def test_a_price_file_replaces_prices_and_is_named_as_source(tmp_path: Path) -> None:
    """--prices replaces the prices in the file, and the output names the file."""
    (tmp_path / "mine.toml").write_text("[s3_put]\ntiers = [{ usd = 0.01 }]\n")
    ours, mine = answered(*FIGURES), answered(*FIGURES, "--prices", str(tmp_path / "mine.toml"))
    assert mine["costs"][0]["usd"]["PUTs"] == pytest.approx(2 * ours["costs"][0]["usd"]["PUTs"])
    assert mine["costs"][0]["usd"]["time"] == ours["costs"][0]["usd"]["time"]
    assert (
        f"Prices: region not stated, date not stated, {tmp_path}/mine.toml"
        in cost(*FIGURES, "--prices", f"{tmp_path}/mine.toml").stdout
    )


def test_all_mistakes_of_a_request_are_reported_at_once() -> None:
    """One message has contradictions, thresholds and the price file, each with its remedy."""
    message = complaint(
        *("--invocations-per-day", "10000", "--lines", "3", "--memory", "128"),
        *("--bytes", "3", "--bytes-per-line", "5", "--environments", "1", "--duration-ms", "90000"),
        *("--flush-bytes", "lots", "--flush-seconds", "0", "--prices", "/nowhere.toml"),
    )
    for part in (
        "--bytes and --bytes-per-line exclude each other: give one of them",
        "--environments 1 cannot run 10,000 invocations of 90000 ms in a day: give at least 11",
        "LOGFERRY_FLUSH_SECONDS is '0': use seconds from 0.1 to 86400",
        "LOGFERRY_FLUSH_BYTES is 'lots': use a size from 1KiB to 256MiB",
        "cannot read /nowhere.toml",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "Missing option '--invocations-per-day'"),
        (("--invocations-per-day", "0"), "should be greater than or equal to 1"),
        ((*FIGURES, "--memory", "64"), "should be greater than or equal to 128"),
        ((*FIGURES, "--architecture", "mips"), "'mips' is not one of 'x86_64', 'arm64'"),
        ((*FIGURES, "--bytes", str(10**10)), "10,000,000,000 bytes: the maximum is 1 GiB"),
        ((*FIGURES, "--timing", "never"), "'never' is not one of 'post-execution', 'next-invocation'"),
        ((*FIGURES, "--duration-ms", "900001"), "should be less than or equal to 900000"),
    ],
)
def test_a_single_value_out_of_its_range_is_named(arguments: tuple[str, ...], expected: str) -> None:
    """Values outside of Lambda's limits are rejected before the calculation."""
    assert expected in complaint(*arguments)
