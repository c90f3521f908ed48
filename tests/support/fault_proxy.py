"""An S3 endpoint with faults that a test chooses, in front of a healthy S3 server.

Guarantees:
- The real server stores the objects. A request is forwarded unchanged, with the Host that was
  signed, so that the server verifies signature, permissions and checksums.
- The fault can be changed at any time and applies to each request that has not been received
  completely.
- Each stage of a request can be awaited, or handled at once (`at_stage`). A test can thus kill a
  process during its upload, after the object was stored, or after the response was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from logferry.emulator import seaweedfs
from support.s3_faults import DRIP_SECONDS, LATENCY_SECONDS, NEARBY_SECONDS, RESPONSES, Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_SECONDS = 15.0
"""Maximum time of every wait for a stage, in seconds: far above any client's time for one attempt."""
_SO_LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: close sends RST instead of FIN (socket(7))."""


ARRIVED, STORED, RESPONDED = "arrived", "stored", "responded"
"""Stages of a request: received completely; stored by the server; response sent."""


@dataclass(frozen=True)
class StageReached:
    """A stage that a request has reached; `key` is its path without the bucket."""

    stage: str
    key: str


class FaultProxy:
    """Context manager: `async with FaultProxy(s3.endpoint_url) as proxy`; clients use `proxy.endpoint_url`.

    With a `certificates` directory the proxy uses TLS; `trusted` is then the certificate for
    AWS_CA_BUNDLE.
    """

    def __init__(self, upstream: str, *, certificates: Path | None = None) -> None:
        url = urlsplit(upstream)
        self._upstream = (url.hostname or "127.0.0.1", url.port or 80)
        self._certificates = certificates
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._server: asyncio.Server | None = None
        self._port = 0
        self._fault = Fault.NONE
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.stages: list[StageReached] = []
        self.at_stage: Callable[[StageReached], None] = lambda _: None
        """Callback that is called at each stage before the request continues."""

    @property
    def endpoint_url(self) -> str:
        """Return the URL for clients."""
        return f"{'https' if self._certificates else 'http'}://127.0.0.1:{self._port}"

    @property
    def trusted(self) -> Path:
        """Return the certificate that clients should trust."""
        if self._certificates is None:
            raise ValueError("this proxy does not use TLS: pass a directory for certificates")
        return self._certificates / "good" / "certificate.pem"

    @property
    def fault(self) -> Fault:
        """Return the current fault."""
        return self._fault

    def reset_connections(self) -> None:
        """Reset all connections, as a server resets those that were idle for long or belong to a frozen client."""
        for writer in self._writers:
            _reset(writer)

    async def set_fault(self, fault: Fault) -> None:
        """Change the fault. Connections are reset if the fault concerns connecting."""
        before, self._fault = self._fault, fault
        if fault in (Fault.REFUSED, Fault.UNTRUSTED_CERTIFICATE, Fault.NO_TLS):
            self.reset_connections()
        if fault is Fault.REFUSED:
            await self._stop_listening()
        elif before is Fault.REFUSED:
            await self._listen()

    def count(self, stage: str) -> int:
        """Return the number of requests that have reached a stage."""
        return sum(one.stage == stage for one in self.stages)

    def objects(self) -> int:
        """Return the number of objects that were stored and confirmed; repeated uploads of an object count once."""
        return len({one.key for one in self.stages if one.stage == RESPONDED})

    async def wait_until(self, stage: str, count: int) -> None:
        """Wait until that many requests have reached a stage. Raises TimeoutError."""
        await self._wait_for(lambda: self.count(stage) >= count)

    async def wait_until_objects(self, count: int) -> None:
        """Wait until that many objects were stored and confirmed. Raises TimeoutError."""
        await self._wait_for(lambda: self.objects() >= count)

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def __aenter__(self) -> Self:
        if self._certificates:
            for name in ("good", "untrusted"):
                self._contexts[name] = await asyncio.to_thread(_make_context, self._certificates / name)
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        self.reset_connections()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    def _note(self, stage: str, key: str) -> None:
        seen = StageReached(stage, key)
        self.stages.append(seen)
        self._changed.set()
        self.at_stage(seen)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection must be served by a task")
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            # Only the end of the proxy cancels this task; Python 3.11's streams would report that as an error.
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                if self._contexts and self._fault is not Fault.NO_TLS:
                    name = "untrusted" if self._fault is Fault.UNTRUSTED_CERTIFICATE else "good"
                    await writer.start_tls(self._contexts[name])
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection until it is closed."""
        while True:
            request = await _message(reader)
            key = request.split(b" ", 2)[1].decode().lstrip("/").partition("/")[2]
            self._note(ARRIVED, key)
            fault = self._fault
            if fault in RESPONSES:
                writer.write(RESPONSES[fault])
                await writer.drain()
                continue
            if fault is Fault.HANG:
                await reader.read()
                return
            if fault is Fault.RESET_BEFORE_STORING:
                _reset(writer)
                return
            await asyncio.sleep({Fault.LATENCY: LATENCY_SECONDS, Fault.NEARBY: NEARBY_SECONDS}.get(fault, 0))
            response = await self._forward(request)
            self._note(STORED, key)
            if fault is Fault.RESET_AFTER_STORING:
                _reset(writer)
                return
            await _write(writer, response, pause=DRIP_SECONDS if fault is Fault.SLOW_DRIP else 0)
            self._note(RESPONDED, key)

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader)
        finally:
            writer.close()


async def _write(writer: asyncio.StreamWriter, response: bytes, *, pause: float) -> None:
    if not pause:
        writer.write(response)
        await writer.drain()
        return
    for byte in response:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(pause)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Return one HTTP message whose body has a length, as PUT and its response have. Raises EOFError at the end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    return head + await reader.readexactly(lengths[0] if lengths else 0)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the client gets `connection reset by peer`."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(1, 13, _SO_LINGER_RESET)  # SOL_SOCKET, SO_LINGER
    writer.transport.abort()


def _make_context(folder: Path) -> ssl.SSLContext:
    """Create a certificate for 127.0.0.1 in `folder`."""
    folder.mkdir(parents=True)
    subprocess.run(seaweedfs.certificate_command(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
