"""Compilation of the tree's Python sources to bytecode.

Guarantees:
- The tree contains bytecode and no source. The hooks have both. Tracebacks contain file names and line numbers.
- Each bytecode file has the hash-based, unchecked validation of PEP 552.
- The same interpreter gives the same bytes: one process, a sorted walk and a fixed hash seed. The
  seed matters because the constants of a frozenset are written in its order.

Design: `/opt` is read-only, so a cold start would compile the same sources each time. A zip has
local timestamps with a resolution of two seconds, so every timestamp-based file would look stale.
The sources are a quarter of the zip. The module `compiler` describes what else the bytecode leaves
out.

References: PEP 552, "Deterministic pycs".
"""

import importlib.util
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from logferry.layer import compiler as program
from logferry.layer.architecture import HOME
from logferry.layer.compiler import UNCHECKED_HASH
from logferry.layer.subprocesses import LayerError, run

_FIXED = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def compile_tree(home: Path, *, compiler: list[str]) -> None:
    """Compile every source below the tree to a bytecode file in the same folder, and remove the sources.

    `compiler` is the command that starts an interpreter of the layer's version on this machine.
    Raises LayerError if a source does not compile.
    """
    _compile(home, HOME, compiler=compiler)
    for source in sorted(home.rglob("*.py")):
        if not source.with_suffix(".pyc").exists():
            raise LayerError(f"{source.relative_to(home)} was not compiled: it is not valid in the layer's Python")
        source.unlink()


def compile_hooks(hooks: Path, *, compilers: Mapping[str, Sequence[str | Path]]) -> None:
    """Compile the Python hook for functions once for each version, and keep the sources for all other versions.

    `compilers` has the command of an interpreter for each version. Raises LayerError if one has written no bytecode.
    """
    for version, compiler in compilers.items():
        _compile(hooks, HOME / "hooks/python", "cache", compiler=compiler)
        tag = f"cpython-{version.replace('.', '')}"
        for source in hooks.rglob("*.py"):
            if not (source.parent / f"__pycache__/{source.stem}.{tag}.pyc").is_file():
                raise LayerError(f"{compiler[0]} has not compiled {source.name} for Python {version}")


def _compile(folder: Path, place: PurePosixPath, *options: str, compiler: Sequence[str | Path]) -> None:
    # Isolated mode (-I) would ignore the hash seed, so the environment is replaced instead. The program is executed
    # from a separate folder: other modules of this folder, such as `archive.py`, would hide those of the library.
    flags = ["-S", "-s", "-B", "-X", "no_debug_ranges", "-W", "ignore"]
    with tempfile.TemporaryDirectory() as separate:
        script = shutil.copy(program.__file__, separate)
        command = [*compiler, *flags, script, str(folder), str(place), *options]
        run(command, purpose="compiling the tree to bytecode", environment=_FIXED)


def is_unchecked(data: bytes) -> bool:
    """Return whether a bytecode file is valid without regard to its source and time."""
    magic_size = len(importlib.util.MAGIC_NUMBER)
    return data[magic_size : magic_size + len(UNCHECKED_HASH)] == UNCHECKED_HASH
