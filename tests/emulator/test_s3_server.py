"""The S3 server of the other tests: real S3 behaviour, isolation, and removal at its end."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from logferry.emulator import seaweedfs
from logferry.emulator.s3_server import S3Server, S3ServerError, StoredObject

if TYPE_CHECKING:
    from collections.abc import Mapping

PUT_BY_ENVIRONMENT = """
import boto3
boto3.client("s3").put_object(Bucket="logs", Key="by/environment", Body=b"configured by its environment")
"""

AT_ONCE_SECONDS = 5.0
"""Upper limit of an immediate end on a busy machine."""
TCP_LISTEN = "0A"  # the state column of /proc/net/tcp


def listening_addresses(pid: int) -> set[str]:
    """Return the listening addresses of a process from the kernel; IPv6 ones in hexadecimal."""
    rows = [row.split() for v in ("", "6") for row in Path(f"/proc/net/tcp{v}").read_text().splitlines()[1:]]
    listeners = {f"socket:[{row[9]}]": row[1].split(":")[0] for row in rows if row[3] == TCP_LISTEN}
    links = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = {address for link, address in listeners.items() if link in links}
    return {socket.inet_ntoa(bytes.fromhex(each)[::-1]) if len(each) == 8 else each for each in found}


async def test_get_returns_the_object_that_the_shipper_stored(s3: S3Server, bucket: str) -> None:
    """An object keeps its bytes, metadata, type and encoding."""
    async with s3.client(s3.shipper) as shipper:
        await shipper.put_object(
            Bucket=bucket,
            Key="a=1/ä $LATEST.gz",
            Body=b"\x1f\x8b not even gzip",
            Metadata={"records": "2"},
            ContentType="application/x-ndjson",
            ContentEncoding="gzip",
        )
    assert await s3.list_keys(bucket) == ["a=1/ä $LATEST.gz"]
    assert await s3.list_keys(bucket, "b") == []
    assert await s3.get(bucket, "a=1/ä $LATEST.gz") == StoredObject(
        key="a=1/ä $LATEST.gz",
        body=b"\x1f\x8b not even gzip",
        metadata={"records": "2"},
        content_type="application/x-ndjson",
        content_encoding="gzip",
    )


async def test_the_shipper_has_write_access_to_its_bucket_only(s3: S3Server, bucket: str) -> None:
    """Like the role of a function, it cannot read, list or reach another bucket."""
    await s3.create_bucket(f"other-{bucket}")
    async with s3.client(s3.shipper) as shipper:
        await shipper.put_object(Bucket=bucket, Key="k", Body=b"x")
        for rejected in (
            shipper.get_object(Bucket=bucket, Key="k"),
            shipper.list_objects_v2(Bucket=bucket),
            shipper.put_object(Bucket=f"other-{bucket}", Key="k", Body=b"x"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                await rejected
    await s3.delete_bucket(f"other-{bucket}")


async def test_a_wrong_secret_is_rejected(s3: S3Server, bucket: str) -> None:
    """Signatures are verified."""
    forged = seaweedfs.Identity("forged", s3.shipper.access_key, "not the secret")
    async with s3.client(forged) as client:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await client.put_object(Bucket=bucket, Key="k", Body=b"x")


async def test_a_missing_bucket_is_not_created(s3: S3Server) -> None:
    """A misspelt bucket fails as it fails on AWS."""
    async with s3.client() as admin:
        with pytest.raises(ClientError, match="NoSuchBucket"):
            await admin.put_object(Bucket="test-never-made", Key="k", Body=b"x")


async def test_the_server_listens_on_loopback_only(s3: S3Server) -> None:
    """Other hosts of the network cannot reach the objects of a test."""
    assert listening_addresses(s3.pid) == {"127.0.0.1"}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_environment_suffices_for_an_sdk_and_no_file_remains(*, tls: bool) -> None:
    """Process, folder and sockets are removed at once, over https too."""
    async with S3Server(tls=tls) as server:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", PUT_BY_ENVIRONMENT, env=server.environment())
        assert await asyncio.wait_for(child.wait(), 30) == 0
        assert (await server.get("logs", "by/environment")).body == b"configured by its environment"
        pid, folder, sockets = server.pid, server.folder, seaweedfs.leftover_sockets(server._ports)
        assert all(path.exists() for path in sockets)
        started = time.monotonic()
    assert time.monotonic() - started < AT_ONCE_SECONDS
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()
    assert not any(path.exists() for path in sockets)


async def test_the_start_is_repeated_when_a_port_was_taken() -> None:
    """The caller does not notice a port that was taken between choice and use."""
    calls = 0

    def choose_ports() -> Mapping[str, int]:
        nonlocal calls
        calls += 1
        return seaweedfs.choose_ports() | ({"filer": taken} if calls == 1 else {})

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        async with S3Server(choose_ports=choose_ports) as server:
            assert await server.list_keys("logs") == []
    assert calls == 2


async def test_a_failed_start_includes_the_log_in_its_error(tmp_path: Path) -> None:
    """The folder of the log has been removed by then."""
    broken = tmp_path / "weed"
    broken.write_text("#!/bin/sh\necho no space left on device >&2\nexit 3\n")
    broken.chmod(0o755)
    server = S3Server(executable=broken)
    with pytest.raises(S3ServerError, match=re.compile(r"ended with status 3.*no space left on device", re.DOTALL)):
        await server.__aenter__()
    assert repr(server) == "<S3Server not running, buckets logs>"
