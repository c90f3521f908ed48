"""Interpreters that compile the Python hook: which are used, and what functions of their versions load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logferry.layer import bytecode, command, inputs
from logferry.layer.build import LayerReport
from logferry.layer.hook_interpreters import VERSIONS, find_interpreters
from logferry.layer.subprocesses import LayerError

OWN = "{}.{}".format(*sys.version_info)
SECONDS = 60.0


def program(path: Path, output: str, *, status: int = 0) -> Path:
    """Make a program that prints a line."""
    path.write_text(f"#!/bin/sh\necho '{output}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def interpreters() -> dict[str, Path]:
    """Return the interpreters of this machine: on PATH, and in the folder of versions that has that of the tests."""
    siblings = Path(sys.base_prefix).parent.glob("3.*/bin/python3")
    named = [path for path in sorted(siblings) if ".".join(path.parts[-3].split(".")[:2]) in VERSIONS]
    return dict(find_interpreters([Path(sys.executable), *named]))


def copied_hook(to: Path) -> Path:
    """Copy the Python hook without bytecode."""
    shutil.copytree(inputs.find(inputs.HOOKS) / "python", to, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def test_named_interpreters_precede_those_on_path(tmp_path: Path) -> None:
    """The first of two programs of one version is used. PATH provides the other versions."""
    on_path, named = tmp_path / "bin", tmp_path / "named"
    on_path.mkdir()
    for version in ("3.9", "3.12"):
        program(on_path / f"python{version}", f"{version} final cpython")
    program(named, "3.12 final cpython")
    found = find_interpreters([named, named], search=str(on_path))
    assert found == {"3.9": on_path / "python3.9", "3.12": named}


@pytest.mark.parametrize(
    ("output", "status"), [("3.14 candidate cpython", 0), ("3.11 final pypy", 0), ("3.12 final cpython", 127), ("", 0)]
)
def test_unusable_interpreter_on_path_is_passed_over_and_a_named_one_is_an_error(
    tmp_path: Path, output: str, status: int
) -> None:
    """A version manager puts programs on PATH that end with an error. The message names the option."""
    for version in VERSIONS:
        program(tmp_path / f"python{version}", output, status=status)
    assert find_interpreters([], search=str(tmp_path)) == {}
    with pytest.raises(LayerError, match=r"--hook-python .*python3\.12: it is no released CPython .*3\.9, 3\.10"):
        find_interpreters([tmp_path / "python3.12"], search="")


def test_bytecode_of_each_version_is_the_same_in_another_folder_and_is_loaded(tmp_path: Path) -> None:
    """The sources are replaced by programs that fail, so only bytecode can work."""
    found = interpreters()
    compilers = {version: [path] for version, path in found.items()}
    first, second = copied_hook(tmp_path / "one"), copied_hook(tmp_path / "another folder")
    for hooks in (first, second):
        bytecode.compile_hooks(hooks, compilers=compilers)
    files = sorted(path.relative_to(first) for path in first.rglob("*.pyc"))
    assert len(files) == len(found) * len(list(first.rglob("*.py")))
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
        assert bytecode.is_unchecked((first / name).read_bytes()), name
        assert str(first).encode() not in (first / name).read_bytes(), name
    for source in first.rglob("*.py"):
        source.write_text("raise SystemExit('the source was compiled')")
    spool = tmp_path / "spool"
    spool.mkdir()
    os.mkfifo(spool / "events")
    reader = os.open(spool / "events", os.O_RDWR | os.O_NONBLOCK)
    variables = {"PYTHONPATH": str(first), "LOGFERRY_CALLS": "each", "LOGFERRY_SPOOL_DIR": str(spool)}
    code = "import http.client; assert hasattr(http.client.HTTPConnection.getresponse, '__wrapped__')"
    try:
        for version, path in found.items():
            done = subprocess.run([path, "-c", code], env=variables, check=False, timeout=SECONDS, capture_output=True)
            assert done.returncode == 0, (version, done.stderr)
    finally:
        os.close(reader)


def test_interpreter_that_writes_other_files_ends_the_build(tmp_path: Path) -> None:
    """A program of another version than it claims leaves functions without bytecode."""
    hooks = copied_hook(tmp_path / "hooks")
    other = next(version for version in VERSIONS if version != OWN)
    with pytest.raises(LayerError, match=f"has not compiled .* for Python {other}"):
        bytecode.compile_hooks(hooks, compilers={other: [sys.executable]})


@pytest.mark.parametrize("versions", [("3.13",), VERSIONS])
def test_command_reports_the_versions_with_bytecode_and_warns_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], versions: tuple[str, ...]
) -> None:
    """The consequence is a slower cold start, and the remedy is an option."""
    report = LayerReport(
        arch="arm64", slim=False, python="3.13", tree=tmp_path, archive=tmp_path / "a.zip", sha256="0" * 64, files=1,
        parts=(("part", 1),), archive_bytes=1, hook_versions=versions,
    )  # fmt: skip
    monkeypatch.setattr(command, "build_layer", lambda **_: report)
    command.build(output=tmp_path)
    output = " ".join(capsys.readouterr().out.split())
    assert f"bytecode for {', '.join(versions)}" in output
    assert ("warning: functions of Python 3.9, 3.10, 3.11, 3.12, 3.14" in output) is (versions == ("3.13",))
    assert ("--hook-python" in output) is (versions == ("3.13",))
