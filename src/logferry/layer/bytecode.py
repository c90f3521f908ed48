"""The tree's Python as bytecode alone.

Sources are compiled once, here, with the hash-based, unchecked validation of PEP 552: /opt is read-only, so whatever
a cold start had to compile it would compile again each time, and a zip's two-second local timestamps make every
timestamp-based file look stale. The sources then go (a quarter of the zip); tracebacks keep file names and line
numbers. What the bytecode leaves out of them besides is in `compiler`.

The same interpreter always gives the same bytes: one process, a sorted walk, a fixed hash seed (a frozenset's constants
are written in its order).
"""

import importlib.util
from pathlib import Path

from logferry.layer import compiler as program
from logferry.layer.architecture import HOME
from logferry.layer.compiler import UNCHECKED_HASH
from logferry.layer.subprocesses import LayerError, run

_FIXED = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def compile_tree(home: Path, *, compiler: list[str]) -> None:
    """Turn every source below the tree into a bytecode file beside it, and remove the sources.

    `compiler` is the command that starts an interpreter of the layer's version on this machine. Raises LayerError when
    a source does not compile.
    """
    # Not isolated (-I), which would ignore the seed; the environment is exactly what is given here. Safe paths (-P), as
    # the program's own folder has an `archive.py` and others that are not for it.
    options = ["-S", "-s", "-P", "-B", "-X", "no_debug_ranges", "-W", "ignore"]
    command = [*compiler, *options, program.__file__, str(home), str(HOME)]
    run(command, purpose="compiling the tree to bytecode", environment=_FIXED)
    for source in sorted(home.rglob("*.py")):
        if not source.with_suffix(".pyc").exists():
            raise LayerError(f"{source.relative_to(home)} was not compiled: it is not valid in the layer's Python")
        source.unlink()


def is_unchecked(data: bytes) -> bool:
    """Tell whether a bytecode file is loaded without a look at its source or its time."""
    magic_size = len(importlib.util.MAGIC_NUMBER)
    return data[magic_size : magic_size + len(UNCHECKED_HASH)] == UNCHECKED_HASH
