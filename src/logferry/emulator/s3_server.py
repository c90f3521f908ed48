"""A real S3 server beside the local Lambda: SeaweedFS on loopback, in a folder that vanishes with it.

Promises
  * What answers is a real S3 implementation: signatures are verified, rights are enforced per identity, checksums are
    compared, a missing bucket is a 404. Nothing here imitates S3.
  * Two identities. ``admin`` may do everything. ``shipper`` holds what a function's role should hold and no more: it
    may write to the named buckets, and neither read, list nor reach another one.
  * Nothing listens outside 127.0.0.1, nothing is reported to anybody, and every port is chosen free. When another
    process takes one of them in between, the start is repeated with other ports.
  * ``async with`` returns when the buckets exist and an object has been stored, not when a port is open. On the way out
    the server is killed, for its data is thrown away with it, and its folder and sockets are removed.
  * The server's environment holds nothing of the caller's: ``AWS_*`` variables would change its identities.

The helpers keep no connection between calls, so one server can be used from several event loops, as tests do.
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
"""Bound on one start. It takes about one second; a machine that starts ten things at once may need ten."""

PROBE_SECONDS = 0.05
"""Pause between two probes of a starting server. A foreign process sends no event when it is ready, so it is asked."""

CALL_SECONDS = 10.0
"""Bound on connecting to, and on every read from, a server on the same machine."""

STARTS = 3
"""How often other ports are tried: a clash is rare, and three in a row are no accident."""

_LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class StoredObject:
    """An object as it was stored: the body is not decompressed."""

    key: str
    body: bytes
    metadata: Mapping[str, str]
    content_type: str
    content_encoding: str


class S3Server:
    """A running S3 server: ``async with S3Server(buckets=("logs",)) as s3``. Raises ``S3ServerError`` on entry.

    ``writable`` names what the shipper may write to, a trailing ``*`` allowed; by default exactly ``buckets``.
    ``tls=True`` serves https with a certificate made for the occasion (needs the ``openssl`` command);
    ``environment`` then names it in ``AWS_CA_BUNDLE``.
    ``executable`` and ``choose_ports`` are only for tests of the start itself.
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
        """Where the server answers."""
        return f"https://127.0.0.1:{self._ports['s3.https']}" if self._tls else f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def pid(self) -> int:
        """The server's process."""
        if self._process is None:
            raise S3ServerError("the S3 server is not running: use it inside `async with`")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Where the server keeps its data, its log (``weed.log``) and, with tls, ``certificate.pem``."""
        if self._folder is None:
            raise S3ServerError("the S3 server has no folder yet: use it inside `async with`")
        return self._folder

    def environment(self, identity: Identity | None = None) -> dict[str, str]:
        """Return the variables that make any AWS SDK speak to this server as ``identity`` (default: the shipper)."""
        identity = identity or self.shipper
        variables = {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_REGION": REGION,
        }
        return variables | ({"AWS_CA_BUNDLE": str(self.folder / "certificate.pem")} if self._tls else {})

    def client(self, identity: Identity | None = None) -> AbstractAsyncContextManager[Any]:
        """Return an aioboto3 S3 client (default: as admin) that tries once, and heeds no proxy of the environment."""
        identity = identity or self.admin
        client: AbstractAsyncContextManager[Any] = self._session.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            verify=str(self.folder / "certificate.pem") if self._tls else None,
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
        """Delete a bucket and all that is in it (SeaweedFS deletes recursively, unlike S3)."""
        async with self.client() as s3:
            await s3.delete_bucket(Bucket=bucket)

    async def list_keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return every key under the prefix, in S3's order."""
        async with self.client() as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [entry["Key"] async for page in pages for entry in page.get("Contents", [])]

    async def get(self, bucket: str, key: str) -> StoredObject:
        """Return one object. Raises botocore's ``ClientError`` when there is none."""
        async with self.client() as s3:
            answer = await s3.get_object(Bucket=bucket, Key=key)
            async with answer["Body"] as stream:
                body = await stream.read()
        return StoredObject(
            key=key,
            body=body,
            metadata=answer["Metadata"],
            content_type=answer.get("ContentType", ""),
            content_encoding=answer.get("ContentEncoding", ""),
        )

    async def __aenter__(self) -> Self:
        for start in range(1, STARTS + 1):
            try:
                await self._start()
            except BaseException as error:
                clash = isinstance(error, S3ServerError) and seaweedfs.is_port_clash(str(error))
                await self._stop()
                if not clash or start == STARTS:
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
        rights = seaweedfs.identities(admin=self.admin, shipper=self.shipper, writable=self._writable)
        (self._folder / "identities.json").write_text(rights)  # the folder is its owner's alone
        with (self._folder / "weed.log").open("wb") as log:
            if self._tls:
                await self._make_certificate(log)
            self._process = await asyncio.create_subprocess_exec(
                executable,
                *seaweedfs.arguments(folder=self._folder, ports=self._ports, tls=self._tls),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": os.defpath, "HOME": str(self._folder)},
                # Ctrl-C at a terminal stops a demo that still has logs to store: this server must end after it.
                start_new_session=True,
            )
        await self._until_it_stores(self._process)

    async def _make_certificate(self, log: IO[bytes]) -> None:
        command = seaweedfs.certificate_command()
        made = await asyncio.create_subprocess_exec(*command, cwd=self.folder, stdout=log, stderr=log)
        if status := await made.wait():
            raise S3ServerError(self._complaint(f"no certificate: `{command[0]}` ended with status {status}"))

    async def _until_it_stores(self, process: asyncio.subprocess.Process) -> None:
        wrong = "it was never asked"
        try:
            async with asyncio.timeout(START_SECONDS):
                while wrong := await self._what_is_wrong():
                    if process.returncode is not None:
                        raise S3ServerError(self._complaint(f"it ended with status {process.returncode}"))
                    await asyncio.sleep(PROBE_SECONDS)
        except TimeoutError:
            raise S3ServerError(self._complaint(f"not ready within {START_SECONDS:g} s: {wrong}")) from None

    async def _what_is_wrong(self) -> str:
        """Create the buckets and store an object in a passing one; return what stood in the way, or nothing."""
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

    def _complaint(self, what: str) -> str:
        lines = (self.folder / "weed.log").read_text(errors="replace").splitlines()
        return "\n".join([f"the S3 server did not start: {what}. Its log ends:", *lines[-_LOG_LINES_SHOWN:]])

    async def _stop(self) -> None:
        """Kill the server and remove what it leaves. Safe to call twice, and after a start that failed anywhere."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        for trace in seaweedfs.traces(self._ports):
            trace.unlink(missing_ok=True)
