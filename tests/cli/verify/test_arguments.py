"""The arguments of `logferry verify` have the same meaning with and without typer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from logferry.cli.commands import cli
from logferry.cli.verify import command
from logferry.cli.verify.arguments import plain_arguments

if TYPE_CHECKING:
    from logferry.cli.verify.options import Options

URL = "file:///nowhere"
PLAIN = (
    (URL,),
    (URL, "--json"),
    ("--json", URL, "--yes"),
    (URL, "--keys", "--function", "orders-*"),
    ("--function=a", URL, "--since=2026-11-21T02:00Z"),
    (URL, "--since", "2h", "--until", "1h"),
    (URL, "--state", "rows.parquet", "--json"),
    ("not a url",),
)
LEFT_TO_TYPER = (
    (),
    ("--help",),
    (URL, "--help"),
    (URL, "--unknown"),
    (URL, "another"),
    (URL, "--since", "yesterday"),
    (URL, "--since", "1h", "--until", "2h"),
    (URL, "--since"),
    (URL, "--since", "--json"),
    (URL, "--since="),
    (URL, "--json=1"),
    (URL, "--json", "--json"),
    (URL, "--function", "a", "--function", "b"),
    (URL, "--keys", "--state", "rows.parquet"),
    ("--", URL),
    ("",),
)


def by_typer(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Options]:
    """Return the arguments with which typer runs the command."""
    calls: list[tuple[str, Options]] = []

    def run(destination: str, options: Options) -> int:
        calls.append((destination, options))
        return 0

    monkeypatch.setattr(command, "run_verify", run)
    done = CliRunner().invoke(cli, ["verify", *arguments])
    assert done.exit_code == 0, done.output
    return calls[0]


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_plain_arguments_have_the_meaning_of_typer(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """An age is relative to the time of the call."""
    url, options = plain_arguments(arguments) or pytest.fail("typer has to read them")
    expected_url, expected = by_typer(arguments, monkeypatch)
    assert url == expected_url
    assert options._replace(window=None) == expected._replace(window=None)
    assert (options.window is None) == (expected.window is None)
    if options.window and expected.window:
        for one, other in zip(options.window, expected.window, strict=True):
            assert (one is None) == (other is None)
            assert one is None or other is None or abs(one - other) < timedelta(minutes=1)


@pytest.mark.parametrize("arguments", LEFT_TO_TYPER, ids=" ".join)
def test_other_arguments_are_left_to_typer(arguments: tuple[str, ...]) -> None:
    """It has the help and the messages."""
    assert plain_arguments(arguments) is None


def test_all_options_of_the_command_are_known() -> None:
    """A new option needs a row in both places."""
    usage = CliRunner().invoke(cli, ["verify", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    options = set(re.findall(r"--[a-z]+", usage)) - {"--help"}
    for option in options:
        assert plain_arguments((URL, option)) or plain_arguments((URL, option, "2h")), option


def test_values_are_parsed() -> None:
    """The options have the types that the command expects."""
    found = plain_arguments((URL, "--since", "2026-11-21T02:00Z", "--state", "a", "--function", "f", "--yes"))
    assert found is not None
    options = found[1]
    assert options.window is not None
    assert options.window.since == datetime(2026, 11, 21, 2, tzinfo=UTC)
    assert (options.state, options.function, options.yes, options.as_json) == (Path("a"), "f", True, False)
