"""The builder: reproducible bytes, size limits, errors, and the command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logferry.layer import command, smoke_test
from logferry.layer.architecture import ARCHITECTURES, native
from logferry.layer.build import build_layer
from logferry.layer.checks import FULL
from logferry.layer.interpreter import from_prefix
from logferry.layer.subprocesses import LayerError
from support.layer_roots import BUILD_SECONDS, arch_of, built_layer, needs_apt, needs_root

slow = pytest.mark.slow
build_bound = pytest.mark.timeout(BUILD_SECONDS)


@needs_apt
@slow
@build_bound
def test_build_gives_the_same_bytes_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive does not depend on the time, the folder (here a relative one) or the order of files."""
    monkeypatch.chdir(tmp_path)
    again = build_layer(output=Path("elsewhere"), arch=native().name)
    assert again.sha256 == built_layer().sha256
    assert again.archive.read_bytes() == built_layer().archive.read_bytes()


@needs_apt
@slow
@build_bound
def test_build_report_counts_every_part_within_the_limits() -> None:
    """The parts of the report add up to the tree, and both sizes are within their limits."""
    report = built_layer()
    files = [path for path in report.tree.rglob("*") if path.is_file()]
    assert report.tree_bytes == sum(path.stat().st_size for path in files) <= FULL.tree
    assert report.files == len(files)
    assert report.archive_bytes == report.archive.stat().st_size <= FULL.archive


@needs_apt
@slow
@build_bound
def test_layer_contains_neither_the_command_line_nor_the_emulator() -> None:
    """A cold start does not read files that the extension's processes never import."""
    site = built_layer().tree / "logferry/site"
    assert (site / "logferry/supervisor/supervisor.pyc").is_file()
    assert not {path.name for path in (site / "logferry").iterdir()} & {"cli", "emulator", "layer", "boot.pyc"}
    assert not {path.name for path in site.iterdir()} & {"typer", "rich", "pip", "setuptools", "bin"}


@needs_apt
@slow
@build_bound
def test_notice_contains_the_licence_of_every_package() -> None:
    """Each package in the tree has a section, and the texts that other licences refer to are included."""
    text = (built_layer().tree / "logferry/NOTICE").read_text()
    packages = [path.name.split("-")[0] for path in (built_layer().tree / "logferry/site").glob("*.dist-info")]
    assert packages
    for name in packages:
        assert re.search(rf"^{re.sub('[-_.]+', '[-_.]', name)} \d", text, re.MULTILINE | re.IGNORECASE), name
    for phrase in (
        "libc6",
        "libssl3",
        "GNU LESSER GENERAL PUBLIC LICENSE",
        "PYTHON SOFTWARE FOUNDATION LICENSE",
        "Apache License",
    ):
        assert phrase in text


@needs_apt
@slow
@build_bound
def test_layer_contains_no_path_of_the_builder() -> None:
    """Bytecode has no folder of the builder: a traceback names the file's place on Lambda."""
    build_folder = str(built_layer().tree.parent).encode()
    for path in built_layer().tree.rglob("*"):
        assert path.is_dir() or build_folder not in path.read_bytes(), path


@needs_root
@slow
@build_bound
def test_build_accepts_a_prefix_of_this_machine(tmp_path: Path) -> None:
    """In an image with a CPython the layer contains that interpreter, and passes the same checks."""
    prefix = _newer_prefix()
    report = build_layer(output=tmp_path, arch=native().name, interpreter=prefix)
    smoke_test.run_smoke_test(report.tree / "logferry", python=report.python, arch=arch_of(report))


def _newer_prefix() -> Path:
    """Return the prefix of a CPython 3.13 or newer on this machine, or skip."""
    for folder in [Path(sys.base_prefix), *Path(sys.base_prefix).parent.glob("3.*"), Path("/usr/local"), Path("/usr")]:
        try:
            from_prefix(folder, native())
        except LayerError:
            continue
        return folder
    pytest.skip("no CPython 3.13 or newer on this machine")


def test_prefix_is_rejected_if_its_python_is_too_old() -> None:
    """The message contains the version in the prefix and the required version."""
    if sys.version_info >= (3, 13):
        pytest.skip("this interpreter is new enough")
    with pytest.raises(LayerError, match=r"too old; the layer needs 3\.13 or newer"):
        from_prefix(Path(sys.base_prefix), native())


def test_prefix_is_rejected_without_an_interpreter(tmp_path: Path) -> None:
    """The probable mistake is the path of the program instead of its prefix."""
    with pytest.raises(LayerError, match=r"bin/python3 does not exist there; name the prefix"):
        from_prefix(tmp_path, native())


def test_prefix_is_rejected_for_another_architecture() -> None:
    """The interpreter of this machine does not run on another architecture."""
    other = next(arch for arch in ARCHITECTURES.values() if not arch.is_native)
    with pytest.raises(LayerError, match=f"build on {other.name}"):
        from_prefix(Path(sys.base_prefix), other)


def test_build_rejects_an_unknown_architecture(tmp_path: Path) -> None:
    """Lambda has two architectures, and the message names them."""
    with pytest.raises(LayerError, match="choose x86_64 or arm64"):
        build_layer(output=tmp_path, arch="riscv64")


def test_command_reports_the_cause_of_a_failed_build(tmp_path: Path) -> None:
    """A failed build does not change the output folder, and ends with status 1."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/mine").touch()
    outcome = CliRunner().invoke(command.app, ["build", "--output", str(tmp_path), "--interpreter", str(tmp_path)])
    assert outcome.exit_code == 1
    assert "bin/python3 does not exist there" in " ".join(outcome.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["opt"]
    assert (tmp_path / "opt/mine").exists()


@needs_apt
@slow
@build_bound
def test_interpreter_of_the_tree_runs_in_any_folder() -> None:
    """The smoke test runs a tree that is not at /opt: through its loader, with its own prefix."""
    report = built_layer()
    interpreter = smoke_test.command(report.tree / "logferry", python=report.python, arch=arch_of(report))
    code = "import sys; print(sys.prefix); print(sys.version_info[:2])"
    done = subprocess.run(
        [*interpreter, "-I", "-S", "-c", code], check=True, capture_output=True, text=True, env={**os.environ}
    )
    assert done.stdout.splitlines() == [str(report.tree / "logferry"), "(3, 13)"]
