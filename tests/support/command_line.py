"""The command line in this process, for tests of the reading commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from logferry.cli.commands import cli

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Done:
    """The result of a command."""

    status: int
    stdout: str
    stderr: str


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command. stdout and stderr are pipes. An exception that is no exit is raised."""
    result = CliRunner().invoke(cli, arguments, env=dict(environment or {}))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
