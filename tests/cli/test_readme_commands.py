"""The reading commands of the documents run as they are written, on the sample function's records."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from logferry.cli.commands import cli
from logferry.cli.query.views import VIEWS
from support.command_line import run

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "config/tables/README.md")
SAMPLE = "file:///tmp/logferry-sample"
READING = ("logs", "tail", "query", "report", "tables")


def commands(*names: str) -> list[list[str]]:
    """Return the arguments of each documented command with one of these names."""
    found = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if language:
                continue
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(".venv/bin/logferry "):
                    arguments = shlex.split(line)[1:]
                    found += [arguments] if arguments[0] in names else []
    return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the documented `emulate` command and return the destination of its records."""
    destination = f"file://{tmp_path_factory.mktemp('sample')}"
    (command,) = [each for each in commands("emulate") if SAMPLE in each]
    program = "from logferry.cli.main import main; main()"
    arguments = [each.replace(".venv/bin/python", sys.executable).replace(SAMPLE, destination) for each in command]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=100, check=False, cwd=ROOT
    )
    # Half of the invocations fail on purpose, which the status reports.
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "FAILED: 5 invocations failed"
    return destination


def test_each_reading_command_is_documented() -> None:
    """A command without an example is not found by a reader."""
    assert {arguments[0] for arguments in commands(*READING)} == set(READING)


@pytest.mark.parametrize("arguments", [each for each in commands(*READING) if SAMPLE in each], ids=" ".join)
def test_a_documented_command_finds_records_of_the_sample(sample: str, arguments: list[str]) -> None:
    """The status is 0, and the output has rows."""
    done = run(*(each.replace(SAMPLE, sample) for each in arguments))
    assert done.status == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


@pytest.mark.parametrize("arguments", [each for each in commands(*READING) if SAMPLE not in each], ids=" ".join)
def test_a_documented_command_for_s3_has_valid_options(arguments: list[str]) -> None:
    """The options are parsed. Nothing is read."""
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    found = command.commands[arguments[0]]
    with found.make_context(arguments[0], arguments[1:]) as context:
        assert context.params["destination"] == "s3://my-log-bucket/logs"


@pytest.mark.parametrize("arguments", commands("check"), ids=" ".join)
def test_a_documented_check_has_valid_options(arguments: list[str]) -> None:
    """The options are parsed, and a file that they name exists. The checks have separate tests."""
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    with command.commands["check"].make_context("check", arguments[1:]) as context:
        assert context.params["destination"] or (ROOT / context.params["settings"]).exists()


def test_the_documented_tables_are_the_views(sample: str) -> None:
    """Each table of the README exists. The sample has no faults and no instrumentation."""
    readme = (ROOT / "README.md").read_text()
    rows = readme.partition("| table | one row for each |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    views = {"logs", "objects", "segments", "faults", *VIEWS}
    assert set(names) == views
    for name in names:
        done = run("query", sample, f"SELECT count(*) AS n FROM {name}", "--json")  # noqa: S608 - names of the README
        rows = json.loads(done.stdout)["n"]
        assert rows > 0 or name in {"faults", "failures", "invocation_summaries"}, name
