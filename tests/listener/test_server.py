"""The HTTP listener: a delivery in, the journal, 200 out; and whoever else finds the port harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from logferry.errors import JournalFull
from logferry.listener import http_protocol, server
from logferry.listener.http_protocol import MAX_BODY_BYTES
from logferry.listener.server import listening
from support.batch_strategies import ANYTHING
from support.http_post import SECONDS, answer, connect, post, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.timeout(60)


@dataclass
class Stored:
    """What the listener has handed on, and whether that is to fail."""

    bodies: list[bytes] = field(default_factory=list)
    full: bool = False

    def accept(self, body: bytes) -> None:
        """Store, or refuse when told to be full."""
        if self.full:
            raise JournalFull("told to be full")
        self.bodies.append(body)


@asynccontextmanager
async def listener_at_work(stored: Stored) -> AsyncIterator[tuple[str, int]]:
    """Serve on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with listening(sock, stored.accept):
            yield sock.getsockname()[:2]


async def posted(address: tuple[str, int], body: bytes, *, method: str = "POST", headers: str = "") -> int:
    """Post from a thread, as another process would."""
    return await asyncio.to_thread(post, address, body, method=method, headers=headers)


async def test_a_delivery_is_stored_and_then_answered() -> None:
    """200 means that it is in the journal."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        assert await posted(address, b'[{"type":"function"}]') == 200
    assert stored.bodies == [b'[{"type":"function"}]']


@pytest.mark.parametrize("path", ["/", "/any/where", "/%zz?x=1", "*"])
async def test_any_path_will_do(path: str) -> None:
    """AWS's own emulator posts to `/` whatever the subscription named."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        assert await asyncio.to_thread(post, address, b"x", path=path) in ((200, 400) if path == "*" else (200,))
        assert await posted(address, b"y") == 200


@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_anything_posted_is_answered_200_and_kept_to_the_byte(body: bytes) -> None:
    """Nothing is refused for what it says: it would come back for ever."""

    async def deliver() -> None:
        stored = Stored()
        async with listener_at_work(stored) as address:
            assert await posted(address, body) == 200
        assert stored.bodies == ([body] if body else [])

    asyncio.run(deliver())


async def test_a_body_in_chunks_is_one_delivery() -> None:
    """Nothing in the API forbids the platform to chunk."""
    stored = Stored()
    chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with listener_at_work(stored) as address:
        with connect(address) as connection:
            connection.sendall(chunked)
            assert await asyncio.to_thread(answer, connection) == 200
    assert stored.bodies == [b"abcde"]


async def test_many_deliveries_share_a_connection() -> None:
    """The platform keeps its connection: a new one for each delivery would cost both sides."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        with connect(address) as connection:
            for n in range(20):
                connection.sendall(request(b"%d" % n))
                assert await asyncio.to_thread(answer, connection) == 200
    assert stored.bodies == [b"%d" % n for n in range(20)]


async def test_who_does_not_know_the_path_is_refused_and_nothing_is_stored() -> None:
    """The platform, which knows it, is served."""
    stored = Stored()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with listening(sock, stored.accept, lambda path: path == "/hard-to-guess"):
            for path, status in (("/", 403), ("/hard-to-guess/x", 403), ("/hard-to-guess", 200)):
                assert await asyncio.to_thread(post, sock.getsockname()[:2], path.encode(), path=path) == status
    assert stored.bodies == [b"/hard-to-guess"]


async def test_a_full_journal_is_503_and_says_why() -> None:
    """The platform keeps the records and delivers them again."""
    stored = Stored(full=True)
    async with listener_at_work(stored) as address:
        assert await posted(address, b"x") == 503
        stored.full = False
        assert await posted(address, b"x") == 200
    assert stored.bodies == [b"x"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "BREW"])
async def test_what_is_no_post_is_not_stored(method: str) -> None:
    """It is told so."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        assert await posted(address, b"x", method=method) in (400, 405)
    assert stored.bodies == []


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_too_large_is_refused_before_it_is_held(
    monkeypatch: pytest.MonkeyPatch, *, chunked: bool
) -> None:
    """With a length at once, without one as soon as it proves too large; either way nothing is stored."""
    monkeypatch.setattr(http_protocol, "MAX_BODY_BYTES", 1000)
    stored = Stored()
    body = b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n" if chunked else b"x" * 1001
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    async with listener_at_work(stored) as address:
        with connect(address) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nHost: h\r\n{size}\r\n\r\n".encode() + body)
            assert await asyncio.to_thread(answer, connection) == 413
        assert await posted(address, b"small") == 200
    assert stored.bodies == [b"small"]


