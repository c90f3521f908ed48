"""The source of the layer's CPython: Debian's packages by default, or a prefix that the user names.

Both sources give the same description, `Interpreter`, and the rest of the builder does not
distinguish them.

Design: Debian's build is the default, because it is fast and has security updates, and needs
neither Docker nor root privileges. Profile-guided optimisation and a statically linked libpython
save a quarter of the start time. A prefix is for `python:3.13-slim` images and for custom builds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from logferry.layer import debian
from logferry.layer.architecture import Architecture
from logferry.layer.subprocesses import LayerError, run

MINIMUM = (3, 13)
"""Lowest version of the interpreter: the version of Debian's suite, with which the layer is
measured."""

_PACKAGES = ("python3.13-minimal", "libpython3.13-stdlib", "libstdc++6", "base-files")
"""Packages that are unpacked. base-files has the licence texts that the other packages refer to."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython that can be copied into the tree."""

    version: str
    """Major and minor, as in its file names."""
    executable: Path
    standard_library: Path
    libraries: tuple[Path, ...]
    """Folders of its shared libraries, of libc and of the loader, in order of preference."""
    documentation: Path
    """Debian's folder of copyright files, with one folder for each package."""
    provenance: tuple[str, ...]
    """Name and version of each source package, one line each."""


def from_debian(arch: Architecture, *, into: Path, report_step: Callable[[str], None]) -> Interpreter:
    """Unpack Debian's interpreter of an architecture into a folder. Raises LayerError as `debian.unpack` does."""
    packages = debian.unpack(_PACKAGES, suite=debian.SUITE, debian_arch=arch.debian, into=into, report_step=report_step)
    version = ".".join(map(str, MINIMUM))
    return Interpreter(
        version=version,
        executable=into / f"usr/bin/python{version}",
        standard_library=into / f"usr/lib/python{version}",
        libraries=(into / f"usr/lib/{arch.triplet}", into / f"lib/{arch.triplet}"),
        documentation=into / "usr/share/doc",
        provenance=tuple(f"{package.name} {package.version}" for package in packages),
    )


def from_prefix(prefix: Path, arch: Architecture) -> Interpreter:
    """Return the description of the interpreter in a prefix of this machine, with the libraries of this machine.

    Raises LayerError if the interpreter is missing or too old, or if the architecture is not that
    of this machine.
    """
    if not arch.is_native:
        raise LayerError(
            f"--interpreter {prefix}: it does not run on {arch.name}; build on {arch.name}, or omit the option"
        )
    executable = prefix / "bin/python3"
    if not executable.exists():
        raise LayerError(f"--interpreter {prefix}: bin/python3 does not exist there; name the prefix, not the program")
    code = (
        "import json, os, sys; print(json.dumps([sys.version_info[:3], os.path.realpath(sys.executable), os.__file__]))"
    )
    version, path, module = json.loads(
        run([executable, "-I", "-S", "-c", code], purpose=f"reading the version of {executable}")
    )
    if tuple(version) < MINIMUM:
        raise LayerError(
            f"--interpreter {prefix}: Python {'.'.join(map(str, version))} is too old; "
            f"the layer needs {'.'.join(map(str, MINIMUM))} or newer"
        )
    system = (f"/usr/lib/{arch.triplet}", f"/lib/{arch.triplet}", "/usr/lib64", "/lib64", "/usr/lib")
    return Interpreter(
        version=f"{version[0]}.{version[1]}",
        executable=Path(path),
        standard_library=Path(module).parent,
        libraries=(prefix / "lib", *map(Path, system)),
        documentation=Path("/usr/share/doc"),
        provenance=(f"CPython {'.'.join(map(str, version))} from --interpreter, with the libraries of its machine",),
    )
