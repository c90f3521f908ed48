"""The arm64 layer on another machine: built, linked, and run by qemu's user mode.

The tests show neither its speed nor its behaviour with a kernel of that architecture.
"""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.emulator.s3_server import S3Server
from support.layer_roots import Entry, assert_records_arrive, built_layer, empty_root, needs_apt, needs_root

BOUND_S = 600
HANDLER = "logferry-test-aarch64"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""A 64-bit little-endian executable or shared object for machine 183 (qemu's own binfmt.d file)."""

pytestmark = [needs_apt, pytest.mark.slow, pytest.mark.timeout(BOUND_S)]


@pytest.fixture
def kernel_runs_arm64() -> Iterator[None]:
    """Register qemu for arm64 programs in the kernel during one test. Flag F opens qemu now, so any root can use it."""
    if platform.machine() == "aarch64":
        yield
        return
    qemu = shutil.which("qemu-aarch64-static")
    if qemu is None:
        pytest.skip("no qemu-aarch64-static (package qemu-user-static)")
    # The registration ends with the mount of binfmt_misc. A process keeps one in a separate namespace.
    register = f"echo ':{HANDLER}:M::{_MAGIC}:{_MASK}:{qemu}:F' > {_BINFMT}/register"
    script = f"mount -t binfmt_misc none {_BINFMT} && {register} && echo ready && read; echo -1 > {_BINFMT}/{HANDLER}"
    words = ["unshare", "--mount", "bash", "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"this kernel does not accept a handler in binfmt_misc: {holder.stderr.read()}")
        yield
        holder.stdin.close()
        assert holder.wait(BOUND_S) == 0, holder.stderr.read()


def test_arm64_layer_passes_all_checks() -> None:
    """Each file is for that machine and finds its libraries. The builder rejects any other tree."""
    report = built_layer("arm64")
    assert report.archive.name == "logferry-layer-arm64.zip"
    assert (report.tree / "logferry/lib/ld-linux-aarch64.so.1").is_file()


@needs_root
@pytest.mark.usefixtures("kernel_runs_arm64")
async def test_records_arrive_from_the_arm64_layer_under_qemu(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """Launcher, interpreter, wheels and S3 client of the other architecture ship all records from an empty root."""
    (tmp_path / "tmp").mkdir()
    entry = Entry(empty_root(), built_layer("arm64").tree, tmp_path / "tmp")
    # qemu is a file of the host, and it is mapped.
    await assert_records_arrive(entry, s3=s3, bucket=bucket, may_map_host_files=True)
