"""Checks of a built tree and its zip, before the builder releases them.

Guarantees:
- Each check reads files only, and raises CheckError with the file, the fault and the remedy.
- The builder releases a tree only after all checks have passed.

Design: an incomplete layer can be built without an error. Every function that uses it fails at its
first invocation. Each check stands for a fault that occurred while the layer was
developed. The checks are functions of a folder (the content of `/opt`), so that a test can damage a
copy and observe each failure.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from logferry.layer import elf, inputs, libraries
from logferry.layer.architecture import HOME, Architecture
from logferry.layer.bytecode import is_unchecked
from logferry.layer.subprocesses import LayerError

LAUNCHER = Path("extensions/logferry")
EXEC_WRAPPER = Path("logferry-wrap")
HOOKS = Path("logferry/hooks")
NODE_HOOK = HOOKS / "node.cjs"


@dataclass(frozen=True)
class SizeLimits:
    """Size limits of a layer, in bytes."""

    tree: int
    """Limit of the unzipped tree. Lambda allows 250 MB for a function with all its layers."""
    archive: int
    """Limit of the zip."""


FULL = SizeLimits(tree=41_000_000, archive=15_300_000)
SLIM = SizeLimits(tree=29_500_000, archive=11_500_000)
"""Limits of a layer without the AWS SDK, RE2 and zstd."""

_REBUILD = "build it again with `logferry layer build`; if the fault remains, it is a fault of the builder"


class CheckError(LayerError):
    """A fault of a built tree or zip."""


def check(opt: Path, *, python: str, arch: Architecture, limits: SizeLimits = FULL) -> None:
    """Run all checks on a tree. Raises CheckError at the first fault."""
    check_names_under_opt(opt)
    check_modes(opt, python=python, arch=arch)
    check_machine(opt, arch=arch)
    check_programs_are_static(opt)
    check_hooks(opt)
    check_interpreter_search_path(opt, python=python, arch=arch)
    check_other_search_paths(opt, python=python)
    check_libraries_are_inside(opt)
    check_libraries_opened_by_name(opt)
    check_loader_reads_no_host_file(opt, arch=arch)
    check_bytecode_is_unchecked(opt)
    check_tree_size(opt, limit=limits.tree)


def check_names_under_opt(opt: Path) -> None:
    """Require the three names of logferry, and the launcher as the only extension: Lambda executes each file there."""
    names = {"extensions", "logferry", EXEC_WRAPPER.name}
    if difference := sorted({path.name for path in opt.iterdir()} ^ names):
        raise CheckError(
            f"/opt must contain {', '.join(sorted(names))} only; unexpected or missing: {', '.join(difference)}"
        )
    found = sorted(path.relative_to(opt).as_posix() for path in (opt / "extensions").rglob("*"))
    if found != [LAUNCHER.as_posix()]:
        raise CheckError(
            f"Lambda executes every file of /opt/extensions, so it must contain the launcher only; found: {found}"
        )


def check_modes(opt: Path, *, python: str, arch: Architecture) -> None:
    """Require that all users can execute programs and read every file, and that only the owner can write."""
    interpreter = opt / f"logferry/bin/python{python}"
    programs = {opt / LAUNCHER, opt / EXEC_WRAPPER, interpreter, opt / "logferry/lib" / arch.loader}
    for path in sorted(opt.rglob("*")):
        mode = path.lstat().st_mode
        name = path.relative_to(opt)
        if stat.S_ISLNK(mode):
            raise CheckError(f"{name} is a link, which a zip does not contain; {_REBUILD}")
        required = libraries.PROGRAM_MODE if path.is_dir() or path in programs else libraries.FILE_MODE
        if stat.S_IMODE(mode) != required:
            raise CheckError(f"{name} has mode {stat.S_IMODE(mode):04o}, required is {required:04o}; {_REBUILD}")
    if missing := [path for path in sorted(programs) if not path.is_file()]:
        raise CheckError(f"{missing[0].relative_to(opt)} is missing; {_REBUILD}")


def check_machine(opt: Path, *, arch: Architecture) -> None:
    """Require that each ELF file is for the architecture of the layer."""
    for name, values in _elf_files(opt):
        if values.machine != arch.elf_machine:
            raise CheckError(
                f"{name} is for another machine (e_machine {values.machine}), the layer is for {arch.name}; {_REBUILD}"
            )


def check_programs_are_static(opt: Path) -> None:
    """Require programs without a loader: the function's variables could end a dynamic program before it starts."""
    for program in (LAUNCHER, EXEC_WRAPPER):
        values = elf.read((opt / program).read_bytes())
        if values.interpreter is not None or values.needed:
            raise CheckError(
                f"{program} is linked dynamically (needs {values.interpreter}); compile it with -static -nostdlib"
            )


