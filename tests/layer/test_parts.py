"""The builder's parts, each on a small input: what they keep, what they cut, what they refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from logferry.layer import botocore_data, bytecode, debian, elf, notice, standard_library, subprocesses, wheels
from logferry.layer.architecture import ARCHITECTURES, native
from logferry.layer.subprocesses import LayerError

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


def test_markers_are_judged_for_the_layer() -> None:
    """Not for the interpreter that builds, which is another version on another machine."""
    x86_64 = list(wheels.applicable(REQUIREMENTS, python="3.13", arch=ARCHITECTURES["x86_64"]))
    arm64 = list(wheels.applicable(REQUIREMENTS, python="3.13", arch=ARCHITECTURES["arm64"]))
    assert x86_64 == ["one==1.0 --hash=sha256:aa --hash=sha256:bb\n"]
    assert arm64 == [*x86_64, "three==3.0 --hash=sha256:dd\n"]


def test_a_requirement_that_is_not_what_was_reviewed_is_refused(tmp_path: Path) -> None:
    """A hash that no file on the index has ends the build, and the message says for what."""
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


def test_pruning_keeps_what_runs_and_what_scanners_read(tmp_path: Path) -> None:
    """Modules, extension modules and METADATA stay; sources of C, types, tests and scripts go."""
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


def test_botocores_data_is_cut_to_the_operations_that_are_called(tmp_path: Path) -> None:
    """Documentation is emptied, not removed: botocore asks for the key. A member of that name is not touched."""
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


def test_the_standard_library_loses_whole_subjects_and_no_small_module(tmp_path: Path) -> None:
    """The running interpreter's own is copied: what a server may import is there."""
    standard_library.copy(Path(os.__file__).parent, tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names >= {"os.py", "netrc.py", "multiprocessing", "zoneinfo", "xml", "ctypes", "logging", "encodings"}
    assert not names & {"test", "idlelib", "tkinter", "ensurepip", "pydoc.py", "site-packages", "__pycache__"}
    assert not list((tmp_path / "copy").rglob("__pycache__"))


def test_a_folder_that_is_no_standard_library_is_refused(tmp_path: Path) -> None:
    """A prefix of another layout is told apart before anything is copied."""
    with pytest.raises(ValueError, match=r"it lacks os\.py"):
        standard_library.copy(tmp_path, tmp_path / "copy")


def test_an_elf_file_is_read_as_its_loader_reads_it() -> None:
    """The running interpreter names a loader and libc, and is for this machine."""
    read = elf.read(Path(sys.executable).resolve().read_bytes())
    assert read.machine == native().elf_machine
    assert read.interpreter is not None
    assert read.interpreter.endswith(native().loader)
    assert "libc.so.6" in read.needed


def test_what_is_no_elf_file_is_refused() -> None:
    """A script or a 32-bit file is not taken for an empty ELF file."""
    for data in (b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)):
        with pytest.raises(ValueError, match="not a 64-bit little-endian ELF file"):
            elf.read(data)


def test_a_stripped_program_is_shorter_and_runs(tmp_path: Path) -> None:
    """Only what is never mapped goes: symbols and section headers."""
    source = tmp_path / "answer.c"
    source.write_text("int main(void) { return 42; }\n")
    try:
        subprocess.run(["cc", "-g", str(source), "-o", str(tmp_path / "answer")], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no C compiler to make an unstripped program with")
    whole = (tmp_path / "answer").read_bytes()
    assert elf.read(whole).has_symbol_table
    short = elf.stripped(whole)
    assert not elf.read(short).has_symbol_table
    assert len(short) < len(whole)
    assert elf.stripped(short) == short
    (tmp_path / "answer").write_bytes(short)
    assert subprocess.run([str(tmp_path / "answer")], check=False).returncode == 42


def test_bytecode_replaces_the_sources_and_needs_none(tmp_path: Path) -> None:
    """Each file is valid whatever the times say, and names the place where it will stand."""
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
    """A class, of nothing but this."""

@dataclasses.dataclass
class Data:
    """Data's own."""
'''


def test_bytecode_has_no_docstrings_but_all_else(tmp_path: Path) -> None:
    """Asserts still refuse, annotations can be read, tracebacks have lines; a dataclass keeps its docstring."""
    (tmp_path / "module.py").write_text(SOURCE)
    bytecode.compile_tree(tmp_path, compiler=[sys.executable])
    job = """if True:
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
        [sys.executable, "-I", "-S", "-c", job, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "None None None Data's own.",
        "{'number': 'int', 'return': 'int'}",
        "AssertionError('kept') 7 None",
        "ZeroDivisionError('division by zero') 8 None",
    ]


def test_a_source_that_does_not_compile_ends_the_build(tmp_path: Path) -> None:
    """It would be missing at a customer's; the message shows which."""
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(LayerError, match="broken"):
        bytecode.compile_tree(tmp_path, compiler=[sys.executable])


def test_the_same_licence_text_is_printed_once() -> None:
    """NOTICE would be twice as long; the second package names the first."""
    components = [notice.Component("one 1", ("Text of terms\n",)), notice.Component("two 2", ("Text of terms", "More"))]
    text = notice.compose(home="/opt/logferry", provenance=["libc6 2.41"], components=components)
    assert text.count("Text of terms") == 1
    assert "The text under 'one 1' applies." in text
    assert "More" in text
    assert "  libc6 2.41\n" in text


# --- apt


def _machine(folder: Path, monkeypatch: pytest.MonkeyPatch, *, targets: str) -> None:
    """Put a stand-in of apt-get before the real one, which knows these sources alone."""
    script = folder / "apt-get"
    script.write_text(f"#!/bin/sh\n[ $1 = indextargets ] && printf '{targets}' || exit 100\n")
    script.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name, **_: str(script) if name == "apt-get" else None)


def test_a_machine_whose_sources_are_not_debians_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another distribution the archive cannot be derived: an image of Debian or --interpreter is the way."""
    _machine(tmp_path, monkeypatch, targets=r"http://archive.example/ubuntu/ noble universe\n")
    with pytest.raises(LayerError, match=r"name no Debian archive .* --interpreter"):
        debian.unpack(["bash"], suite="trixie", debian_arch="amd64", into=tmp_path / "root", cache=tmp_path)


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where there is no apt at all."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LayerError, match="'apt-get' is missing: build on Debian"):
        debian.unpack(["bash"], suite="trixie", debian_arch="amd64", into=tmp_path / "root", cache=tmp_path)


def test_the_cache_is_where_the_user_has_it() -> None:
    """XDG Base Directory Specification: the variable when it is set, else below the home folder."""
    assert debian.cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/logferry")
    assert debian.cache_folder({}) == Path.home() / ".cache/logferry"


def test_a_program_that_fails_or_is_missing_is_named_with_its_purpose() -> None:
    """What failed, why, and the end of what it said."""
    with pytest.raises(LayerError, match=r"trying: sh ended with status 3:\nalas"):
        subprocesses.run(["sh", "-c", "echo alas >&2; exit 3"], purpose="trying")
    with pytest.raises(LayerError, match="trying: cannot start /nonexistent"):
        subprocesses.run(["/nonexistent"], purpose="trying")
