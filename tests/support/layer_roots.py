"""The roots that the layer must run in, and its main job there: a local Lambda around it, a real S3 server behind it.

A root is a folder with Debian's own packages unpacked in it (nothing is installed on this machine), kept in the user's
cache folder for the next run. Processes enter it by a mount namespace of their own and chroot, which needs root; the
network stays the machine's, and nothing but loopback is used.
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
"""A test's bound where it may be the first to build the layer and to fetch a root, over a slow mirror."""

LAMBDA_USER = (993, 990)
"""User and group of a process on Lambda Managed Instances (AWS's emulator of them)."""

_ROOTS_VERSION = "1"
"""Raise it when a root is made in another way: older ones in the cache are then not used."""

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's interpreter is fetched with apt-get")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="chroot and mount namespaces need root and unshare"
)


@functools.cache
def built_layer(arch: str = "") -> LayerReport:
    """Build the layer once for all tests of a run; the folder goes when the run ends."""
    folder = Path(tempfile.mkdtemp(prefix="logferry-layer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_layer(output=folder, arch=arch or native().name)


def debian_root(suite: str, *packages: str) -> Path:
    """Return a root of a Debian suite with these packages and all they depend on, laid out as Debian does it."""
    name = "-".join([_ROOTS_VERSION, suite, *packages])
    return _cached(name, functools.partial(_unpack_debian, suite=suite, packages=packages))


def musl_root() -> Path:
    """Return a root with a static busybox, the musl loader and nothing of glibc: what an Alpine image is, at heart."""
    return _cached(f"{_ROOTS_VERSION}-musl", _unpack_musl)


def empty_root() -> Path:
    """Return a root with mount points and nothing else."""
    return _cached(f"{_ROOTS_VERSION}-empty", lambda _: None)


def _cached(name: str, make: Any) -> Path:
    root = debian.cache_folder() / "roots" / name
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=".making-") as folder:
            half_made = Path(folder) / "root"
            half_made.mkdir()
            make(half_made)
            _add_mount_points(half_made)
            half_made.rename(root)
    return root


def _add_mount_points(root: Path) -> None:
    for place in ("proc", "dev", "tmp", "opt", "mnt", "etc"):
        (root / place).mkdir(exist_ok=True)
    for device in ("null", "urandom"):
        (root / "dev" / device).touch()
    for file in ("hosts", "resolv.conf", "nsswitch.conf"):
        (root / "etc" / file).touch()


def _unpack_debian(root: Path, *, suite: str, packages: Sequence[str]) -> None:
    for folder in ("bin", "sbin", "lib", "lib64"):  # a merged /usr, as Debian's installer makes it
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    wanted = ("base-files", "bash", "coreutils", "dash", *packages)
    debian.unpack(wanted, suite=suite, debian_arch=native().debian, into=root)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "usr/lib/ssl").mkdir(exist_ok=True)
    for file in ("etc/ld.so.preload", "usr/lib/ssl/openssl.cnf"):  # to be mounted on
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
    """How a process enters a root."""

    root: Path
    opt: Path
    tmp: Path
    user: tuple[int, int] | None = None
    extra: Mapping[str, Path] = field(default_factory=dict)
    """More to be mounted, read-only: place inside, path outside."""

    def command(self, *words: str, environment: Mapping[str, str] | None = None, directory: str = "/") -> list[str]:
        """Return the command line that becomes `words` inside, with additions to its environment."""
        mounts = [
            ("proc", "/proc", ""),
            ("/dev/null", "/dev/null", ""),
            ("/dev/urandom", "/dev/urandom", ""),
            (str(self.opt), "/opt", "ro"),
            (str(self.tmp), "/tmp", ""),  # noqa: S108 - the root's own
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
    """What came of a main job."""

    statuses: tuple[str, ...]
    killed: tuple[str, ...]
    lines: tuple[str, ...]
    """What the function printed, as S3 has it."""
    outside: frozenset[str]
    """Files that logferry's processes had mapped and that are not the tree's."""
    console: str


async def main_job(
    entry: Entry,
    *,
    s3: S3Server,
    bucket: str,
    function: Sequence[str] = (sys.executable, "-m", "awslambdaric", "app.handler"),
    environment: Mapping[str, str] | None = None,
    pollution: Mapping[str, str] | None = None,
    launcher: str = "/opt/extensions/logferry",
) -> Outcome:
    """Run two invocations and a shutdown with the layer's own launcher inside a root, and read what S3 then has."""
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


def assert_whole(outcome: Outcome) -> None:
    """Both invocations went well, all their lines are in S3 once, in order, and nobody had to be killed."""
    assert outcome.statuses == ("success", "success"), outcome.console
    assert tuple(line.strip() for line in outcome.lines if "invocation-" in line) == EXPECTED_LINES, outcome.console
    assert outcome.killed == ()


async def function_lines(s3: S3Server, bucket: str) -> tuple[str, ...]:
    """Return what the function printed, as the bucket has it, by segment and line."""
    records: list[dict[str, Any]] = []
    for key in await s3.list_keys(bucket):
        body = gzip.decompress((await s3.get(bucket, key)).body)
        records += [json.loads(line) for line in body.splitlines()]
    return tuple(r["record"] for r in sorted(records, key=lambda r: str(r["seq"])) if r["type"] == "function")


def _mapped_from_outside(pids: Sequence[int], opt: Path) -> frozenset[str]:
    """Compare the mapped files with the tree's by what identifies a file on any mount: device and inode."""
    assert pids, "the extension has no processes to look at"
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
