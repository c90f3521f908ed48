"""A hook that raises an exception at every point: responses and exceptions of the function are identical."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import support.sabotage
from support.calls_server import calls_server
from support.python_hook import HOOK, hooked, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from support.calls_server import CallsServer
    from support.python_hook import PipeReader

SABOTAGE_SECONDS = 300.0
CALL = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
connection.request("GET", "/x")
print(connection.getresponse().read())
"""
FAILING_PATH = """\
    def path(self, target):
        if "bad" in target:
            raise LookupError(target)
        return self.original_path(target)

"""
POINTS = 150
"""Minimum number of points, so that a change of the hook's style cannot empty the test."""


@pytest.mark.slow
@pytest.mark.timeout(SABOTAGE_SECONDS)
def test_exceptions_of_callbacks_change_no_response(tmp_path: Path) -> None:
    """Every client returns the same responses and raises the same exceptions, whichever statement of the hook fails."""
    with calls_server(tmp_path, tls=False) as server:
        done = subprocess.run(
            [sys.executable, support.sabotage.__file__, f"http://localhost:{server.port}"],
            env={"PATH": os.environ["PATH"]},
            capture_output=True, text=True, timeout=SABOTAGE_SECONDS, check=False,
        )  # fmt: skip

    *differences, number = done.stdout.splitlines() or [done.stderr]
    assert differences == []
    assert int(number) >= POINTS, done.stderr


def test_exceptions_of_the_start_change_no_response(tmp_path: Path, spool: Path, pipe: PipeReader) -> None:
    """The function starts and makes its call, whichever statement of `sitecustomize` fails."""
    hook = tmp_path / "hook"
    shutil.copytree(HOOK, hook, ignore=shutil.ignore_patterns("__pycache__"))
    number = 0

    with calls_server(tmp_path, tls=False) as server:
        expected = run_python(CALL, {}, str(server.port))
        for number, (line, tree) in enumerate(support.sabotage.variants(HOOK / "sitecustomize.py"), 1):  # noqa: B007
            (hook / "sitecustomize.py").write_text(ast.unparse(tree))
            output = run_python(CALL, hooked(spool, hook=hook), str(server.port))
            assert output == expected, f"sitecustomize.py:{line}"

    assert number > 30
    pipe.read()


def test_failed_callback_is_counted(tmp_path: Path, spool: Path, pipe: PipeReader, https: CallsServer) -> None:
    """The next line has the number of calls without a line, and the class of the exception."""
    hook = tmp_path / "hook"
    shutil.copytree(HOOK, hook, ignore=shutil.ignore_patterns("__pycache__"))
    source = hook / "logferry_hook/recorder.py"
    text = source.read_text()
    assert "    def path(" in text
    source.write_text(text.replace("    def path(", f"{FAILING_PATH}    def original_path(", 1))
    code = "import sys, urllib.request as u\nfor p in ('bad/1', 'bad/2', 'good'): u.urlopen(sys.argv[1] + p).read()"

    run_python(code, hooked(spool, https.trust, hook=hook), f"{https.url}/")

    (line,) = pipe.calls()
    assert (line["path"], line["n"], line["lost"], line["hookError"]) == ("/good", 1, 2, "LookupError")
