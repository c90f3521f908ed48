"""The S3 server that judges the rest must itself be a real one, alone, and gone when it is no longer needed."""

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
boto3.client("s3").put_object(Bucket="logs", Key="by/environment", Body=b"told by its environment alone")
"""

TCP_LISTEN = "0A"  # the state column of /proc/net/tcp


def listening_addresses(pid: int) -> set[str]:
    """Return the addresses on which a process listens, as the kernel knows them; IPv6 ones in hexadecimal."""
    rows = [row.split() for v in ("", "6") for row in Path(f"/proc/net/tcp{v}").read_text().splitlines()[1:]]
    listeners = {f"socket:[{row[9]}]": row[1].split(":")[0] for row in rows if row[3] == TCP_LISTEN}
    links = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = {address for link, address in listeners.items() if link in links}
    return {socket.inet_ntoa(bytes.fromhex(each)[::-1]) if len(each) == 8 else each for each in found}


async def test_what_the_shipper_put_is_read_back_whole(s3: S3Server, bucket: str) -> None:
    """An object keeps its bytes, its metadata, its type and its encoding."""
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


async def test_the_shipper_may_write_to_its_bucket_and_nothing_else(s3: S3Server, bucket: str) -> None:
    """The role a function is given in production cannot read, list or reach another bucket; neither can this one."""
    await s3.create_bucket(f"other-{bucket}")
    async with s3.client(s3.shipper) as shipper:
        await shipper.put_object(Bucket=bucket, Key="k", Body=b"x")
        for refused in (
            shipper.get_object(Bucket=bucket, Key="k"),
            shipper.list_objects_v2(Bucket=bucket),
            shipper.put_object(Bucket=f"other-{bucket}", Key="k", Body=b"x"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                await refused
    await s3.delete_bucket(f"other-{bucket}")


async def test_a_wrong_secret_is_refused(s3: S3Server, bucket: str) -> None:
    """Signatures are verified, so a shipper that signs wrongly is found out."""
    forged = seaweedfs.Identity("forged", s3.shipper.access_key, "not the secret")
    async with s3.client(forged) as client:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await client.put_object(Bucket=bucket, Key="k", Body=b"x")


async def test_a_missing_bucket_is_not_created_on_the_way(s3: S3Server) -> None:
    """A misspelt bucket fails here as it fails on AWS."""
    async with s3.client() as admin:
        with pytest.raises(ClientError, match="NoSuchBucket"):
            await admin.put_object(Bucket="test-never-made", Key="k", Body=b"x")


async def test_it_listens_on_loopback_only(s3: S3Server) -> None:
    """Nobody else on the network can reach what a test stores."""
    assert listening_addresses(s3.pid) == {"127.0.0.1"}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_process_is_told_all_by_its_environment_and_the_server_leaves_nothing(*, tls: bool) -> None:
    """`environment` suffices for an SDK, over https too; afterwards process, folder and sockets are gone at once."""
    async with S3Server(tls=tls) as server:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", PUT_BY_ENVIRONMENT, env=server.environment())
        assert await asyncio.wait_for(child.wait(), 30) == 0
        assert (await server.get("logs", "by/environment")).body == b"told by its environment alone"
        pid, folder, traces = server.pid, server.folder, seaweedfs.traces(server._ports)
        assert all(trace.exists() for trace in traces)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()
    assert not any(trace.exists() for trace in traces)


async def test_a_port_taken_in_between_leads_to_other_ports() -> None:
    """The ports are free when chosen, not yet when used: the start is repeated, and the caller sees nothing of it."""
    asked = 0

    def choose_ports() -> Mapping[str, int]:
        nonlocal asked
        asked += 1
        return seaweedfs.choose_ports() | ({"filer": taken} if asked == 1 else {})

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        async with S3Server(choose_ports=choose_ports) as server:
            assert await server.list_keys("logs") == []
    assert asked == 2


async def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """The reason is in the error, not in a file that was removed."""
    broken = tmp_path / "weed"
    broken.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 3\n")
    broken.chmod(0o755)
    server = S3Server(executable=broken)
    with pytest.raises(S3ServerError, match=re.compile(r"ended with status 3.*the disk is on fire", re.DOTALL)):
        await server.__aenter__()
    assert repr(server) == "<S3Server not running, buckets logs>"
