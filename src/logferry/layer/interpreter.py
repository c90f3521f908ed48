"""Where the layer's CPython comes from: Debian's packages by default, or a prefix that one names.

Either way the answer is the same description, and nothing after this module knows which it was. Debian's build is the
default for its speed (profile-guided, statically linked libpython: a quarter less start time than a plain build) and
for its security updates; it needs no Docker and no root. A prefix serves `python:3.13-slim` images and hand-made
builds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from logferry.layer import debian
from logferry.layer.architecture import Architecture
from logferry.layer.subprocesses import LayerError, run

MINIMUM = (3, 13)
"""Older ones lack what the layer is measured with; 3.13 is what Debian's suite has."""

_PACKAGES = ("python3.13-minimal", "libpython3.13-stdlib", "base-files")
"""base-files holds the texts of the licences that the others' copyright files only name."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython that can be copied into the tree."""

    version: str
    """Major and minor, as in its file names."""
    executable: Path
    standard_library: Path
    libraries: tuple[Path, ...]
    """Folders where its shared libraries, libc and the loader are found, in order of preference."""
    documentation: Path
    """Debian's folder of copyright files, one folder for each package."""
    provenance: tuple[str, ...]
    """What it was made of, one line each."""


def from_debian(arch: Architecture, *, into: Path, say: Callable[[str], None]) -> Interpreter:
    """Unpack Debian's interpreter of an architecture into a folder. Raises LayerError as `debian.unpack` does."""
    packages = debian.unpack(_PACKAGES, suite=debian.SUITE, debian_arch=arch.debian, into=into, say=say)
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
    """Describe the interpreter of a prefix of this machine, with this machine's libraries.

    Raises LayerError when it is not there, is too old, or the architecture is not this machine's.
    """
    if not arch.is_native:
        raise LayerError(
            f"--interpreter {prefix} is this machine's, not {arch.name}'s: build on {arch.name}, or leave it out"
        )
    executable = prefix / "bin/python3"
    if not executable.exists():
        raise LayerError(f"--interpreter {prefix}: there is no bin/python3 in it; name the prefix, not the program")
    code = (
        "import json, os, sys; print(json.dumps([sys.version_info[:3], os.path.realpath(sys.executable), os.__file__]))"
    )
    version, path, module = json.loads(
        run([executable, "-I", "-S", "-c", code], purpose=f"asking {executable} for its version")
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
        provenance=(
            f"CPython {'.'.join(map(str, version))} of the builder's --interpreter, with its machine's libraries",
        ),
    )
