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


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
@pytest.mark.parametrize("options", ["", "--json", "--keys"])
def test_a_closed_stream_changes_no_exit_status(root: Path, closed: str, options: str) -> None:
    """Python has no file for a closed descriptor. Some schedulers close stdout or stderr."""
    command = f'exec "$0" -c "$1" verify "$2" {options} {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, PROGRAM, f"file://{root}"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"COMPLETE" in done.stdout or b'"status": 0' in done.stdout) == (not closed.startswith("1"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_report_that_cannot_be_written_is_no_verdict(root: Path, options: tuple[str, ...]) -> None:
    """The exit status 1 would mean that a record is missing."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "verify", f"file://{root}", *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr == "cannot write the report: [Errno 28] No space left on device; write it to another place\n"
