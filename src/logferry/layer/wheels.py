"""The third-party packages of the layer: the pinned, hashed wheels, cut to what logferry uses of them.

Wheels only, so that nothing is compiled here; hashes for all, so that what ships is what was reviewed. The markers are
judged for the layer's Python, not for the one that builds. What is cut was found by measuring: botocore's service
descriptions alone are 24 of 49 MB unpacked, and a client made from the full data holds 10 MB more memory.
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
"""The bundled glibc is 2.41 and manylinux begins with 2.5: pip wants each accepted platform tag by name."""

_NOT_RUN = ("bin", "*/tests", "*/test", "boto3/examples", "dateutil/zoneinfo/*.tar.gz")
"""Console scripts, tests, examples, and dateutil's own time zones (logferry knows UTC alone)."""

_NOT_SERVED = ("aiohttp/web*.py", "aiohttp/worker.py", "aiohttp/pytest_plugin.py", "aiohttp/test_utils.py")
"""aiohttp's server: it is the transport of the S3 client here, and no more."""

_NOT_IMPORTED = ("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.pyd", "*.c", "*.h", "*.hash", "py.typed")
"""Sources and type information."""

_PURE_TWINS = ("frozenlist/_frozenlist*.so",)
"""Needs libstdc++ (2.2 MB), and the package has the same in Python."""

_KEPT_METADATA = "METADATA"
"""The one file of a .dist-info that stays: it is by this that security scanners know what is inside."""


def install(requirements: Path, *, python: str, arch: Architecture, into: Path, work: Path) -> None:
    """Install the pinned wheels for the layer's Python and architecture; raises LayerError when one has no wheel."""
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
    """Yield the requirements whose markers hold in the layer, with their hashes, without their markers.

    pip judges markers by the interpreter it runs on (`pip install --platform` documentation), which is not the layer's.
    """
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": arch.gnu,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    lines = [line for line in requirements.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        specification, *hashes = line.split(" --hash=")
        requirement = Requirement(specification.strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield " --hash=".join([f"{requirement.name}{requirement.specifier}", *(h.strip() for h in hashes)]) + "\n"


def prune(site: Path) -> None:
    """Cut installed packages to what runs."""
    for pattern in (*_NOT_RUN, *_NOT_SERVED, *_PURE_TWINS):
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
