"""A real S3 server for the local Lambda: SeaweedFS on loopback, in a temporary folder.

Guarantees:
- The server is a real S3 implementation. It verifies signatures, enforces rights per identity and
  compares checksums; a missing bucket is a 404.
- ``admin`` has all rights. ``shipper`` has the rights of a function's role: it may write to the named
  buckets, and neither read, list nor reach another one.
- The server listens on 127.0.0.1 only, on free ports, and sends no statistics. If another process takes
  a port in between, the start is repeated with other ports.
- ``async with`` returns after the buckets exist and an object has been stored. At its end the server is
  killed, and its folder and sockets are removed.
- The server receives no variable of the caller. ``AWS_*`` variables would change its identities.

Design: the helper methods keep no connection between calls. Several event loops can therefore use one
server, as tests do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import aioboto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from logferry.emulator import seaweedfs
from logferry.emulator.seaweedfs import Identity, S3ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["Identity", "S3Server", "S3ServerError", "StoredObject"]

REGION = "us-east-1"

START_SECONDS = 30.0
"""Time limit of one start, in seconds. A busy machine needs about ten."""

PROBE_SECONDS = 0.05
"""Pause between two probes of a starting server, in seconds. SeaweedFS sends no event when it is ready."""

CALL_SECONDS = 10.0
"""Time limit of each connect and read on the same machine, in seconds."""

MAX_STARTS = 3
"""Maximum number of starts with other ports. Port clashes are rare."""

_LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class StoredObject:
    """A stored object; the body is not decompressed."""

    key: str
    body: bytes
    metadata: Mapping[str, str]
    content_type: str
    content_encoding: str


class S3Server:
    """A running S3 server: ``async with S3Server(buckets=("logs",)) as s3``.

    Entering raises ``S3ServerError`` if the start fails. ``writable`` lists the buckets that the shipper
    may write to, with an optional trailing ``*``; the default is ``buckets``. ``tls=True`` serves https with
    a new certificate, which needs the ``openssl`` command. ``environment`` then sets ``AWS_CA_BUNDLE``.
    ``executable`` and ``choose_ports`` exist for tests of the start.
    """

    def __init__(
        self,
        buckets: Sequence[str] = ("logs",),
        *,
        writable: Sequence[str] | None = None,
        tls: bool = False,
        executable: Path | None = None,
        choose_ports: Callable[[], Mapping[str, int]] = seaweedfs.choose_ports,
    ) -> None:
        self.admin = Identity("admin", f"admin{secrets.token_hex(6)}", secrets.token_hex(20))
        self.shipper = Identity("shipper", f"shipper{secrets.token_hex(6)}", secrets.token_hex(20))
        self._buckets = tuple(buckets)
        self._writable = tuple(buckets if writable is None else writable)
        self._tls = tls
        self._executable = executable
        self._choose_ports = choose_ports
        self._session = aioboto3.Session(region_name=REGION)
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self._ports: Mapping[str, int] = {}

    def __repr__(self) -> str:
        state = f"pid {self._process.pid} at {self.endpoint_url}" if self._process else "not running"
        return f"<S3Server {state}, buckets {', '.join(self._buckets) or 'none'}>"

    @property
    def endpoint_url(self) -> str:
        """The address of the server."""
        return f"https://127.0.0.1:{self._ports['s3.https']}" if self._tls else f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        if self._process is None:
            raise S3ServerError("the S3 server is not running: use it inside `async with`")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """The folder of the data, of the log (``weed.log``) and, with tls, of ``certificate.pem``."""
        if self._folder is None:
            raise S3ServerError("the S3 server has no folder yet: use it inside `async with`")
        return self._folder

    def environment(self, identity: Identity | None = None) -> dict[str, str]:
        """Return the variables with which any AWS SDK uses this server as ``identity`` (default: the shipper)."""
        identity = identity or self.shipper
        variables = {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_REGION": REGION,
        }
        return variables | ({"AWS_CA_BUNDLE": str(self.folder / "certificate.pem")} if self._tls else {})

    def client(self, identity: Identity | None = None) -> AbstractAsyncContextManager[Any]:
        """Return an aioboto3 S3 client (default: as admin) without retries and without a proxy."""
        identity = identity or self.admin
        client: AbstractAsyncContextManager[Any] = self._session.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            # Without TLS there is nothing to verify, and loading the usual certificates takes 20 ms for each client.
            verify=str(self.folder / "certificate.pem") if self._tls else False,
            config=Config(
                connect_timeout=CALL_SECONDS,
                read_timeout=CALL_SECONDS,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )
        return client

    async def create_bucket(self, bucket: str) -> None:
        """Create an empty bucket."""
        async with self.client() as s3:
            await s3.create_bucket(Bucket=bucket)

    async def delete_bucket(self, bucket: str) -> None:
        """Delete a bucket with its objects (SeaweedFS deletes recursively, unlike S3)."""
        async with self.client() as s3:
            await s3.delete_bucket(Bucket=bucket)

    async def list_keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys under the prefix, in S3's order."""
        async with self.client() as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [entry["Key"] async for page in pages for entry in page.get("Contents", [])]

    async def get(self, bucket: str, key: str) -> StoredObject:
        """Return one object; raise botocore's ``ClientError`` if it does not exist."""
        async with self.client() as s3:
            return await _get(s3, bucket, key)

    async def get_all(self, bucket: str, prefix: str = "") -> list[StoredObject]:
        """Return all objects under the prefix, in S3's order."""
        keys = await self.list_keys(bucket, prefix)
        async with self.client() as s3:
            return [await _get(s3, bucket, key) for key in keys]

    async def __aenter__(self) -> Self:
        for start in range(1, MAX_STARTS + 1):
            try:
                await self._start()
            except BaseException as error:
                port_clash = isinstance(error, S3ServerError) and seaweedfs.is_port_clash(str(error))
                await self._stop()
                if not port_clash or start == MAX_STARTS:
                    raise
            else:
                break
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        """Start one server process and wait until it stores objects."""
        self._ports = self._choose_ports()
        executable = self._executable or seaweedfs.executable()
        self._folder = Path(tempfile.mkdtemp(prefix="logferry-s3-"))
        identities = seaweedfs.identities(admin=self.admin, shipper=self.shipper, writable=self._writable)
        (self._folder / "identities.json").write_text(identities)  # mkdtemp created the folder with mode 700
        with (self._folder / "weed.log").open("wb") as log:
            if self._tls:
                await self._create_certificate(log)
            self._process = await asyncio.create_subprocess_exec(
                executable,
                *seaweedfs.arguments(folder=self._folder, ports=self._ports, tls=self._tls),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": os.defpath, "HOME": str(self._folder)},
                # Ctrl-C in a terminal stops a demo that still has logs to upload. This server has to end later.
                start_new_session=True,
            )
        await self._wait_until_ready(self._process)

    async def _create_certificate(self, log: IO[bytes]) -> None:
        command = seaweedfs.certificate_command()
        process = await asyncio.create_subprocess_exec(*command, cwd=self.folder, stdout=log, stderr=log)
        if status := await process.wait():
            raise S3ServerError(self._start_error(f"no certificate: `{command[0]}` ended with status {status}"))

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        problem = "it was never probed"
        try:
            async with asyncio.timeout(START_SECONDS):
                while problem := await self._probe():
                    if process.returncode is not None:
                        raise S3ServerError(self._start_error(f"it ended with status {process.returncode}"))
                    await asyncio.sleep(PROBE_SECONDS)
        except TimeoutError:
            raise S3ServerError(self._start_error(f"not ready within {START_SECONDS:g} s: {problem}")) from None

    async def _probe(self) -> str:
        """Create the buckets and store an object in a temporary one; return the error, or an empty string."""
        try:
            async with self.client() as s3:
                present = {bucket["Name"] for bucket in (await s3.list_buckets())["Buckets"]}
                for bucket in {*self._buckets, "probe"} - present:
                    await s3.create_bucket(Bucket=bucket)
                await s3.put_object(Bucket="probe", Key="probe", Body=b"an empty object would need no volume")
                await s3.delete_bucket(Bucket="probe")
        except (BotoCoreError, ClientError, OSError) as error:
            return str(error) or type(error).__name__
        return ""

    def _start_error(self, reason: str) -> str:
        lines = (self.folder / "weed.log").read_text(errors="replace").splitlines()
        return "\n".join([f"the S3 server did not start: {reason}. End of its log:", *lines[-_LOG_LINES_SHOWN:]])

    async def _stop(self) -> None:
        """Kill the server and remove its files. A second call, or one after a failed start, is safe."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        for path in seaweedfs.leftover_sockets(self._ports):
            path.unlink(missing_ok=True)


async def _get(s3: Any, bucket: str, key: str) -> StoredObject:
    """Return one object. A client is opened by the caller, because it loads the certificate authorities."""
    response = await s3.get_object(Bucket=bucket, Key=key)
    async with response["Body"] as stream:
        body = await stream.read()
    return StoredObject(
        key=key,
        body=body,
        metadata=response["Metadata"],
        content_type=response.get("ContentType", ""),
        content_encoding=response.get("ContentEncoding", ""),
    )
