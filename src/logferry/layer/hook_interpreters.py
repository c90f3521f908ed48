"""Interpreters of this machine that compile the Python hook for the versions of functions.

Guarantees:
- There is at most one interpreter for each version: the first one that the user names, else the first one on PATH.
- A named interpreter that cannot be used is an error. One on PATH that does not start is passed over.
- Pre-releases and other implementations than CPython are not used, because their bytecode is not that of Lambda.

Design: the layer is read-only, so a function whose version has no bytecode compiles the hook at each cold start. The
bytecode of a version is the same for all its patch releases and for both architectures, and no other version reads it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from logferry.layer.subprocesses import LayerError, run

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""Versions of Python that the hook supports."""
_CODE = "import sys; v = sys.version_info; print('%d.%d %s %s' % (v[0], v[1], v[3], sys.implementation.name))"


def find_interpreters(named: Sequence[Path], *, search: str | None = None) -> Mapping[str, Path]:
    """Return an interpreter for each version that was found. Raises LayerError for a named one that cannot be used.

    `search` replaces PATH.
    """
    found: dict[str, Path] = {}
    for path in named:
        found.setdefault(_usable_version(path), path)
    for version in VERSIONS:
        program = shutil.which(f"python{version}", path=search if search is not None else os.environ.get("PATH"))
        if version not in found and program and _version(Path(program)) == version:
            found[version] = Path(program)
    return {version: found[version] for version in VERSIONS if version in found}


def _usable_version(path: Path) -> str:
    version = _version(path)
    if version not in VERSIONS:
        raise LayerError(
            f"--hook-python {path}: it is no released CPython of a supported version; "
            f"name a program of one of {', '.join(VERSIONS)}"
        )
    return version


def _version(path: Path) -> str:
    """Return the version of an interpreter, or an empty text if it is none of a released CPython."""
    try:
        output = run([path, "-I", "-S", "-c", _CODE], purpose=f"reading the version of {path}")
    except LayerError:
        return ""
    version, level, implementation = [*output.split(), "", "", ""][:3]
    return version if (level, implementation) == ("final", "cpython") else ""
