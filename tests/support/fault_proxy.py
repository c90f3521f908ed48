"""An S3 endpoint that misbehaves on command, in front of a server that does not.

Promises:
- what is stored is stored by the real server behind: a request that is passed on goes there byte by byte, with the
  Host that was signed, so signatures, rights and checksums are judged there;
- the fault can be changed at any time and holds for each request that has not been read whole by then;
- every stage of a request can be waited for, or acted upon at once (`at_stage`): that is how a test kills a process at
  the moment of its upload, after the object was stored, or after the answer left.
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
from support.s3_faults import ANSWERS, DRIP_SECONDS, LATENCY_SECONDS, NEARBY_SECONDS, Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_SECONDS = 15.0
"""The bound of every wait for a stage: far more than any client here takes for one attempt."""
_SO_LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close sends RST instead of FIN (socket(7))."""


ARRIVED, STORED, ANSWERED = "arrived", "stored", "answered"
"""The stages of a request: read whole; stored by the server behind; the answer has left."""


@dataclass(frozen=True)
class Seen:
    """A stage that a request has reached; `key` is its path without the bucket."""

    stage: str
    key: str


class FaultProxy:
    """`async with FaultProxy(s3.endpoint_url) as proxy`; clients use `proxy.endpoint_url`.

    With a `certificates` directory it speaks TLS; `trusted` is then the certificate for AWS_CA_BUNDLE.
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
        self.seen: list[Seen] = []
        self.at_stage: Callable[[Seen], None] = lambda _: None
        """Called at each stage before anything else happens to the request."""

    @property
    def endpoint_url(self) -> str:
        """Where clients go."""
        return f"{'https' if self._certificates else 'http'}://127.0.0.1:{self._port}"

    @property
    def trusted(self) -> Path:
        """The certificate that clients should trust."""
        if self._certificates is None:
            raise ValueError("this proxy speaks no TLS: give it a directory for certificates")
        return self._certificates / "good" / "certificate.pem"

    @property
    def fault(self) -> Fault:
        """What happens to requests now."""
        return self._fault

    def cut_connections(self) -> None:
        """What a server does with connections that were idle for long, and what is left of those of a frozen client."""
        self._cut()

    async def set_fault(self, fault: Fault) -> None:
        """Change it. Connections are cut where the fault is about connecting."""
        before, self._fault = self._fault, fault
        if fault in (Fault.REFUSED, Fault.UNTRUSTED_CERTIFICATE, Fault.NO_TLS):
            self._cut()
        if fault is Fault.REFUSED:
            await self._stop_listening()
        elif before is Fault.REFUSED:
            await self._listen()

    def count(self, stage: str) -> int:
        """How many requests have reached a stage."""
        return sum(one.stage == stage for one in self.seen)

    def objects(self) -> int:
        """How many objects were stored and answered for, repeats of one counted once."""
        return len({one.key for one in self.seen if one.stage == ANSWERED})

    async def until(self, stage: str, count: int) -> None:
        """Wait until that many requests have reached a stage. Raises TimeoutError."""
        await self._until(lambda: self.count(stage) >= count)

    async def until_objects(self, count: int) -> None:
        """Wait until that many objects were stored and answered for. Raises TimeoutError."""
        await self._until(lambda: self.objects() >= count)

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
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
        self._cut()
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

    def _cut(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def _note(self, stage: str, key: str) -> None:
        seen = Seen(stage, key)
        self.seen.append(seen)
        self._changed.set()
        self.at_stage(seen)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            # Cancelled only by our own end; Python 3.11's streams would report that as a mistake.
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
        """Requests of one connection, until it is cut."""
        while True:
            request = await _message(reader)
            key = request.split(b" ", 2)[1].decode().lstrip("/").partition("/")[2]
            self._note(ARRIVED, key)
            fault = self._fault
            if fault in ANSWERS:
                writer.write(ANSWERS[fault])
                await writer.drain()
                continue
            if fault is Fault.HANG:
                await reader.read()
                return
            if fault is Fault.RESET_BEFORE_STORING:
                _reset(writer)
                return
            await asyncio.sleep({Fault.LATENCY: LATENCY_SECONDS, Fault.NEARBY: NEARBY_SECONDS}.get(fault, 0))
            answer = await self._pass_on(request)
            self._note(STORED, key)
            if fault is Fault.RESET_AFTER_STORING:
                _reset(writer)
                return
            await _write(writer, answer, pause=DRIP_SECONDS if fault is Fault.SLOW_DRIP else 0)
            self._note(ANSWERED, key)

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader)
        finally:
            writer.close()


async def _write(writer: asyncio.StreamWriter, answer: bytes, *, pause: float) -> None:
    if not pause:
        writer.write(answer)
        await writer.drain()
        return
    for byte in answer:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(pause)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message whose body has a length, as S3's PUT and its answer have. Raises EOFError at the end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    return head + await reader.readexactly(lengths[0] if lengths else 0)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the client sees `connection reset by peer`."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(1, 13, _SO_LINGER_RESET)  # SOL_SOCKET, SO_LINGER
    writer.transport.abort()


def _make_context(folder: Path) -> ssl.SSLContext:
    """A certificate of its own for 127.0.0.1 in `folder`."""
    folder.mkdir(parents=True)
    subprocess.run(seaweedfs.certificate_command(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
