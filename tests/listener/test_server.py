"""The HTTP listener: it stores batches and responds, and other clients of the port do no harm."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from logferry.errors import JournalFull
from logferry.listener import admission, http_protocol
from logferry.listener.http_protocol import MAX_BODY_BYTES
from logferry.listener.server import listening
from support.batch_strategies import ANYTHING
from support.http_post import SECONDS, connect, post, read_status, read_to_end, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.timeout(60)


@dataclass
class Journal:
    """A journal double that can be full."""

    bodies: list[bytes] = field(default_factory=list)
    full: bool = False

    def accept(self, body: bytes) -> None:
        """Store a batch, or refuse it if the journal is full."""
        if self.full:
            raise JournalFull("the spool is full")
        self.bodies.append(body)


@asynccontextmanager
async def running_listener(stored: Journal) -> AsyncIterator[tuple[str, int]]:
    """Run a listener on a free port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with listening(sock, stored.accept):
            yield sock.getsockname()[:2]


async def posted(address: tuple[str, int], body: bytes, *, method: str = "POST", headers: str = "") -> int:
    """Send a request from a thread, as another process would."""
    return await asyncio.to_thread(post, address, body, method=method, headers=headers)


async def test_listener_stores_a_batch_and_then_responds() -> None:
    """A 200 means that the journal has the batch."""
    stored = Journal()
    async with running_listener(stored) as address:
        assert await posted(address, b'[{"type":"function"}]') == 200
    assert stored.bodies == [b'[{"type":"function"}]']


@pytest.mark.parametrize("path", ["/", "/any/where", "/%zz?x=1", "*"])
async def test_listener_accepts_any_path_without_a_token(path: str) -> None:
    """AWS's emulator posts to `/`, not to the subscribed path."""
    stored = Journal()
    async with running_listener(stored) as address:
        assert await asyncio.to_thread(post, address, b"x", path=path) in ((200, 400) if path == "*" else (200,))
        assert await posted(address, b"y") == 200


@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_listener_stores_any_body_unchanged(body: bytes) -> None:
    """A batch is not refused because of its content, because it would be delivered again indefinitely."""

    async def deliver() -> None:
        stored = Journal()
        async with running_listener(stored) as address:
            assert await posted(address, body) == 200
        assert stored.bodies == ([body] if body else [])

    asyncio.run(deliver())


async def test_listener_joins_the_chunks_of_a_body() -> None:
    """The Telemetry API does not exclude chunked transfer coding."""
    stored = Journal()
    chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with running_listener(stored) as address:
        with connect(address) as connection:
            connection.sendall(chunked)
            assert await asyncio.to_thread(read_status, connection) == 200
    assert stored.bodies == [b"abcde"]


async def test_listener_keeps_a_connection_open_for_many_batches() -> None:
    """The platform reuses its connection. A new one for each batch would cost both sides CPU time."""
    stored = Journal()
    async with running_listener(stored) as address:
        with connect(address) as connection:
            for n in range(20):
                connection.sendall(request(b"%d" % n))
                assert await asyncio.to_thread(read_status, connection) == 200
    assert stored.bodies == [b"%d" % n for n in range(20)]


async def test_listener_refuses_a_path_that_is_not_allowed() -> None:
    """The platform uses the subscribed path and is served; nothing else is stored."""
    stored = Journal()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with listening(sock, stored.accept, lambda path: path == "/hard-to-guess"):
            for path, status in (("/", 403), ("/hard-to-guess/x", 403), ("/hard-to-guess", 200)):
                assert await asyncio.to_thread(post, sock.getsockname()[:2], path.encode(), path=path) == status
    assert stored.bodies == [b"/hard-to-guess"]


async def test_listener_responds_503_if_the_journal_is_full() -> None:
    """The platform keeps the batch and delivers it again."""
    stored = Journal(full=True)
    async with running_listener(stored) as address:
        assert await posted(address, b"x") == 503
        stored.full = False
        assert await posted(address, b"x") == 200
    assert stored.bodies == [b"x"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "BREW"])
async def test_listener_refuses_other_methods_than_post(method: str) -> None:
    """The response states it, and nothing is stored."""
    stored = Journal()
    async with running_listener(stored) as address:
        assert await posted(address, b"x", method=method) in (400, 405)
    assert stored.bodies == []


@pytest.mark.parametrize("chunked", [True, False])
async def test_listener_refuses_a_body_over_the_limit(monkeypatch: pytest.MonkeyPatch, *, chunked: bool) -> None:
    """An announced length is refused at once, chunks as soon as they exceed the limit. Nothing is stored."""
    monkeypatch.setattr(http_protocol, "MAX_BODY_BYTES", 1000)
    stored = Journal()
    body = b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n" if chunked else b"x" * 1001
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    async with running_listener(stored) as address:
        with connect(address) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nHost: h\r\n{size}\r\n\r\n".encode() + body)
            assert await asyncio.to_thread(read_status, connection) == 413
        assert await posted(address, b"small") == 200
    assert stored.bodies == [b"small"]


async def test_listener_accepts_a_batch_of_the_largest_size() -> None:
    """The platform sends about 2 MiB with the requested `maxBytes`, and the limit is well above."""
    stored = Journal()
    async with running_listener(stored) as address:
        assert await posted(address, b"x" * (MAX_BODY_BYTES - 1)) == 200
    assert len(stored.bodies[0]) == MAX_BODY_BYTES - 1


