"""What must hold of a built tree before it may be shipped. Each gate looks at the files alone, and says what is wrong.

A layer that is not whole does not fail at its author's: it fails a customer's functions, all of them, at the first
invocation. So every trap that was met once while the layer was made is a gate here, and the builder hands out nothing
that has not passed them all. They are functions of a folder (the tree as it will stand below `/opt`), so that a test
can break a copy and see each one fail.
"""

import stat
from collections.abc import Iterator
from pathlib import Path

from logferry.layer import elf, libraries
from logferry.layer.architecture import HOME, Architecture
from logferry.layer.bytecode import is_unchecked
from logferry.layer.subprocesses import LayerError

LAUNCHER = Path("extensions/logferry")
TREE_LIMIT_BYTES = 36_000_000
"""Unzipped; Lambda allows 250 MB for the function and all its layers together."""
ARCHIVE_LIMIT_BYTES = 14_000_000

_REBUILD = "build it again with `logferry layer build`; if it comes back, the builder has a fault"


class GateError(LayerError):
    """A built tree or archive is not fit to ship."""


def check(opt: Path, *, python: str, arch: Architecture) -> None:
    """Pass a tree through every gate; GateError at the first that it does not pass."""
    names_under_opt(opt)
    run_bits(opt, python=python, arch=arch)
    machine(opt, arch=arch)
    launcher_is_static(opt)
    interpreter_is_pinned(opt, python=python, arch=arch)
    no_other_search_path(opt, python=python)
    libraries_are_inside(opt)
    libc_finds_its_helper(opt)
    loader_reads_no_host_file(opt, arch=arch)
    bytecode_is_unchecked(opt)
    size_of_tree(opt)


def names_under_opt(opt: Path) -> None:
    """Only our two names, and in `extensions` only the launcher: Lambda executes every file that is there."""
    if extra := sorted({path.name for path in opt.iterdir()} ^ {"extensions", "logferry"}):
        raise GateError(
            f"/opt must hold `extensions` and `logferry` alone; this is too much or missing: {', '.join(extra)}"
        )
    found = sorted(path.relative_to(opt).as_posix() for path in (opt / "extensions").rglob("*"))
    if found != [LAUNCHER.as_posix()]:
        raise GateError(
            f"Lambda starts every file of /opt/extensions, so only the launcher may be there; found: {found}"
        )


def run_bits(opt: Path, *, python: str, arch: Architecture) -> None:
    """Programs are executable by all, everything is readable by all, nothing is writable by others."""
    programs = {opt / LAUNCHER, opt / f"logferry/bin/python{python}", opt / "logferry/lib" / arch.loader}
    for path in sorted(opt.rglob("*")):
        mode = path.lstat().st_mode
        name = path.relative_to(opt)
        if stat.S_ISLNK(mode):
            raise GateError(f"{name} is a link; a zip does not carry it: {_REBUILD}")
        wanted = libraries.PROGRAM_MODE if path.is_dir() or path in programs else libraries.FILE_MODE
        if stat.S_IMODE(mode) != wanted:
            raise GateError(f"{name} has mode {stat.S_IMODE(mode):04o}, it must be {wanted:04o}: {_REBUILD}")
    if absent := [path for path in sorted(programs) if not path.is_file()]:
        raise GateError(f"{absent[0].relative_to(opt)} is missing: {_REBUILD}")


def machine(opt: Path, *, arch: Architecture) -> None:
    """Every ELF file is the layer's architecture's."""
    for name, read in _elves(opt):
        if read.machine != arch.elf_machine:
            raise GateError(
                f"{name} is for another machine (e_machine {read.machine}), the layer is {arch.name}'s: {_REBUILD}"
            )


def launcher_is_static(opt: Path) -> None:
    """The launcher needs no loader: it must start where the function's variables would kill a dynamic program."""
    read = elf.read((opt / LAUNCHER).read_bytes())
    if read.interpreter is not None or read.needed:
        raise GateError(
            f"the launcher is linked dynamically (needs {read.interpreter}): compile it with -static -nostdlib"
        )


