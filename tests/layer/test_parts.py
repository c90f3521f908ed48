"""The parts of the builder, each with a small input: which files they keep, remove and reject."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from logferry.layer import (
    botocore_data,
    bytecode,
    debian,
    elf,
    inputs,
    notice,
    standard_library,
    subprocesses,
    wheels,
)
from logferry.layer.architecture import ARCHITECTURES, native
from logferry.layer.subprocesses import LayerError
from support.layer_roots import needs_apt

REQUIREMENTS = """\
# by uv
one==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via two
two==2.0 ; python_full_version < '3.13' \\
    --hash=sha256:cc
three==3.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:dd
"""


def test_markers_are_evaluated_for_the_layer() -> None:
    """The interpreter that runs the builder has another version and architecture."""
    x86_64 = list(wheels.applicable(REQUIREMENTS, python="3.13", arch=ARCHITECTURES["x86_64"]))
    arm64 = list(wheels.applicable(REQUIREMENTS, python="3.13", arch=ARCHITECTURES["arm64"]))
    assert x86_64 == ["one==1.0 --hash=sha256:aa --hash=sha256:bb\n"]
    assert arm64 == [*x86_64, "three==3.0 --hash=sha256:dd\n"]


def test_install_rejects_a_wheel_with_another_hash(tmp_path: Path) -> None:
    """A hash that no file of the index has ends the build, and the message contains the purpose."""
    (tmp_path / "requirements.txt").write_text("six==1.17.0 --hash=sha256:" + 64 * "0" + "\n")
    (tmp_path / "work").mkdir()
    with pytest.raises(LayerError, match=r"installing the wheels of requirements\.txt for Python 3\.13 on arm64"):
        wheels.install(
            tmp_path / "requirements.txt",
            python="3.13",
            arch=ARCHITECTURES["arm64"],
            into=tmp_path / "site",
            work=tmp_path / "work",
        )


def test_prune_keeps_modules_and_metadata(tmp_path: Path) -> None:
    """Modules, extension modules and METADATA stay. C sources, type information, tests and scripts are removed."""
    kept = {"a/__init__.py", "a/_fast.so", "a/data.json", "a-1.dist-info/METADATA", "frozenlist/__init__.py"}
    cut = {
        "a/_fast.c",
        "a/_fast.pyx",
        "a/__init__.pyi",
        "a/py.typed",
        "a/tests/test_a.py",
        "bin/a",
        "a-1.dist-info/RECORD",
    }
    cut |= {"a-1.dist-info/licenses/LICENSE", "frozenlist/_frozenlist.cpython-313-x86_64-linux-gnu.so"}
    for name in kept | cut:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "botocore/data").mkdir(parents=True)
    (tmp_path / "botocore/data/endpoints.json").write_text('{"partitions": []}')
    wheels.prune(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == kept | {"botocore/data/endpoints.json"}


SERVICE: dict[str, dict[str, Any]] = {
    "clientContextParams": {"Accelerate": {"documentation": "<p>long</p>"}},
    "operations": {
        "PutObject": {"input": {"shape": "Put"}, "documentation": "<p>long</p>"},
        "DeleteObject": {"input": {"shape": "Delete"}},
    },
    "shapes": {
        "Put": {"members": {"documentation": {"shape": "Text"}, "list": {"shape": "Tree"}}},
        "Tree": {"type": "list", "member": {"shape": "Tree"}},
        "Text": {"type": "string"},
        "Delete": {"members": {"text": {"shape": "Text"}, "only": {"shape": "DeletesOwn"}}},
        "DeletesOwn": {"type": "string"},
    },
}


def test_botocore_data_is_reduced_to_the_operations_that_are_called(tmp_path: Path) -> None:
    """Documentation keys stay with an empty text, because botocore reads them. A member of that name is unchanged."""
    data = tmp_path / "botocore/data"
    for folder in ("s3/2006-03-01", "ec2/2016-11-15"):
        (data / folder).mkdir(parents=True)
        for name in ("service-2", "endpoint-rule-set-1", "paginators-1"):
            content = SERVICE if name == "service-2" else {"rules": [{"documentation": "long"}]}
            (data / folder / f"{name}.json").write_text(json.dumps(content))
    services: dict[str, object] = {"s3": {"endpoints": {}}, "ec2": {"endpoints": {}}}
    (data / "endpoints.json").write_text(json.dumps({"partitions": [{"regions": {"r": {}}, "services": services}]}))
    (data / "_retry.json").write_text("{}")
    botocore_data.prune(tmp_path)
    left = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.json"))
    assert left == [
        *("_retry.json", "endpoints.json"),
        *("s3/2006-03-01/endpoint-rule-set-1.json", "s3/2006-03-01/service-2.json"),
    ]
    service = json.loads((data / "s3/2006-03-01/service-2.json").read_text())
    assert service == {
        "clientContextParams": {"Accelerate": {"documentation": ""}},
        "operations": {"PutObject": {"input": {"shape": "Put"}, "documentation": ""}},
        "shapes": {name: SERVICE["shapes"][name] for name in ("Put", "Tree", "Text")},
    }
    assert json.loads((data / "endpoints.json").read_text()) == {
        "partitions": [{"regions": {"r": {}}, "services": {"s3": {"endpoints": {}}}}]
    }


def test_standard_library_loses_complete_subjects_and_no_small_module(tmp_path: Path) -> None:
    """A copy of the running interpreter's library has every module that a server may import."""
    standard_library.copy(Path(os.__file__).parent, tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names >= {"os.py", "netrc.py", "multiprocessing", "zoneinfo", "xml", "ctypes", "logging", "encodings"}
    assert not names & {"test", "idlelib", "tkinter", "ensurepip", "pydoc.py", "site-packages", "__pycache__"}
    assert not names & {"unittest", "smtplib.py", "_pydecimal.py"}
    assert not list((tmp_path / "copy").rglob("__pycache__"))


def test_standard_library_rejects_another_folder(tmp_path: Path) -> None:
    """A prefix with another layout is an error before any file is copied."""
    with pytest.raises(ValueError, match=r"it lacks os\.py"):
        standard_library.copy(tmp_path, tmp_path / "copy")


def test_elf_reader_returns_the_values_for_the_loader() -> None:
    """The running interpreter names a loader and libc, and is for this machine."""
    read = elf.read(Path(sys.executable).resolve().read_bytes())
    assert read.machine == native().elf_machine
    assert read.interpreter is not None
    assert read.interpreter.endswith(native().loader)
    assert "libc.so.6" in read.needed


def test_elf_reader_rejects_other_files() -> None:
    """A script or a 32-bit file is an error, and not an empty ELF file."""
    for data in (b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)):
        with pytest.raises(ValueError, match="not a 64-bit little-endian ELF file"):
            elf.read(data)


