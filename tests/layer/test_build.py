"""The builder as one sees it: the same bytes twice, its budgets, its errors, its command."""

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
from logferry.layer.checks import ARCHIVE_LIMIT_BYTES, TREE_LIMIT_BYTES
from logferry.layer.interpreter import from_prefix
from logferry.layer.subprocesses import LayerError
from support.layer_roots import BUILD_SECONDS, arch_of, built_layer, needs_apt, needs_root

slow = pytest.mark.slow
build_bound = pytest.mark.timeout(BUILD_SECONDS)


@needs_apt
@slow
@build_bound
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the moment, the folder or the order of things gets into the archive."""
    again = build_layer(output=tmp_path / "elsewhere", arch=native().name)
    assert again.sha256 == built_layer().sha256
    assert again.archive.read_bytes() == built_layer().archive.read_bytes()


@needs_apt
@slow
@build_bound
def test_the_layer_keeps_to_its_budgets_with_every_part_counted() -> None:
    """The report's parts sum up to the tree, and both sizes are within what is promised."""
    report = built_layer()
    files = [path for path in report.tree.rglob("*") if path.is_file()]
    assert report.tree_bytes == sum(path.stat().st_size for path in files) <= TREE_LIMIT_BYTES
    assert report.files == len(files)
    assert report.archive_bytes == report.archive.stat().st_size <= ARCHIVE_LIMIT_BYTES


@needs_apt
@slow
@build_bound
def test_the_layer_has_neither_the_command_line_nor_the_emulator() -> None:
    """What the extension's processes never import is not in a customer's cold start."""
    site = built_layer().tree / "logferry/site"
    assert (site / "logferry/supervisor.pyc").is_file()
    assert not {path.name for path in (site / "logferry").iterdir()} & {"cli", "emulator", "layer", "boot.pyc"}
    assert not {path.name for path in site.iterdir()} & {"typer", "rich", "pip", "setuptools", "bin"}


@needs_apt
@slow
@build_bound
def test_the_notice_has_the_terms_of_everything_that_is_handed_on() -> None:
    """Every package in the tree has its section, and the texts that others cite are there."""
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
def test_no_file_tells_where_it_was_built() -> None:
    """The builder's folders are not in the bytecode: a traceback names the place where the file stands on Lambda."""
    built_in = str(built_layer().tree.parent).encode()
    for path in built_layer().tree.rglob("*"):
        assert path.is_dir() or built_in not in path.read_bytes(), path


@needs_root
@slow
@build_bound
def test_a_prefix_of_this_machine_serves_as_well(tmp_path: Path) -> None:
    """In an image with its own CPython the layer is made of that, and passes the same gates."""
    prefix = _newer_prefix()
    report = build_layer(output=tmp_path, arch=native().name, interpreter=prefix)
    smoke_test.rehearse(report.tree / "logferry", python=report.python, arch=arch_of(report))


def _newer_prefix() -> Path:
    """Find a CPython 3.13 or newer on this machine."""
    for folder in [Path(sys.base_prefix), *Path(sys.base_prefix).parent.glob("3.*"), Path("/usr/local"), Path("/usr")]:
        try:
            from_prefix(folder, native())
        except LayerError:
            continue
        return folder
    pytest.skip("no CPython 3.13 or newer on this machine")


def test_a_prefix_that_is_too_old_is_refused() -> None:
    """The message says which version was found and which is needed."""
    if sys.version_info >= (3, 13):
        pytest.skip("this interpreter is new enough")
    with pytest.raises(LayerError, match=r"too old; the layer needs 3\.13 or newer"):
        from_prefix(Path(sys.base_prefix), native())


def test_a_prefix_without_an_interpreter_is_refused(tmp_path: Path) -> None:
    """To name the program instead of its prefix is the likely mistake."""
    with pytest.raises(LayerError, match=r"no bin/python3 in it; name the prefix"):
        from_prefix(tmp_path, native())


def test_a_prefix_is_refused_for_another_architecture() -> None:
    """This machine's interpreter cannot be another's."""
    other = next(arch for arch in ARCHITECTURES.values() if not arch.is_native)
    with pytest.raises(LayerError, match=f"build on {other.name}"):
        from_prefix(Path(sys.base_prefix), other)


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    """Lambda has two."""
    with pytest.raises(LayerError, match="choose x86_64 or arm64"):
        build_layer(output=tmp_path, arch="riscv64")


def test_the_command_says_why_and_changes_nothing(tmp_path: Path) -> None:
    """A build that fails leaves the output folder as it was, and ends with status 1."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/mine").touch()
    outcome = CliRunner().invoke(command.app, ["build", "--output", str(tmp_path), "--interpreter", str(tmp_path)])
    assert outcome.exit_code == 1
    assert "there is no bin/python3 in it" in " ".join(outcome.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["opt"]
    assert (tmp_path / "opt/mine").exists()


@needs_apt
@slow
@build_bound
def test_the_bare_tree_runs_where_it_was_built() -> None:
    """The rehearsal's way to run a tree that does not stand at /opt: through its own loader, with its own prefix."""
    report = built_layer()
    interpreter = smoke_test.command(report.tree / "logferry", python=report.python, arch=arch_of(report))
    code = "import sys; print(sys.prefix); print(sys.version_info[:2])"
    done = subprocess.run(
        [*interpreter, "-I", "-S", "-c", code], check=True, capture_output=True, text=True, env={**os.environ}
    )
    assert done.stdout.splitlines() == [str(report.tree / "logferry"), "(3, 13)"]
