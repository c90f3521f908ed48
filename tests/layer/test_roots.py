"""The built tree does its whole main job in roots that have nothing, or the wrong things, for it."""

from pathlib import Path

import pytest

from logferry.emulator.s3_server import S3Server
from support.dns_server import one_name_server
from support.layer_roots import (
    BUILD_SECONDS,
    LAMBDA_USER,
    SAMPLES,
    Entry,
    assert_whole,
    built_layer,
    debian_root,
    empty_root,
    main_job,
    musl_root,
    needs_apt,
    needs_root,
)

pytestmark = [needs_root, needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """Give the environment's /tmp, writable for every user as on Lambda."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


async def test_records_arrive_from_an_empty_root(s3: S3Server, bucket: str, tmp: Path) -> None:
    """A container image from scratch has no libc, no shell, no /etc: the layer needs none, and maps nothing foreign."""
    outcome = await main_job(Entry(empty_root(), built_layer().tree, tmp), s3=s3, bucket=bucket)
    assert_whole(outcome)
    assert outcome.outside == frozenset()


async def test_records_arrive_from_a_musl_root(s3: S3Server, bucket: str, tmp: Path) -> None:
    """In an Alpine image the only libc is musl: ours comes along, and theirs is not touched."""
    outcome = await main_job(Entry(musl_root(), built_layer().tree, tmp), s3=s3, bucket=bucket)
    assert_whole(outcome)
    assert outcome.outside == frozenset()


async def test_records_arrive_beside_an_older_glibc(s3: S3Server, bucket: str, tmp: Path) -> None:
    """Debian 11 has glibc 2.31, too old for a current CPython build: the bundled one is used, and not mixed with it."""
    root = debian_root("bullseye")
    outcome = await main_job(Entry(root, built_layer().tree, tmp), s3=s3, bucket=bucket)
    assert_whole(outcome)
    assert outcome.outside == frozenset()


async def test_records_of_a_node_function_arrive_where_there_is_no_python(s3: S3Server, bucket: str, tmp: Path) -> None:
    """A function in Node, in an image with Node and no Python, is shipped like any other."""
    root = debian_root("bookworm", "nodejs")
    assert not list(root.glob("usr/bin/python*"))
    function = Entry(root, built_layer().tree, tmp, extra={"/mnt": SAMPLES})
    outcome = await main_job(
        Entry(root, built_layer().tree, tmp),
        s3=s3,
        bucket=bucket,
        function=function.command("/usr/bin/node", "/mnt/runtime.mjs"),
    )
    assert_whole(outcome)
    assert outcome.outside == frozenset()


async def test_records_arrive_from_an_unprivileged_user(s3: S3Server, bucket: str, tmp: Path) -> None:
    """On Managed Instances the extension is nobody special, and /opt is always read-only: only /tmp is written to."""
    outcome = await main_job(Entry(empty_root(), built_layer().tree, tmp, user=LAMBDA_USER), s3=s3, bucket=bucket)
    assert_whole(outcome)
    assert {path.stat().st_uid for path in (tmp / "logferry").rglob("*")} <= {LAMBDA_USER[0]}


async def test_records_arrive_over_tls_with_a_test_ca_in_an_empty_root(tmp: Path) -> None:
    """The CA bundle is a file one names (AWS_CA_BUNDLE); without it the certificate must be refused."""
    async with S3Server(buckets=("trusted", "refused"), tls=True) as s3:
        entry = Entry(empty_root(), built_layer().tree, tmp, extra={"/mnt": s3.folder})
        trust = {"AWS_CA_BUNDLE": "/mnt/certificate.pem"}
        assert_whole(await main_job(entry, s3=s3, bucket="trusted", environment=trust))
        distrust = {"AWS_CA_BUNDLE": "/opt/logferry/site/botocore/cacert.pem"}
        refused = await main_job(entry, s3=s3, bucket="refused", environment=distrust)
    assert refused.statuses == ("success", "success")
    assert refused.lines == ()
    assert "CERTIFICATE_VERIFY_FAILED" in refused.console


async def test_the_endpoint_is_found_by_name_in_an_empty_root(
    s3: S3Server, bucket: str, tmp: Path, tmp_path: Path
) -> None:
    """Names are resolved by the bundled libc alone: with the DNS server of /etc/resolv.conf, no NSS module there."""
    with one_name_server("s3.logferry.test") as (address, asked):
        resolv = tmp_path / "resolv.conf"
        resolv.write_text(f"nameserver {address}\n")
        entry = Entry(empty_root(), built_layer().tree, tmp, extra={"/etc/resolv.conf": resolv})
        endpoint = s3.endpoint_url.replace("127.0.0.1", "s3.logferry.test")
        assert_whole(await main_job(entry, s3=s3, bucket=bucket, environment={"AWS_ENDPOINT_URL_S3": endpoint}))
    assert asked


async def test_the_endpoint_is_found_in_the_hosts_file(s3: S3Server, bucket: str, tmp: Path, tmp_path: Path) -> None:
    """An image's /etc/hosts is read, also where its nsswitch.conf names modules that the tree does not have."""
    hosts, nsswitch = tmp_path / "hosts", tmp_path / "nsswitch.conf"
    hosts.write_text("127.0.0.1 s3.logferry.test\n")
    nsswitch.write_text("hosts: files myhostname mdns4_minimal [NOTFOUND=return] dns\n")
    extra = {"/etc/hosts": hosts, "/etc/nsswitch.conf": nsswitch}
    entry = Entry(empty_root(), built_layer().tree, tmp, extra=extra)
    endpoint = s3.endpoint_url.replace("127.0.0.1", "s3.logferry.test")
    assert_whole(await main_job(entry, s3=s3, bucket=bucket, environment={"AWS_ENDPOINT_URL_S3": endpoint}))