def test_stripped_program_is_shorter_and_runs(tmp_path: Path) -> None:
    """Only bytes that are never mapped are removed: symbols and section headers."""
    source = tmp_path / "answer.c"
    source.write_text("int main(void) { return 42; }\n")
    try:
        subprocess.run(["cc", "-g", str(source), "-o", str(tmp_path / "answer")], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no C compiler for a program with symbols")
    original = (tmp_path / "answer").read_bytes()
    assert elf.read(original).has_symbol_table
    short = elf.stripped(original)
    assert not elf.read(short).has_symbol_table
    assert len(short) < len(original)
    assert elf.stripped(short) == short
    (tmp_path / "answer").write_bytes(short)
    assert subprocess.run([str(tmp_path / "answer")], check=False).returncode == 42


def test_bytecode_replaces_the_sources(tmp_path: Path) -> None:
    """Each file is valid without regard to times, and names its place on Lambda."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("def where():\n    return where.__code__.co_filename\n")
    bytecode.compile_tree(tmp_path, compiler=[sys.executable])
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["__init__.pyc"]
    assert bytecode.is_unchecked((tmp_path / "package/__init__.pyc").read_bytes())
    code = "import sys; sys.path.append(sys.argv[1]); import package; print(package.where())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "/opt/logferry/package/__init__.py\n"


SOURCE = '''\
"""A module."""
from __future__ import annotations
import dataclasses

def documented(number: int) -> int:
    """A function."""
    assert number, "kept"
    return 1 / (
        number - 1)

class Documented:
    """A class with only a docstring."""

@dataclasses.dataclass
class Data:
    """Data's own."""
'''


def test_bytecode_has_no_docstrings(tmp_path: Path) -> None:
    """Assertions, annotations and lines of tracebacks stay. A data class keeps its docstring."""
    (tmp_path / "module.py").write_text(SOURCE)
    bytecode.compile_tree(tmp_path, compiler=[sys.executable])
    program = """if True:
        import sys, traceback
        sys.path.append(sys.argv[1])
        import module
        print(module.__doc__, module.documented.__doc__, module.Documented.__doc__, module.Data.__doc__)
        print(module.documented.__annotations__)
        for number in (0, 1):
            try:
                module.documented(number)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                print(repr(error), where.lineno, where.colno)
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "None None None Data's own.",
        "{'number': 'int', 'return': 'int'}",
        "AssertionError('kept') 7 None",
        "ZeroDivisionError('division by zero') 8 None",
    ]


def test_bytecode_ends_the_build_for_a_source_that_does_not_compile(tmp_path: Path) -> None:
    """The module would be missing in the layer. The message names it."""
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(LayerError, match="broken"):
        bytecode.compile_tree(tmp_path, compiler=[sys.executable])


def test_notice_contains_a_licence_text_once() -> None:
    """NOTICE would be twice as long otherwise. The second package refers to the first."""
    components = [notice.Component("one 1", ("Text of terms\n",)), notice.Component("two 2", ("Text of terms", "More"))]
    text = notice.compose(home="/opt/logferry", provenance=["libc6 2.41"], components=components)
    assert text.count("Text of terms") == 1
    assert "The text under 'one 1' applies." in text
    assert "More" in text
    assert "  libc6 2.41\n" in text


def _machine(folder: Path, monkeypatch: pytest.MonkeyPatch, *, targets: str) -> None:
    """Replace apt-get with a stand-in that has these sources only."""
    script = folder / "apt-get"
    script.write_text(f"#!/bin/sh\n[ $1 = indextargets ] && printf '{targets}' || exit 100\n")
    script.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name, **_: str(script) if name == "apt-get" else None)


def test_unpack_names_the_remedy_on_another_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources do not name the archive there. The remedy is an image of Debian, or --interpreter."""
    _machine(tmp_path, monkeypatch, targets=r"http://archive.example/ubuntu/ noble universe\n")
    with pytest.raises(LayerError, match=r"name no Debian archive .* --interpreter"):
        debian.unpack(["bash"], suite="trixie", debian_arch="amd64", into=tmp_path / "root", cache=tmp_path)


def test_unpack_names_the_remedy_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is the same on a machine without apt."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LayerError, match="'apt-get' is missing: build on Debian"):
        debian.unpack(["bash"], suite="trixie", debian_arch="amd64", into=tmp_path / "root", cache=tmp_path)


@needs_apt
@pytest.mark.slow
def test_unpack_ends_if_the_index_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default apt-get reports success for an index that it cannot download, and the next step fails instead."""
    source = "Types: deb\nURIs: http://127.0.0.1:1/\nSuites: trixie\nComponents: main\n"
    monkeypatch.setattr(debian, "_sources", lambda _: source)
    with pytest.raises(LayerError, match="reading the index of Debian trixie: apt-get ended with status 100"):
        debian.unpack(["bash"], suite="trixie", debian_arch="amd64", into=tmp_path / "root", cache=tmp_path)


def test_cache_folder_follows_the_xdg_specification() -> None:
    """The variable names the folder if it is set. Otherwise it is in the home folder."""
    assert debian.cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/logferry")
    assert debian.cache_folder({}) == Path.home() / ".cache/logferry"


def test_run_reports_the_purpose_of_a_failed_program() -> None:
    """The message contains the purpose, the cause and the end of the output."""
    with pytest.raises(LayerError, match=r"trying: sh ended with status 3:\nbroken"):
        subprocesses.run(["sh", "-c", "echo broken >&2; exit 3"], purpose="trying")
    with pytest.raises(LayerError, match="trying: cannot start /nonexistent"):
        subprocesses.run(["/nonexistent"], purpose="trying")


def test_hooks_have_bytecode_for_the_layers_python_and_sources_for_the_others(tmp_path: Path) -> None:
    """The bytecode is used without a look at the source, which a layer's zip gives another time."""
    hooks = tmp_path / "hooks"
    shutil.copytree(inputs.find(inputs.HOOKS) / "python", hooks, ignore=shutil.ignore_patterns("__pycache__"))
    sources = sorted(hooks.rglob("*.py"))
    bytecode.compile_hooks(hooks, compilers={"{}.{}".format(*sys.version_info): [sys.executable]})
    compiled = [Path(importlib.util.cache_from_source(str(source))) for source in sources]
    assert all(bytecode.is_unchecked(path.read_bytes()) for path in compiled)
    assert all(source.exists() for source in sources)
    for source in sources:
        source.write_text("raise SystemExit('the source was compiled')")
    look = "import logferry_hook.recorder"
    done = subprocess.run([sys.executable, "-S", "-c", look], env={"PYTHONPATH": str(hooks)}, check=False, timeout=30)
    assert done.returncode == 0
