"""The command line in this process, for tests of the reading commands."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from logferry.cli.commands import cli

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "from logferry.cli.main import main; main()"
SECONDS = 60.0


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


def in_terminal(columns: int, *arguments: str) -> str:
    """Return the output of a command whose stdout and stderr are a terminal."""
    leader, follower = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "CI"}}
    environment |= {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        parts = []
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the end of the process
                break
            if not part:
                break
            parts.append(part)
        os.close(leader)
        assert process.wait(SECONDS) == 0
    return b"".join(parts).decode()


def without_colours(text: str) -> str:
    """Return the output of a terminal without its control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
