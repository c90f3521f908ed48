"""The third-party packages of the layer: pinned and hashed wheels, reduced to the files that logferry uses.

Guarantees:
- Only wheels are installed, so the build compiles nothing. Each wheel matches a reviewed hash.
- Markers are evaluated for the layer's Python, and not for the Python that runs the builder.

Design: the reduction follows measurements. botocore's service descriptions alone are 24 of 49 MB
unpacked, and a client that is made from all of them uses 10 MB more memory.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from logferry.layer import botocore_data
from logferry.layer.architecture import Architecture
from logferry.layer.subprocesses import run

_NEWEST_GLIBC_MINOR = 41
_OLDEST_GLIBC_MINOR = 5
"""Minor versions of glibc: the layer has 2.41, and manylinux begins with 2.5. pip needs each
platform tag by name."""

_UNUSED = ("bin", "*/tests", "*/test", "boto3/examples", "dateutil/zoneinfo/*.tar.gz")
"""Console scripts, tests, examples, and the time zones of dateutil. logferry uses UTC only."""

_ARCHIVES = ("backports/zstd/tarfile.py", "backports/zstd/zipfile", "backports/zstd/_cffi")
"""Archive formats of backports.zstd, and its code for PyPy."""

_HTTP_SERVER = ("aiohttp/web*.py", "aiohttp/worker.py", "aiohttp/pytest_plugin.py", "aiohttp/test_utils.py")
"""aiohttp's server. The SDK uses only its client."""

_NOT_IMPORTED = ("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.pyd", "*.c", "*.h", "*.hash", "py.typed")
"""Sources of extension modules, and type information."""

_PURE_PYTHON_EXISTS = ("frozenlist/_frozenlist*.so",)
"""Extension modules with a Python equivalent in the package. This one needs libstdc++ (2.2 MB)."""

_KEPT_METADATA = "METADATA"
"""The one file of a .dist-info that stays: security scanners find the packages by it."""


def install(requirements: Path, *, python: str, arch: Architecture, into: Path, work: Path) -> None:
    """Install the pinned wheels for the layer's Python and architecture. Raises LayerError if a wheel is missing."""
    chosen = work / "requirements.txt"
    chosen.write_text("".join(applicable(requirements.read_text(), python=python, arch=arch)))
    platforms = [f"manylinux_2_{minor}_{arch.gnu}" for minor in range(_NEWEST_GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    command += ["--target", str(into), "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={python}", *(f"--platform={platform}" for platform in platforms)]
    run(
        [*command, "-r", str(chosen)],
        purpose=f"installing the wheels of {requirements.name} for Python {python} on {arch.name}",
    )


def applicable(requirements: str, *, python: str, arch: Architecture) -> Iterator[str]:
    """Return the requirements whose markers are true in the layer, with their hashes and without their markers.

    pip evaluates markers for the interpreter that runs it (`pip install --platform` documentation).
    """
    environment = marker_environment(python=python, arch=arch)
    lines = [line for line in requirements.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        specification, *hashes = line.split(" --hash=")
        requirement = Requirement(specification.strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield " --hash=".join([f"{requirement.name}{requirement.specifier}", *(h.strip() for h in hashes)]) + "\n"


def marker_environment(*, python: str, arch: Architecture) -> dict[str, str]:
    """Return the values of the environment markers in the layer."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": arch.gnu,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }


def prune(site: Path) -> None:
    """Remove the files of installed packages that the layer does not use."""
    for pattern in (*_UNUSED, *_ARCHIVES, *_HTTP_SERVER, *_PURE_PYTHON_EXISTS):
        for path in sorted(site.glob(pattern)):
            remove(path)
    for pattern in _NOT_IMPORTED:
        for path in sorted(site.rglob(pattern)):
            path.unlink()
    for path in sorted(site.glob("*.dist-info/**/*")):
        if path.is_file() and path.name != _KEPT_METADATA:
            path.unlink()
    botocore_data.prune(site)


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