async def test_a_delivery_of_the_largest_size_is_taken() -> None:
    """Some 2 MiB with our `maxBytes`; the bound is well above."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        assert await posted(address, b"x" * (MAX_BODY_BYTES - 1)) == 200
    assert len(stored.bodies[0]) == MAX_BODY_BYTES - 1


async def test_a_body_that_drips_is_given_up_and_others_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """408 after its time; meanwhile deliveries are answered."""
    monkeypatch.setattr(server, "READ_SECONDS", 0.2)
    stored = Stored()
    async with listener_at_work(stored) as address:
        with connect(address) as slow:
            slow.sendall(request(b"never whole")[:-3])
            assert await posted(address, b"fast") == 200
            assert await asyncio.to_thread(answer, slow) == 408
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
async def test_junk_is_no_delivery_and_makes_no_noise(junk: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """What it printed would go to the customer's log, at the pace of whoever sends it."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        with connect(address) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(answer, connection) in (0, 400)
        assert await posted(address, b"next") == 200
    assert stored.bodies == [b"next"]
    assert capfd.readouterr() == ("", "")


async def test_a_peer_that_hangs_up_halfway_stores_nothing_and_makes_no_noise(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The platform will deliver it again."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        with connect(address) as connection:
            connection.sendall(request(b"half of this")[:-5])
        assert await posted(address, b"whole") == 200
    assert stored.bodies == [b"whole"]
    assert capfd.readouterr() == ("", "")


async def test_a_body_that_claims_to_be_gzip_is_kept() -> None:
    """The platform does not compress; what is kept must be readable, or be what was sent."""
    stored = Stored()
    packed = gzip.compress(b"[]")
    async with listener_at_work(stored) as address:
        assert await posted(address, packed, headers="Content-Encoding: gzip\r\n") == 200
    assert stored.bodies in ([b"[]"], [packed])


async def test_a_body_that_claims_to_be_gzip_and_is_not_is_kept() -> None:
    """A body is stored before anybody looks into it."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        assert await posted(address, b"no gzip", headers="Content-Encoding: gzip\r\n") == 200
    assert stored.bodies == [b"no gzip"]


async def test_a_hundred_idle_connections_do_not_keep_a_delivery_waiting() -> None:
    """A neighbour may open what it likes."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        idle = [connect(address) for _ in range(100)]
        for connection in idle[::2]:
            connection.sendall(b"POST / HT")
        assert await posted(address, b"x") == 200
        for connection in idle:
            connection.close()
    assert stored.bodies == [b"x"]


async def test_a_head_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has a longest time, from its first byte on."""
    monkeypatch.setattr(server, "READ_SECONDS", 0.1)
    async with listener_at_work(Stored()) as address:
        with connect(address) as slow:
            slow.settimeout(1.0)
            slow.sendall(b"POST / HTTP/1.1\r\nHost:")
            await asyncio.to_thread(slow.recv, 1)


async def test_a_connection_on_which_nothing_comes_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two deliveries as before the first; an answer is no sign of life."""
    monkeypatch.setattr(server, "READ_SECONDS", 0.1)
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    async with listener_at_work(Stored()) as address:
        with connect(address) as silent, connect(address) as used:
            used.sendall(request(b"x"))
            assert await asyncio.to_thread(answer, used) == 200
            for connection in (silent, used):
                assert await asyncio.to_thread(connection.recv, 1) == b""


async def test_who_sends_and_never_reads_is_hung_up_on() -> None:
    """His answers would wait in our memory."""
    stored = Stored()
    async with listener_at_work(stored) as address:
        with connect(address) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            flood = request(b"x") * 20_000

            def pour() -> None:
                while True:
                    deaf.sendall(flood)

            with pytest.raises(ConnectionError):
                await asyncio.to_thread(pour)
        assert await posted(address, b"next") == 200


async def test_it_ends_at_once_whoever_is_still_sending() -> None:
    """A shipper that fails must make room for the next one: nobody on the machine may keep it from ending."""
    with contextlib.ExitStack() as connections:
        async with asyncio.timeout(2), listener_at_work(Stored()) as address:
            slow = connections.enter_context(connect(address))
            slow.sendall(request(b"never whole")[:-3])
            assert await posted(address, b"seen") == 200


async def test_the_socket_is_left_to_whoever_bound_it_when_listening_ends() -> None:
    """The supervisor holds the port: what comes now waits in the backlog for the next shipper."""
    stored = Stored()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.settimeout(SECONDS)
        async with listening(bound.dup(), stored.accept):
            assert await posted(bound.getsockname()[:2], b"first") == 200
        with connect(bound.getsockname()[:2]) as waiting:
            waiting.sendall(request(b"second"))
            async with listening(bound.dup(), stored.accept):
                assert await asyncio.to_thread(answer, waiting) == 200
    assert stored.bodies == [b"first", b"second"]
