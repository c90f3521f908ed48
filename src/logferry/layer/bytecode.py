"""Compilation of the tree's Python sources to bytecode.

Guarantees:
- The tree contains bytecode and no source, except for the hooks. Tracebacks contain file names and line numbers.
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


def compile_hooks(hooks: Path, *, compiler: list[str]) -> None:
    """Compile the Python hook for functions with the layer's version of Python, and keep the sources for all others.

    A layer is read-only, so that version would compile the sources at each cold start.
    """
    _compile(hooks, HOME / "hooks/python", "cache", compiler=compiler)


def _compile(folder: Path, place: PurePosixPath, *options: str, compiler: list[str]) -> None:
    # Isolated mode (-I) would ignore the hash seed, so the environment is replaced instead. Safe paths (-P) hide the
    # modules in the folder of the program, such as `archive.py`.
    flags = ["-S", "-s", "-P", "-B", "-X", "no_debug_ranges", "-W", "ignore"]
    command = [*compiler, *flags, program.__file__, str(folder), str(place), *options]
    run(command, purpose="compiling the tree to bytecode", environment=_FIXED)


def is_unchecked(data: bytes) -> bool:
    """Return whether a bytecode file is valid without regard to its source and time."""
    magic_size = len(importlib.util.MAGIC_NUMBER)
    return data[magic_size : magic_size + len(UNCHECKED_HASH)] == UNCHECKED_HASH
