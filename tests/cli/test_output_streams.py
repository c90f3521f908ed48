"""stdout of the reading commands has only the result: progress is on stderr, and only if that is a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from support import stored_prefix

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "from logferry.cli.main import main; main()"
COMMANDS = {
    "verify": ("verify", "--json"),
    "keys": ("verify", "--json", "--keys"),
    "compact": ("compact", "--json", "--run"),
    "query": ("query", "SELECT count(*) AS n FROM logs", "--json"),
    "logs": ("logs", "--json", "--since", "2026-11-29T00:00Z"),
}
OBJECTS = 600
"""Enough for several processes of `verify`."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prefix without faults."""
    return stored_prefix.write(tmp_path_factory.mktemp("prefix"), OBJECTS, lines=4).root


def run_with_terminal_on_stderr(*arguments: str) -> tuple[str, bytes]:
    """Return the text of stdout, a pipe, and the bytes of stderr, a terminal."""
    terminal, stderr = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(terminal, 65_536):
                shown.append(part)
        except OSError:
            return  # Linux reports the end of a terminal as an error

    reader = threading.Thread(target=read)
    reader.start()
    try:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        environment = {**os.environ, "TERM": "xterm-256color"}
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            timeout=100,
            check=False,
        )
    finally:
        os.close(stderr)
        reader.join(timeout=60)
        os.close(terminal)
    assert done.returncode == 0, b"".join(shown)
    return done.stdout.decode(), b"".join(shown)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_stdout_is_json_while_stderr_shows_the_progress(command: tuple[str, ...], root: Path) -> None:
    """The output of a command is piped into another program, and the terminal still shows the progress."""
    name, *options = command
    output, shown = run_with_terminal_on_stderr(name, f"file://{root}", *options)
    assert "\x1b" not in output
    # The result is one JSON value, or one for each line.
    lines = [output] if name in {"verify", "compact"} else output.splitlines()
    assert [json.loads(line) for line in lines]
    assert b"\x1b[" in shown


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_no_progress_without_a_terminal(command: tuple[str, ...], root: Path) -> None:
    """A log file has no control characters."""
    name, *options = command
    arguments = [sys.executable, "-c", PROGRAM, name, f"file://{root}", *options]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "━" not in done.stdout + done.stderr
