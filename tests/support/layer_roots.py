"""Root file systems in which the layer must run, and a test workload there: a local Lambda and a real S3 server.

A root is a folder with unpacked Debian packages; nothing is installed on this machine. Roots stay
in the user's cache folder for the next run. Processes enter a root with a separate mount namespace
and chroot, which needs root privileges. They share the network of the machine and use loopback
only.
"""

import atexit
import functools
import gzip
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from logferry.emulator.lambda_service import EnvironmentConfig, Lambda
from logferry.emulator.s3_server import S3Server
from logferry.layer import debian
from logferry.layer.architecture import ARCHITECTURES, Architecture, native
from logferry.layer.build import LayerReport, build_layer

SAMPLES = Path(sys.modules[Lambda.__module__].__file__ or "").parent / "samples"
ENTER_ROOT = Path(__file__).with_name("enter_root.py")

BUILD_SECONDS = 400
"""Time limit, in seconds, of a test that may be the first to build the layer and to download a
root."""

LAMBDA_USER = (993, 990)
"""User and group of a process on Lambda Managed Instances (AWS's emulator of them)."""

_ROOTS_VERSION = "1"
"""Version of the way in which roots are made. Roots of another version in the cache are not used."""

needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None, reason="Debian's interpreter is downloaded with apt-get"
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="chroot and mount namespaces need root and unshare"
)
in_roots = [needs_root, needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]
"""Marks of a test module whose tests run the layer in a root."""


@functools.cache
def built_layer(arch: str = "", *, slim: bool = False) -> LayerReport:
    """Build the layer once for all tests of a run. The folder is removed at the end of the run."""
    folder = Path(tempfile.mkdtemp(prefix="logferry-layer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_layer(output=folder, arch=arch or native().name, slim=slim)


def debian_root(suite: str, *packages: str) -> Path:
    """Return a root of a Debian suite with these packages and their dependencies, in Debian's layout."""
    name = "-".join([_ROOTS_VERSION, suite, *packages])
    return _cached(name, functools.partial(_unpack_debian, suite=suite, packages=packages))


def musl_root() -> Path:
    """Return a root with a static busybox, the musl loader and no glibc, as in an Alpine image."""
    return _cached(f"{_ROOTS_VERSION}-musl", _unpack_musl)


def empty_root() -> Path:
    """Return a root with mount points and no other files."""
    return _cached(f"{_ROOTS_VERSION}-empty", lambda _: None)


def _cached(name: str, make: Any) -> Path:
    root = debian.cache_folder() / "roots" / name
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=".making-") as folder:
            incomplete = Path(folder) / "root"
            incomplete.mkdir()
            make(incomplete)
            _add_mount_points(incomplete)
            incomplete.rename(root)
    return root


def _add_mount_points(root: Path) -> None:
    for place in ("proc", "dev", "tmp", "opt", "mnt", "etc"):
        (root / place).mkdir(exist_ok=True)
    for device in ("null", "urandom"):
        (root / "dev" / device).touch()
    for file in ("hosts", "resolv.conf", "nsswitch.conf"):
        (root / "etc" / file).touch()


def _unpack_debian(root: Path, *, suite: str, packages: Sequence[str]) -> None:
    for folder in ("bin", "sbin", "lib", "lib64"):  # the merged /usr of Debian's installer
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    names = ("base-files", "bash", "coreutils", "dash", *packages)
    debian.unpack(names, suite=suite, debian_arch=native().debian, into=root)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "usr/lib/ssl").mkdir(exist_ok=True)
    for file in ("etc/ld.so.preload", "usr/lib/ssl/openssl.cnf"):  # mount points
        (root / file).touch()


def _unpack_musl(root: Path) -> None:
    packages = root / "packages"
    debian.unpack(("busybox-static", "musl"), suite=debian.SUITE, debian_arch=native().debian, into=packages)
    for folder in ("bin", "lib"):
        (root / folder).mkdir()
    busybox = next(path for path in (packages / "bin/busybox", packages / "usr/bin/busybox") if path.exists())
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    loader = next(path for path in packages.rglob("ld-musl-*.so.1"))
    library = next(path for path in packages.rglob("libc.so") if "musl" in str(path))
    shutil.copy(library, root / "lib" / loader.name)
    shutil.rmtree(packages)


