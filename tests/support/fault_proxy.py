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
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from support.fault_connections import as_chunked, make_context, read_message, reset, silence, write, write_endless
from support.s3_faults import (
    DRIP_SECONDS,
    ENDLESS_SECONDS,
    LATENCIES,
    Fault,
    response_without_storing,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

WAIT_SECONDS = 15.0
"""Maximum time of every wait for a stage, in seconds: far above any client's time for one attempt."""
ARRIVED, REFUSED, STORED, RESPONDED = "arrived", "refused", "stored", "responded"
"""Stages of a request: received completely; refused by the proxy; stored by the server; response sent."""

CERTIFICATES = {"good": "IP:127.0.0.1", "untrusted": "IP:127.0.0.1", "wrong-name": "DNS:other.example"}
"""Certificates of the proxy by name, with their subject alternative names."""
TRUSTED = ("good", "wrong-name")
PRESENTED = {Fault.UNTRUSTED_CERTIFICATE: "untrusted", Fault.WRONG_NAME: "wrong-name"}
"""Certificate that each fault presents instead of the good one."""


@dataclass(frozen=True)
class StageReached:
    """A stage that a request has reached; `key` is its path without the bucket."""

    stage: str
    key: str
    bucket: str


class FaultProxy:
    """Context manager: `async with FaultProxy(s3.endpoint_url) as proxy`; clients use `proxy.endpoint_url`.

    With a `certificates` directory the proxy uses TLS; `trusted` is then the value of
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
        self.faulty_bucket = ""
        """Bucket whose requests have the fault, or empty for all of them."""
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
        """Return the CA bundle that clients should trust."""
        if self._certificates is None:
            raise ValueError("this proxy does not use TLS: pass a directory for certificates")
        return self._certificates / "trusted.pem"

    @property
    def fault(self) -> Fault:
        """Return the current fault."""
        return self._fault

    def reset_connections(self) -> None:
        """Reset all connections, as a server resets those that were idle for long or belong to a frozen client."""
        for writer in self._writers:
            reset(writer)

    def silence_connections(self) -> None:
        """Drop all packets of the existing connections without a reset; new connections work."""
        for writer in self._writers:
            silence(writer)

    async def set_fault(self, fault: Fault) -> None:
        """Change the fault. Connections are reset if the fault concerns connecting."""
        before, self._fault = self._fault, fault
        if fault in (Fault.REFUSED, Fault.NO_TLS, *PRESENTED):
            self.reset_connections()
        if fault is Fault.SILENT_CONNECTIONS:
            self.silence_connections()
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
            for name, san in CERTIFICATES.items():
                make = functools.partial(make_context, self._certificates / name, subject_alternative_name=san)
                self._contexts[name] = await asyncio.to_thread(make)
            trusted = [self._certificates / name / "certificate.pem" for name in TRUSTED]
            self.trusted.write_text("".join(path.read_text() for path in trusted))
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

    def _note(self, stage: str, place: str) -> None:
        bucket, _, key = place.partition("/")
        seen = StageReached(stage, key, bucket)
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
                    await writer.start_tls(self._contexts[PRESENTED.get(self._fault, "good")])
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection until it is closed."""
        while True:
            request = await read_message(reader)
            place = request.split(b" ", 2)[1].decode().lstrip("/")
            self._note(ARRIVED, place)
            is_faulty = self.faulty_bucket in ("", place.partition("/")[0])
            fault = self._fault if is_faulty else Fault.NONE
            # 1. Faults that do not store the object.
            if response := response_without_storing(fault, request):
                self._note(REFUSED, place)
                await write(writer, response)
                continue
            if fault is Fault.ENDLESS:
                await write_endless(writer, b"HTTP/1.1 503 Injected\r\n", pause=ENDLESS_SECONDS)
            if fault is Fault.HANG:
                await reader.read()
                return
            if fault is Fault.RESET_BEFORE_STORING:
                reset(writer)
                return
            # 2. Faults before storing, which delay it.
            if fault is Fault.CONTINUE:
                await write(writer, b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(LATENCIES.get(fault, 0))
            response = await self._forward(request)
            self._note(STORED, place)
            # 3. Faults after storing.
            if fault is Fault.RESET_AFTER_STORING:
                reset(writer)
                return
            response = as_chunked(response) if fault is Fault.CHUNKED else response
            await write(writer, response, pause=DRIP_SECONDS if fault is Fault.SLOW_DRIP else 0)
            self._note(RESPONDED, place)

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            await write(writer, request)
            return await read_message(reader, has_body=not request.startswith(b"HEAD "))
        finally:
            writer.close()