async def test_listener_responds_408_to_a_slow_body_and_serves_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow request occupies one connection for a limited time."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.2)
    stored = Journal()
    async with running_listener(stored) as address:
        with connect(address) as slow:
            slow.sendall(request(b"incomplete")[:-3])
            assert await posted(address, b"fast") == 200
            assert await asyncio.to_thread(read_status, slow) == 408
    assert stored.bodies == [b"fast"]


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n\r\n",
        b"POST\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"\x00" * 9000,
    ],
)
async def test_listener_ignores_junk_and_logs_nothing(junk: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """A message would go to the customer's log, at the rate at which another process sends junk."""
    stored = Journal()
    async with running_listener(stored) as address:
        with connect(address) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(read_status, connection) in (0, 400)
        assert await posted(address, b"next") == 200
    assert stored.bodies == [b"next"]
    assert capfd.readouterr() == ("", "")


async def test_listener_discards_an_incomplete_request_of_a_closed_connection(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The platform delivers the batch again, and nothing is logged."""
    stored = Journal()
    async with running_listener(stored) as address:
        with connect(address) as connection:
            connection.sendall(request(b"half a body")[:-5])
        assert await posted(address, b"complete") == 200
    assert stored.bodies == [b"complete"]
    assert capfd.readouterr() == ("", "")


async def test_listener_stores_a_gzip_body() -> None:
    """The platform does not compress. The stored batch is the sent one or its decompressed content."""
    stored = Journal()
    packed = gzip.compress(b"[]")
    async with running_listener(stored) as address:
        assert await posted(address, packed, headers="Content-Encoding: gzip\r\n") == 200
    assert stored.bodies in ([b"[]"], [packed])


async def test_listener_stores_a_body_whose_content_encoding_is_wrong() -> None:
    """A batch is stored before it is decoded."""
    stored = Journal()
    async with running_listener(stored) as address:
        assert await posted(address, b"no gzip", headers="Content-Encoding: gzip\r\n") == 200
    assert stored.bodies == [b"no gzip"]


async def test_listener_serves_a_newcomer_despite_a_hundred_idle_connections() -> None:
    """Another process may open connections without limit."""
    stored = Journal()
    async with running_listener(stored) as address:
        idle = [connect(address) for _ in range(100)]
        for connection in idle[::2]:
            connection.sendall(b"POST / HT")
        assert await posted(address, b"x") == 200
        for connection in idle:
            connection.close()
    assert stored.bodies == [b"x"]


async def test_listener_responds_408_to_an_incomplete_head_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit of a request counts from its first byte."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.1)
    async with running_listener(Journal()) as address:
        with connect(address) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nHost:")
            response = await asyncio.to_thread(read_to_end, slow)
    assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert response.endswith(b"Connection: close\r\n\r\n")


async def test_listener_does_not_extend_the_limit_of_a_head_that_arrives_byte_by_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that sends a byte from time to time must not hold its connection open."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.3)
    began = asyncio.get_running_loop().time()
    async with running_listener(Journal()) as address:
        with connect(address) as slow:

            def send_bytes() -> None:
                with contextlib.suppress(ConnectionError):
                    for byte in b"POST / HTTP/1.1\r\nHost:" * 100:
                        slow.sendall(bytes((byte,)))
                        time.sleep(0.02)

            sending = asyncio.create_task(asyncio.to_thread(send_bytes))
            assert await asyncio.to_thread(read_status, slow) == 408
            assert asyncio.get_running_loop().time() - began < SECONDS
            await sending


async def test_listener_closes_the_oldest_connection_for_a_newcomer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection limit never refuses a newcomer."""
    monkeypatch.setattr(admission, "MAX_CONNECTIONS", 2)
    async with running_listener(Journal()) as address:
        with connect(address) as oldest, connect(address) as older:
            assert await posted(address, b"x") == 200
            assert await asyncio.to_thread(oldest.recv, 1) == b""
            older.sendall(request(b"y"))
            assert await asyncio.to_thread(read_status, older) == 200


async def test_listener_closes_a_connection_that_is_idle_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits apply before the first request and between two requests."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.1)
    monkeypatch.setattr(admission, "IDLE_SECONDS", 0.2)
    async with running_listener(Journal()) as address:
        with connect(address) as silent, connect(address) as used:
            used.sendall(request(b"x"))
            assert await asyncio.to_thread(read_status, used) == 200
            for connection in (silent, used):
                assert await asyncio.to_thread(connection.recv, 1) == b""


async def test_listener_disconnects_a_client_that_does_not_read_its_responses() -> None:
    """The responses would accumulate in memory."""
    stored = Journal()
    async with running_listener(stored) as address:
        with connect(address) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            flood = request(b"x") * 20_000

            def send_without_reading() -> None:
                while True:
                    client.sendall(flood)

            with pytest.raises(ConnectionError):
                await asyncio.to_thread(send_without_reading)
        assert await posted(address, b"next") == 200


async def test_listener_ends_at_once_with_an_incomplete_request() -> None:
    """A shipper that fails must end, so that the next one can start. No client may delay that."""
    with contextlib.ExitStack() as connections:
        async with asyncio.timeout(2), running_listener(Journal()) as address:
            slow = connections.enter_context(connect(address))
            slow.sendall(request(b"incomplete")[:-3])
            assert await posted(address, b"seen") == 200


async def test_listener_leaves_the_socket_open_when_it_ends() -> None:
    """The supervisor holds the port. New connections wait in the backlog for the next shipper."""
    stored = Journal()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.settimeout(SECONDS)
        async with listening(bound.dup(), stored.accept):
            assert await posted(bound.getsockname()[:2], b"first") == 200
        with connect(bound.getsockname()[:2]) as waiting:
            waiting.sendall(request(b"second"))
            async with listening(bound.dup(), stored.accept):
                assert await asyncio.to_thread(read_status, waiting) == 200
    assert stored.bodies == [b"first", b"second"]