@dataclass(frozen=True)
class Entry:
    """The way in which a process enters a root."""

    root: Path
    opt: Path
    tmp: Path
    user: tuple[int, int] | None = None
    extra: Mapping[str, Path] = field(default_factory=dict)
    """Additional read-only mounts: path inside the root, path outside."""

    def command(self, *words: str, environment: Mapping[str, str] | None = None, directory: str = "/") -> list[str]:
        """Return the command that executes `words` inside the root, with additions to its environment."""
        mounts = [
            ("proc", "/proc", ""),
            ("/dev/null", "/dev/null", ""),
            ("/dev/urandom", "/dev/urandom", ""),
            (str(self.opt), "/opt", "ro"),
            (str(self.tmp), "/tmp", ""),  # noqa: S108 - inside the root
            *((str(outside), inside, "ro") for inside, outside in self.extra.items()),
        ]
        order = {
            "root": str(self.root),
            "mounts": mounts,
            "user": self.user,
            "directory": directory,
            "command": words,
            "environment": dict(environment or {}),
            "without": ["TMPDIR"],
        }
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*unshare, sys.executable, "-I", "-S", str(ENTER_ROOT), json.dumps(order)]


@dataclass(frozen=True)
class Outcome:
    """The result of a workload."""

    statuses: tuple[str, ...]
    killed: tuple[str, ...]
    lines: tuple[str, ...]
    """Lines of the function in S3."""
    outside: frozenset[str]
    """Mapped files of logferry's processes that are not files of the tree."""
    console: str


async def run_workload(
    entry: Entry,
    *,
    s3: S3Server,
    bucket: str,
    function: Sequence[str] = (sys.executable, "-m", "awslambdaric", "app.handler"),
    environment: Mapping[str, str] | None = None,
    pollution: Mapping[str, str] | None = None,
    launcher: str = "/opt/extensions/logferry",
) -> Outcome:
    """Run two invocations and a shutdown with the layer's launcher in a root, and read the objects in S3."""
    config = EnvironmentConfig(
        function=function,
        extensions={"logferry": entry.command(launcher, environment=pollution)},
        environment={
            **s3.environment(),
            "LOGFERRY_DESTINATION": f"s3://{bucket}/logs",
            "LOGFERRY_FLUSH": "invocation",
            "LOGFERRY_LOG_LEVEL": "info",
            **(environment or {}),
        },
        working_directory=SAMPLES,
        tmp_directory=entry.tmp,
        timeout_seconds=20.0,
    )
    statuses = []
    async with Lambda(config) as lam:
        for number in (1, 2):
            result = await lam.invoke({"marker": f"invocation-{number}", "lines": 3})
            statuses.append(result.status)
            await lam.wait_idle()
        outside = _mapped_from_outside(lam.extension_pids("logferry"), entry.opt)
        ending = await lam.shutdown()
        console = "\n".join(f"{process}: {line}" for process, line in lam.console)
    return Outcome(tuple(statuses), ending.killed, await function_lines(s3, bucket), outside, console)


EXPECTED_LINES = tuple(f"invocation-{number}-{line}" for number in (1, 2) for line in range(3))


async def assert_records_arrive(entry: Entry, *, may_map_host_files: bool = False, **workload: Any) -> Outcome:
    """Run a workload; assert that it is complete, and that only files of the tree were mapped."""
    outcome = await run_workload(entry, **workload)
    assert_complete(outcome)
    if not may_map_host_files:
        assert outcome.outside == frozenset()
    return outcome


def assert_complete(outcome: Outcome) -> None:
    """Assert that both invocations succeeded, that S3 has each line once in order, and that no process was killed."""
    assert outcome.statuses == ("success", "success"), outcome.console
    assert tuple(line.strip() for line in outcome.lines if "invocation-" in line) == EXPECTED_LINES, outcome.console
    assert outcome.killed == ()


async def function_lines(s3: S3Server, bucket: str) -> tuple[str, ...]:
    """Return the lines of the function in a bucket, in the order of segment and line."""
    records: list[dict[str, Any]] = []
    for key in await s3.list_keys(bucket):
        body = gzip.decompress((await s3.get(bucket, key)).body)
        records += [json.loads(line) for line in body.splitlines()]
    return tuple(r["record"] for r in sorted(records, key=lambda r: str(r["seq"])) if r["type"] == "function")


def _mapped_from_outside(pids: Sequence[int], opt: Path) -> frozenset[str]:
    """Return the mapped files that are not in the tree. Device and inode identify a file on any mount."""
    assert pids, "the extension has no processes"
    inside = {(s.st_dev, s.st_ino) for s in (path.stat() for path in opt.rglob("*"))}
    outside = set()
    for pid in pids:
        for mapped in Path(f"/proc/{pid}/map_files").iterdir():
            status = mapped.stat()
            if (status.st_dev, status.st_ino) not in inside:
                outside.add(str(mapped.readlink()))
    return frozenset(outside)


def arch_of(report: LayerReport) -> Architecture:
    """Return the architecture of a built layer."""
    return ARCHITECTURES[report.arch]