def interpreter_is_pinned(opt: Path, *, python: str, arch: Architecture) -> None:
    """The interpreter names the tree's loader, and has a DT_RPATH, which LD_LIBRARY_PATH cannot precede."""
    read = elf.read((opt / f"logferry/bin/python{python}").read_bytes())
    loader = str(HOME / "lib" / arch.loader)
    if read.interpreter != loader:
        raise GateError(f"the interpreter is loaded by {read.interpreter}, not by {loader}: {_REBUILD}")
    if read.rpath != libraries.RPATH or read.runpath is not None:
        raise GateError(
            f"the interpreter must have DT_RPATH {libraries.RPATH} and no DT_RUNPATH (which comes after the function's "
            f"LD_LIBRARY_PATH); it has RPATH {read.rpath}, RUNPATH {read.runpath}: patchelf needs --force-rpath"
        )


def no_other_search_path(opt: Path, *, python: str) -> None:
    """No library or module has a search path of its own."""
    executable = f"logferry/bin/python{python}"
    for name, read in _elves(opt):
        if name != executable and (read.rpath is not None or read.runpath is not None):
            raise GateError(
                f"{name} looks for libraries in {read.rpath or read.runpath}: patchelf --remove-rpath takes that away"
            )


def libraries_are_inside(opt: Path) -> None:
    """Each library that any file needs is in `lib`."""
    present = {path.name for path in (opt / "logferry/lib").iterdir()}
    for name, read in _elves(opt):
        if missing := sorted(set(read.needed) - present):
            raise GateError(f"{name} needs {', '.join(missing)}, which the tree does not have: {_REBUILD}")


def libc_finds_its_helper(opt: Path) -> None:
    """What glibc opens by name is there: without libgcc_s an exit with a live thread aborts the process."""
    for name in libraries.OPENED_BY_NAME:
        if not (opt / "logferry/lib" / name).is_file():
            raise GateError(f"lib/{name} is missing, which glibc opens by name in pthread_exit: {_REBUILD}")


def loader_reads_no_host_file(opt: Path, *, arch: Architecture) -> None:
    """The loader does not look at the host's ld.so.preload and ld.so.cache."""
    data = (opt / "logferry/lib" / arch.loader).read_bytes()
    for name in libraries.HOST_FILES_OF_LOADER:
        if name in data:
            raise GateError(f"{arch.loader} still reads {name.decode()[:-1]} of its host: {_REBUILD}")


def bytecode_is_unchecked(opt: Path) -> None:
    """No source is left, no cache folder, and no bytecode file that a cold start would find stale."""
    for path in sorted((opt / "logferry").rglob("*")):
        name = path.relative_to(opt)
        if path.name == "__pycache__" or path.suffix == ".py":
            raise GateError(f"{name} would be compiled at every cold start, as /opt is read-only: {_REBUILD}")
        if path.suffix == ".pyc" and not is_unchecked(path.read_bytes()):
            raise GateError(f"{name} is checked against a source that is not there: compile it with unchecked-hash")


def size_of_tree(opt: Path, *, limit: int = TREE_LIMIT_BYTES) -> None:
    """The tree keeps to its budget, in bytes."""
    size = sum(path.stat().st_size for path in opt.rglob("*") if path.is_file())
    if size > limit:
        raise GateError(
            f"the tree has {size:,} bytes, its budget is {limit:,}: find what grew with `--output`'s report by part"
        )


def size_of_archive(archive: Path, *, limit: int = ARCHIVE_LIMIT_BYTES) -> None:
    """The zip keeps to its budget, in bytes."""
    if (size := archive.stat().st_size) > limit:
        raise GateError(
            f"{archive.name} has {size:,} bytes, its budget is {limit:,}: find what grew in the report by part"
        )


def _elves(opt: Path) -> Iterator[tuple[str, elf.Elf]]:
    for path in libraries.files(opt):
        yield path.relative_to(opt).as_posix(), elf.read(path.read_bytes())