def check_hooks(opt: Path) -> None:
    """Require each hook of the sources with the same bytes."""
    sources = inputs.find(inputs.HOOKS)
    expected = {path.relative_to(sources) for path in sources.rglob("*") if path.suffix in (".cjs", ".py")}
    for name in sorted(expected | {NODE_HOOK.relative_to(HOOKS)}):
        hook = opt / HOOKS / name
        if not hook.is_file() or hook.read_bytes() != (sources / name).read_bytes():
            raise CheckError(f"{HOOKS / name} is missing, or differs from its source; {_REBUILD}")


def check_interpreter_search_path(opt: Path, *, python: str, arch: Architecture) -> None:
    """Require the tree's loader and DT_RPATH in the interpreter: LD_LIBRARY_PATH does not precede DT_RPATH."""
    values = elf.read((opt / f"logferry/bin/python{python}").read_bytes())
    loader = str(HOME / "lib" / arch.loader)
    if values.interpreter != loader:
        raise CheckError(f"the loader of the interpreter is {values.interpreter} and not {loader}; {_REBUILD}")
    if values.rpath != libraries.RPATH or values.runpath is not None:
        raise CheckError(
            f"the interpreter must have DT_RPATH {libraries.RPATH} and no DT_RUNPATH (LD_LIBRARY_PATH precedes it); "
            f"it has RPATH {values.rpath} and RUNPATH {values.runpath}; patchelf needs --force-rpath"
        )


def check_other_search_paths(opt: Path, *, python: str) -> None:
    """Require that no library and no extension module has a search path."""
    executable = f"logferry/bin/python{python}"
    for name, values in _elf_files(opt):
        if name != executable and (values.rpath is not None or values.runpath is not None):
            raise CheckError(
                f"{name} searches libraries in {values.rpath or values.runpath}; remove it with patchelf --remove-rpath"
            )


def check_libraries_are_inside(opt: Path) -> None:
    """Require each library that a file needs in `lib`."""
    present = {path.name for path in (opt / "logferry/lib").iterdir()}
    for name, values in _elf_files(opt):
        if missing := sorted(set(values.needed) - present):
            raise CheckError(f"{name} needs {', '.join(missing)}, which is not in the tree; {_REBUILD}")


def check_libraries_opened_by_name(opt: Path) -> None:
    """Require the library that glibc opens by name: without it, an exit with a live thread aborts the process."""
    for name in libraries.OPENED_BY_NAME:
        if not (opt / "logferry/lib" / name).is_file():
            raise CheckError(f"lib/{name} is missing, which glibc opens by name in pthread_exit; {_REBUILD}")


def check_loader_reads_no_host_file(opt: Path, *, arch: Architecture) -> None:
    """Require a loader without the names of the host's ld.so.preload and ld.so.cache."""
    data = (opt / "logferry/lib" / arch.loader).read_bytes()
    for name in libraries.HOST_FILES_OF_LOADER:
        if name in data:
            raise CheckError(f"{arch.loader} reads {name.decode()[:-1]} of its host; {_REBUILD}")


def check_bytecode_is_unchecked(opt: Path) -> None:
    """Require that no source of logferry and no cache folder is left, and that no bytecode file can look stale."""
    for path in sorted((opt / "logferry").rglob("*")):
        name = path.relative_to(opt)
        if (path.suffix == ".py" or path.name == "__pycache__") and path.is_relative_to(opt / HOOKS):
            continue  # other versions of Python than that of the layer compile it
        if path.name == "__pycache__" or path.suffix == ".py":
            raise CheckError(f"{name} would be compiled at every cold start, because /opt is read-only; {_REBUILD}")
        if path.suffix == ".pyc" and not is_unchecked(path.read_bytes()):
            raise CheckError(f"{name} is validated against a source that is missing; compile it with unchecked-hash")


def check_tree_size(opt: Path, *, limit: int) -> None:
    """Require a size of the tree within its limit, in bytes."""
    size = sum(path.stat().st_size for path in opt.rglob("*") if path.is_file())
    if size > limit:
        raise CheckError(f"the tree has {size:,} bytes, its limit is {limit:,}; compare the parts with an older build")


def check_archive_size(archive: Path, *, limit: int) -> None:
    """Require a size of the zip within its limit, in bytes."""
    if (size := archive.stat().st_size) > limit:
        raise CheckError(
            f"{archive.name} has {size:,} bytes, its limit is {limit:,}; compare the parts with an older build"
        )


def _elf_files(opt: Path) -> Iterator[tuple[str, elf.Elf]]:
    for path in libraries.files(opt):
        yield path.relative_to(opt).as_posix(), elf.read(path.read_bytes())
