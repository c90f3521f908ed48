"""The checks of the builder: a complete tree is damaged in one place, and the message names that place."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import logferry
from logferry.layer import archive, checks, smoke_test, start_check, wrapper_check
from logferry.layer.checks import CheckError
from logferry.layer.subprocesses import find
from support.layer_roots import BUILD_SECONDS, arch_of, built_layer, needs_apt

pytestmark = [needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]

Damage = Callable[[Path], object]
"""A function that damages the tree in a folder."""


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """Return a copy of the built tree. Its files are hard links, so a test replaces a file and does not write to it."""
    copy = tmp_path / "opt"
    shutil.copytree(built_layer().tree, copy, copy_function=_link)
    return copy


def _link(source: str, target: str) -> str:
    os.link(source, target) if Path(source).stat().st_dev == Path(target).parent.stat().st_dev else shutil.copy2(
        source, target
    )
    return target


def _replace(path: Path, data: bytes) -> Path:
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)
    return path


def _find(opt: Path, pattern: str) -> Path:
    """Return the only or first file that matches. `PYTHON` and `LOADER` stand for the names of both programs."""
    pattern = pattern.replace("PYTHON", f"python{built_layer().python}").replace(
        "LOADER", arch_of(built_layer()).loader
    )
    return next(iter(sorted(opt.glob(pattern))))


def _remove(pattern: str) -> Damage:
    return lambda opt: _find(opt, pattern).unlink()


def _change(pattern: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda opt: _replace(_find(opt, pattern), change(_find(opt, pattern).read_bytes()))


def _set_mode(pattern: str, mode: int) -> Damage:
    def damage(opt: Path) -> None:
        path = _find(opt, pattern)
        _replace(path, path.read_bytes()).chmod(mode)

    return damage


def _patch(pattern: str, *options: str) -> Damage:
    def damage(opt: Path) -> None:
        path = _find(opt, pattern)
        _replace(path, path.read_bytes())
        subprocess.run([find("patchelf", remedy=""), *options, str(path)], check=True)

    return damage


def _add(name: str) -> Damage:
    def damage(opt: Path) -> None:
        (opt / name).write_text("")
        (opt / name).chmod(0o644)

    return damage


def _other_machine(data: bytes) -> bytes:
    return data[:18] + (183 if data[18] != 183 else 62).to_bytes(2, "little") + data[20:]


def _check(opt: Path) -> None:
    checks.check(opt, python=built_layer().python, arch=arch_of(built_layer()))


MODULE = "logferry/lib/python*/lib-dynload/_hashlib*.so"
"""An extension module that keeps its section headers, so that patchelf can change it."""
INTERPRETER = "logferry/bin/PYTHON"
LOADER = "logferry/lib/LOADER"
HOST_LOADER = "/lib64/ld-linux-x86-64.so.2"

DAMAGES: dict[str, tuple[Damage, str]] = {
    "another file next to the launcher": (_add("extensions/README"), "extensions/README"),
    "a folder on the function's path": (lambda opt: (opt / "python").mkdir(), "python"),
    "a launcher that is not executable": (_set_mode("extensions/logferry", 0o644), "extensions/logferry has mode 0644"),
    "a loader that is not executable": (_set_mode(LOADER, 0o644), "ld-linux.* has mode 0644"),
    "a file that only root can read": (_set_mode("logferry/NOTICE", 0o600), "NOTICE has mode 0600"),
    "a link": (lambda opt: (opt / "logferry/bin/python3").symlink_to("python3.13"), "bin/python3 is a link"),
    "no interpreter": (_remove(INTERPRETER), r"bin/python3\.\d+ is missing"),
    "a module for another machine": (_change(MODULE, _other_machine), "_hashlib.* is for another machine"),
    "a launcher that needs a loader": (
        lambda opt: _replace(opt / checks.LAUNCHER, _find(opt, INTERPRETER).read_bytes()),
        "extensions/logferry is linked dynamically",
    ),
    "an exec wrapper that needs a loader": (
        lambda opt: _replace(opt / checks.EXEC_WRAPPER, _find(opt, INTERPRETER).read_bytes()),
        "logferry-wrap is linked dynamically",
    ),
    "no exec wrapper": (_remove("logferry-wrap"), "unexpected or missing: logferry-wrap"),
    "an exec wrapper that is not executable": (_set_mode("logferry-wrap", 0o644), "logferry-wrap has mode 0644"),
    "no hook": (_remove("logferry/hooks/node.cjs"), "hooks/node.cjs is missing, or differs from its source"),
    "a changed hook": (_change("logferry/hooks/node.cjs", lambda data: data + b"\n"), "hooks/node.cjs is missing, or"),
    "the host's loader": (
        _patch(INTERPRETER, "--set-interpreter", HOST_LOADER),
        "loader of the interpreter is /lib64/",
    ),
    "a RUNPATH": (_patch(INTERPRETER, "--set-rpath", "$ORIGIN/../lib"), "no DT_RUNPATH"),
    "a module with a search path": (
        _patch(MODULE, "--force-rpath", "--set-rpath", "/usr/local/lib"),
        "_hashlib.* searches libraries in /usr/local/lib",
    ),
    "a missing library": (_remove("logferry/lib/libssl.so.3"), "needs libssl.so.3"),
    "no library that glibc opens by name": (_remove("logferry/lib/libgcc_s.so.1"), "libgcc_s.so.1"),
    "a loader that reads the host's files": (
        _change(LOADER, lambda data: data.replace(b"/opt/logferry/none\0", b"/etc/ld.so.preload\0")),
        "/etc/ld.so.preload",
    ),
    "a source": (_add("logferry/site/logferry/late.py"), "late.py would be compiled"),
    "a cache folder": (lambda opt: (opt / "logferry/site/logferry/__pycache__").mkdir(), "__pycache__"),
    "bytecode with a timestamp": (
        _change("logferry/main.pyc", lambda data: data[:4] + bytes(4) + data[8:]),
        "main.pyc is validated",
    ),
}


def test_check_accepts_the_built_tree(opt: Path) -> None:
    """The copy that the other tests damage is complete before they do."""
    _check(opt)


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_check_rejects_a_tree_with(damage: Damage, message: str, opt: Path) -> None:
    """The builder does not release a tree with one fault, and the message names the fault."""
    damage(opt)
    with pytest.raises(CheckError, match=message):
        _check(opt)


def test_check_rejects_a_tree_over_its_limit(opt: Path) -> None:
    """The size of the tree has a limit, because Lambda unpacks it at every cold start."""
    with pytest.raises(CheckError, match=r"limit is 1,000,000"):
        checks.check_tree_size(opt, limit=1_000_000)


def test_check_rejects_an_archive_over_its_limit() -> None:
    """The zip has a separate limit."""
    with pytest.raises(CheckError, match=r"limit is 1,000"):
        checks.check_archive_size(built_layer().archive, limit=1_000)


def _without_operation(name: str) -> Damage:
    model = "logferry/site/botocore/data/s3/*/service-2.json"
    return _change(model, lambda data: data.replace(f'"{name}":'.encode(), b'"Nothing":'))


GAPS: dict[str, tuple[Damage, str]] = {
    "an upload": (_without_operation("PutObject"), "put_object"),
    "a bucket in another region": (_without_operation("HeadBucket"), "head_bucket"),
    "a directory bucket": (_without_operation("CreateSession"), "create_session"),
    "errors in XML": (_remove("logferry/lib/python*/xml/etree/ElementTree.pyc"), "ElementTree"),
}


@pytest.mark.parametrize(("damage", "message"), GAPS.values(), ids=GAPS)
def test_smoke_test_rejects_a_tree_that_lacks_data_for(damage: Damage, message: str, opt: Path) -> None:
    """Imports and a client are not sufficient: botocore reads some data only for a request or a response."""
    damage(opt)
    with pytest.raises(CheckError, match=message):
        smoke_test.run_smoke_test(opt / "logferry", python=built_layer().python, arch=arch_of(built_layer()))


@pytest.mark.parametrize("package", sorted(start_check.UNUSED))
def test_start_check_rejects_a_shipper_that_loads(package: str, opt: Path, tmp_path: Path) -> None:
    """One import in a module of the common path would load the SDK in every execution environment."""
    source = (Path(logferry.__file__).parent / "sinks/s3/sink.py").read_text()
    # The interpreter prefers a source to the bytecode file of the same name.
    (opt / "logferry/site/logferry/sinks/s3/sink.py").write_text(f"{source}\nimport {package}\n")
    with pytest.raises(CheckError, match=rf"the extension loads .*\b{package}\b"):
        _check_start(opt, tmp_path)


def test_start_check_rejects_an_extension_that_fails(opt: Path, tmp_path: Path) -> None:
    """The message contains the output of the extension."""
    (opt / "logferry/main.pyc").unlink()
    with pytest.raises(CheckError, match=r"the extension ended with status \d+:\n.*main\.pyc"):
        _check_start(opt, tmp_path)


def test_start_check_rejects_an_extension_that_stores_nothing(opt: Path, tmp_path: Path) -> None:
    """The supervisor survives a shipper without its sink, so the status alone does not show the fault."""
    next((opt / "logferry/site/logferry/sinks/s3").glob("sink.pyc")).unlink()
    with pytest.raises(CheckError, match=r"the extension stored in \[\]"):
        _check_start(opt, tmp_path)


def _check_start(opt: Path, work: Path) -> None:
    start_check.check_start(opt / "logferry", python=built_layer().python, arch=arch_of(built_layer()), work=work)


def test_wrapper_check_rejects_a_tree_without_hooks(opt: Path) -> None:
    """The wrapper omits a missing hook, so that the function starts. Only the environment shows the fault."""
    (opt / checks.NODE_HOOK).unlink()
    with pytest.raises(CheckError, match="does not add the hooks to NODE_OPTIONS"):
        wrapper_check.check_wrapper(opt, python=built_layer().python, arch=arch_of(built_layer()))


def test_wrapper_check_rejects_a_wrapper_that_fails(opt: Path) -> None:
    """A wrapper that does not execute the program would end every runtime."""
    _replace(opt / checks.EXEC_WRAPPER, b"#!/bin/sh\nexit 3\n")
    with pytest.raises(CheckError, match="ended with status 3"):
        wrapper_check.check_wrapper(opt, python=built_layer().python, arch=arch_of(built_layer()))


def test_archive_contains_the_tree_with_its_modes() -> None:
    """Lambda executes the files that the zip marks executable, and no others."""
    tree = built_layer().tree
    with zipfile.ZipFile(built_layer().archive) as zipped:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in zipped.infolist()}
        assert zipped.testzip() is None
    assert modes == {
        path.relative_to(tree).as_posix(): path.stat().st_mode & 0o777 for path in tree.rglob("*") if path.is_file()
    }
    programs = (tree / checks.LAUNCHER, tree / checks.EXEC_WRAPPER, _find(tree, INTERPRETER), _find(tree, LOADER))
    assert {name for name, mode in modes.items() if mode == 0o755} == {str(path.relative_to(tree)) for path in programs}


def test_archive_rejects_a_link(tmp_path: Path) -> None:
    """Some programs do not unpack a link, so the zip is not written."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to("nowhere")
    with pytest.raises(ValueError, match="link is not a plain file"):
        archive.write(tmp_path / "tree", tmp_path / "layer.zip")
