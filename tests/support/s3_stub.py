"""A server on loopback that replaces S3 and responds as the test defines, and sinks for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.records.model import StoredObject
from logferry.settings import Settings
from logferry.shipper.upload_target import open_target
from logferry.sinks.s3 import open_sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    import pytest

    from logferry.aws.role import Role
    from logferry.sinks.base import Sink

OBJECT = StoredObject(
    key="function=orders/dt=2026-11-21/hour=02/0a1b-00000001.ndjson.gz",
    body=b"\x1f\x8b not even gzip \x00\xff",
    metadata={"environment": "0a1b", "segment": "1", "records": "2", "final": "true"},
    content_type="application/x-ndjson",
)
TIMEOUT = 5.0
UNSET = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
)
"""Variables of the machine that would change a sink."""
_opened: list[Sink] = []


def s3_sink(
    environment: Mapping[str, str],
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    client: str = "auto",
    prefix: str = "",
    seconds: float = TIMEOUT,
    object_headers: Mapping[str, str] | None = None,
    role: Role | None = None,
) -> Sink:
    """Return a sink that is configured by the environment, as on Lambda, and may assume a role."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return opened(open_sink(bucket, prefix, os.environ, seconds, client, object_headers=object_headers, role=role))


def opened(sink: Sink) -> Sink:
    """Return a sink, which `closing_sinks` closes at the end of the test."""
    _opened.append(sink)
    return sink


def sink_of_settings(
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    client: str = "auto",
    destination: str = "s3://bucket",
    **settings: str,
) -> Sink:
    """Return the sink that the shipper opens in this environment. The names of `settings` have no prefix."""
    given = {"DESTINATION": destination, "S3_CLIENT": client} | settings
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, **{f"LOGFERRY_{name}": value for name, value in given.items()}}.items():
        monkeypatch.setenv(name, value)
    sink = open_target(Settings.from_environ(os.environ), os.environ).sink
    _opened.append(sink)
    return sink


async def close(sink: object) -> None:
    """Close the connections of a sink that has any."""
    closing = getattr(sink, "close", None)
    if closing and (pending := closing()):
        await pending


@contextlib.asynccontextmanager
async def closing_sinks() -> AsyncIterator[None]:
    """Close the sinks that are opened inside, also after a failure."""
    _opened.clear()
    yield
    while _opened:
        await close(_opened.pop())


def status(line: str, body: bytes = b"", headers: str = "") -> bytes:
    """Return a complete response."""
    return f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def s3_error(line: str, code: str, headers: str = "", *, message: str = "", more: str = "") -> bytes:
    """Return an error response as S3 sends it."""
    sentence = f"<Message>{message}</Message>" if message else ""
    return status(line, f"<Error><Code>{code}</Code>{sentence}{more}</Error>".encode(), headers)


OK = status("200 OK", headers='ETag: "0cc175b9c0f1b6a831c399e269772661"\r\n')


def s3_at(port: int) -> dict[str, str]:
    """Return an environment whose S3 endpoint is that port of loopback."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"} | keys


@dataclass(frozen=True)
class Requests:
    """Requests that a server has received: the head of each complete one, and the connections."""

    texts: list[str]
    sockets: list[socket.socket]
    connected: threading.Event
    arrived: threading.Semaphore
    """Released once for each request."""

    def __len__(self) -> int:
        return len(self.texts)

    def connections(self) -> int:
        """Return the number of connections so far."""
        return len(self.sockets)

    def values(self, header: str) -> list[str]:
        """Return the value of one header of each request, empty where it is missing."""
        found = []
        for text in self.texts:
            lines = [line.split(": ", 1) for line in text.split("\r\n")[1:]]
            found.append(next((line[1] for line in lines if line[0].lower() == header.lower()), ""))
        return found


@contextlib.contextmanager
def server_that(answer: Callable[[socket.socket, int], bool]) -> Iterator[tuple[dict[str, str], Requests]]:
    """Serve on loopback.

    `answer` is called with the connection and the number of each complete request. It returns whether
    the server continues to read.
    """
    connections: list[socket.socket] = []
    requests = Requests([], connections, threading.Event(), threading.Semaphore(0))
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                while not closing.is_set():
                    head = _read_request(connection)
                    if head is None:
                        return
                    requests.texts.append(head.decode("latin-1"))
                    requests.arrived.release()
                    if not answer(connection, len(requests)):
                        return

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connections.append(connection)
                    requests.connected.set()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield s3_at(server.getsockname()[1]), requests
        finally:
            closing.set()
            server.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)


async def cancel_put_in_flight(sink: Sink, requests: Requests) -> None:
    """Cancel a `put` when the server has received its request."""
    task = asyncio.create_task(sink.put(OBJECT))
    assert await asyncio.to_thread(requests.arrived.acquire, timeout=20)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


def _read_request(connection: socket.socket) -> bytes | None:
    """Read one complete request; return its head, or None at the end of the connection."""
    data, size = b"", -1
    while size < 0 or len(data) < size:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
        if size < 0 and b"\r\n\r\n" in data:
            head = data.partition(b"\r\n\r\n")[0]
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            size = len(head) + 4 + (int(lengths[0].split(b":")[1]) if lengths else 0)
    return head


def answering(*answers: bytes) -> Callable[[socket.socket, int], bool]:
    """Return a behaviour that sends these responses in turn, and repeats the last one."""

    def behave(connection: socket.socket, number: int) -> bool:
        connection.sendall(answers[min(number, len(answers)) - 1])
        return True

    return behave
