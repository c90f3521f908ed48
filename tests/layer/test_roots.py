"""The built layer ships records from roots that lack libraries, or contain unsuitable ones."""

from pathlib import Path

import pytest

from logferry.emulator.s3_server import S3Server
from support import layer_roots as roots
from support.dns_server import one_name_server
from support.layer_roots import Entry, assert_records_arrive, built_layer

pytestmark = roots.in_roots


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """Return the /tmp of the execution environment, writable for every user as on Lambda."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


async def test_records_arrive_from_an_empty_root(s3: S3Server, bucket: str, tmp: Path) -> None:
    """An image from scratch has no libc, no shell and no /etc. The layer needs none and maps no foreign file."""
    await assert_records_arrive(Entry(roots.empty_root(), built_layer().tree, tmp), s3=s3, bucket=bucket)


async def test_records_arrive_from_a_musl_root(s3: S3Server, bucket: str, tmp: Path) -> None:
    """An Alpine image has only musl. The layer uses its own libc."""
    await assert_records_arrive(Entry(roots.musl_root(), built_layer().tree, tmp), s3=s3, bucket=bucket)


async def test_records_arrive_next_to_an_older_glibc(s3: S3Server, bucket: str, tmp: Path) -> None:
    """Debian 11 has glibc 2.31, too old for a current CPython build. The layer uses its own glibc only."""
    await assert_records_arrive(Entry(roots.debian_root("bullseye"), built_layer().tree, tmp), s3=s3, bucket=bucket)


async def test_records_of_a_node_function_arrive_from_a_root_without_python(
    s3: S3Server, bucket: str, tmp: Path
) -> None:
    """A Node.js function in an image without Python is shipped like any other function."""
    root = roots.debian_root("bookworm", "nodejs")
    assert not list(root.glob("usr/bin/python*"))
    function = Entry(root, built_layer().tree, tmp, extra={"/mnt": roots.SAMPLES})
    command = function.command("/usr/bin/node", "/mnt/runtime.mjs")
    await assert_records_arrive(Entry(root, built_layer().tree, tmp), s3=s3, bucket=bucket, function=command)


async def test_records_arrive_from_an_unprivileged_user(s3: S3Server, bucket: str, tmp: Path) -> None:
    """On Managed Instances the extension has no privileges, and /opt is always read-only. It writes to /tmp only."""
    entry = Entry(roots.empty_root(), built_layer().tree, tmp, user=roots.LAMBDA_USER)
    await assert_records_arrive(entry, s3=s3, bucket=bucket)
    assert {path.stat().st_uid for path in (tmp / "logferry").rglob("*")} <= {roots.LAMBDA_USER[0]}


async def test_records_arrive_over_tls_with_a_test_authority_only_if_it_is_trusted(tmp: Path) -> None:
    """AWS_CA_BUNDLE names the trusted authorities. With another bundle the certificate is rejected."""
    async with S3Server(buckets=("trusted", "rejected"), tls=True) as s3:
        entry = Entry(roots.empty_root(), built_layer().tree, tmp, extra={"/mnt": s3.folder})
        trusting = {"AWS_CA_BUNDLE": "/mnt/certificate.pem"}
        await assert_records_arrive(entry, s3=s3, bucket="trusted", environment=trusting)
        other = {"AWS_CA_BUNDLE": "/opt/logferry/site/botocore/cacert.pem"}
        rejected = await roots.run_workload(entry, s3=s3, bucket="rejected", environment=other)
    assert rejected.statuses == ("success", "success")
    assert rejected.lines == ()
    assert "CERTIFICATE_VERIFY_FAILED" in rejected.console


async def test_endpoint_is_resolved_by_the_name_server_in_an_empty_root(
    s3: S3Server, bucket: str, tmp: Path, tmp_path: Path
) -> None:
    """The libc of the layer resolves names with the DNS server in /etc/resolv.conf, without an NSS module."""
    with one_name_server("s3.logferry.test") as (address, queries):
        resolv = tmp_path / "resolv.conf"
        resolv.write_text(f"nameserver {address}\n")
        await _assert_endpoint_is_found(s3, bucket, tmp, extra={"/etc/resolv.conf": resolv})
    assert queries


async def test_endpoint_is_resolved_by_the_hosts_file(s3: S3Server, bucket: str, tmp: Path, tmp_path: Path) -> None:
    """The image's /etc/hosts is read, even if nsswitch.conf names modules that the tree does not have."""
    hosts, nsswitch = tmp_path / "hosts", tmp_path / "nsswitch.conf"
    hosts.write_text("127.0.0.1 s3.logferry.test\n")
    nsswitch.write_text("hosts: files myhostname mdns4_minimal [NOTFOUND=return] dns\n")
    await _assert_endpoint_is_found(s3, bucket, tmp, extra={"/etc/hosts": hosts, "/etc/nsswitch.conf": nsswitch})


async def _assert_endpoint_is_found(s3: S3Server, bucket: str, tmp: Path, *, extra: dict[str, Path]) -> None:
    entry = Entry(roots.empty_root(), built_layer().tree, tmp, extra=extra)
    endpoint = {"AWS_ENDPOINT_URL_S3": s3.endpoint_url.replace("127.0.0.1", "s3.logferry.test")}
    await assert_records_arrive(entry, s3=s3, bucket=bucket, environment=endpoint)
