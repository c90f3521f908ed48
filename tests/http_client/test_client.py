"""The HTTP client against a server that follows a script on a raw socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from logferry.http_client import client as http_client
from logferry.http_client.client import KEEP_ALIVE_SECONDS, SILENT_SECONDS, HttpClient
from logferry.http_client.connection import HttpConnection, ResponseTimeout
from logferry.http_client.response import MAX_RESPONSE_BYTES, HttpError
from logferry.http_client.tls import TlsContexts
from logferry.sinks.s3.errors import CONNECTION_REMEDIES
from support.fault_connections import silence
from support.scripted_server import OK, responding, scripted_server
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from logferry.http_client.response import Response
    from support.scripted_server import Peer, ScriptedServer

pytestmark = pytest.mark.timeout(30)

HEAD = b"HTTP/1.1 200 OK\r\n"


class Clock:
    """A wall clock that a test can advance, as a freeze of the environment does."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return time.time() + self.ahead


def client_of(
    server: ScriptedServer, *, timeout: float = 5.0, clock: Clock | None = None, **options: Any
) -> HttpClient:
    """Return a client of the server."""
    return HttpClient(
        "127.0.0.1",
        server.port,
        None,
        timeout_seconds=timeout,
        remedies=CONNECTION_REMEDIES,
        wall_clock=clock or time.time,
        **options,
    )


async def put(client: HttpClient, body: bytes = b"body") -> Response:
    """Send one request."""
    return await client.request("PUT", "/key", {"host": "h", "content-length": str(len(body))}, body)


async def response_to(data: bytes, *, end: bool = False) -> Response:
    """Return the client's reading of a response."""

    async def behave(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)
        if not end:
            await peer.wait_for_end()

    async with scripted_server(behave) as server:
        client = client_of(server)
        try:
            return await put(client)
        finally:
            client.close()


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nTrailer: t\r\n\r\n", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["length", "chunked", "100", "204"],
)
async def test_response_is_complete_without_the_end_of_the_connection(data: bytes, body: bytes) -> None:
    """The framing decides; interim responses that were not requested are skipped."""
    response = await response_to(data)
    assert response.body == body


async def test_response_without_framing_lasts_until_the_end_of_the_connection() -> None:
    """HTTP/1.0 servers and simple proxies send such responses."""
    response = await response_to(HEAD + b"ETag: x\r\n\r\nabc", end=True)
    assert (response.status, response.headers["etag"], response.body) == (200, "x", b"abc")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_response_to_head_is_complete_after_its_head(framing: bytes) -> None:
    """The stated length is that of the object, and the connection is used again."""
    async with scripted_server(responding(HEAD + framing + b"\r\nETag: x\r\n\r\n", OK)) as server:
        client = client_of(server)
        response = await client.request("HEAD", "/key", {"host": "h"})
        assert (response.status, response.headers["etag"], response.body) == (200, "x", b"")
        assert (await put(client)).headers["etag"] == '"0"'
        assert server.connections == 1
        client.close()


async def test_trailer_is_not_a_header_of_the_response() -> None:
    """The ETag in the head confirms an object; a trailer may come from an intermediary."""
    response = await response_to(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nETag: x\r\n\r\n")
    assert "etag" not in response.headers


async def test_endless_response_is_cut_at_the_limit() -> None:
    """The status still counts, and the connection is closed."""

    async def endless(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"400\r\n" + b"x" * 1024 + b"\r\n")

    async with scripted_server(endless) as server:
        client = client_of(server)
        response = await put(client)
        assert response.status == 403
        assert 0 < len(response.body) <= MAX_RESPONSE_BYTES
        await asyncio.wait_for(server.ended.wait(), 5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "not HTTP"),
        (HEAD + b"Content-Length: 100\r\n\r\nabc", "in the middle"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "in the middle"),
        (HEAD[:9], "in the middle"),
        (b"", "without a response"),
        (HEAD + b"X: " + b"y" * 2 * MAX_RESPONSE_BYTES, "head exceeds"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, "head exceeds"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nxyz", "not HTTP"),
    ],
    ids=["ssh", "tls", "short", "short chunk", "short head", "nothing", "endless head", "endless 100", "upgrade"],
)
async def test_request_fails_for_a_response_that_is_not_complete_http(data: bytes, message: str) -> None:
    """The error names the fault of the response."""
    with pytest.raises(HttpError, match=message):
        await response_to(data, end=True)


async def test_request_fails_within_the_timeout_for_a_response_that_drips() -> None:
    """Single bytes are not progress of the request."""

    async def drip(peer: Peer) -> None:
        await peer.read_request()
        for byte in HEAD * 100:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.02)

    async with scripted_server(drip) as server:
        began = time.monotonic()
        with pytest.raises(ResponseTimeout, match=r"no response within 0\.3 s"):
            await put(client_of(server, timeout=0.3))
        assert time.monotonic() - began < 2
        await asyncio.wait_for(server.ended.wait(), 5)


async def test_response_that_arrived_while_the_loop_stood_still_counts() -> None:
    """The timeout of a request has passed during a freeze, and the response lies in the socket."""
    responded = asyncio.Event()

    async def responds(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        responded.set()
        await peer.wait_for_end()

    async with scripted_server(responds) as server:
        client = client_of(server, timeout=0.3)
        await client.connect()
        request = asyncio.create_task(put(client))
        await responded.wait()
        time.sleep(0.5)  # noqa: ASYNC251 - the freeze
        assert (await request).status == 200
        client.close()


async def test_response_before_the_body_is_read_ends_the_request() -> None:
    """A server that refuses after the head, and then stops reading, does not block the client."""
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nabc"
    released = asyncio.Event()

    async def refuse(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(refusal)
        await released.wait()

    async with scripted_server(refuse, responding(OK)) as server:
        client = client_of(server)
        response = await put(client, bytes(50_000_000))
        assert (response.status, response.body) == (403, b"abc")
        assert (await put(client)).status == 200, "the connection was used again in the middle of a body"
        assert server.connections == 2
        released.set()
        client.close()


async def test_large_body_arrives_unchanged_and_may_take_longer_than_the_timeout() -> None:
    """The timeout limits the wait for progress, not the upload as a whole."""
    body = bytes(range(256)) * 4096 * 8
    received: list[bytes] = []

    async def slow(peer: Peer) -> None:
        peer.writer.transport.set_write_buffer_limits(0)
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert b"PUT /key" in head
        data = b""
        while len(data) < len(body):
            data += await peer.reader.read(1 << 20)
            await asyncio.sleep(0.03)
        received.append(data)
        await peer.send(OK)

    async with scripted_server(slow) as server:
        client = client_of(server, timeout=0.4)
        began = time.monotonic()
        assert (await put(client, body)).status == 200
        assert time.monotonic() - began > 0.4
        client.close()
    assert received == [body]


async def test_acknowledgements_of_a_large_body_are_progress_while_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a slow link the kernel accepts bytes in steps that may take longer than the timeout."""
    counter = itertools.count()
    monkeypatch.setattr(HttpConnection, "acknowledged_bytes", lambda _self: next(counter).to_bytes(8, "little"))
    monkeypatch.setattr(HttpConnection, "_seconds_since_ack", lambda _self: 0.01)

    async def stalls(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.0)
        await peer.reader.readexactly(50_000_000)
        await peer.send(OK)

    async with scripted_server(stalls) as server:
        client = client_of(server, timeout=0.3)
        assert (await put(client, bytes(50_000_000))).status == 200
        client.close()


# --- keeping the connection


async def test_connection_is_reused_while_responses_allow_it() -> None:
    """Several requests need one handshake."""
    async with scripted_server(responding(OK, OK, OK)) as server:
        client = client_of(server)
        await client.connect()
        await client.connect()
        for _ in range(3):
            assert (await put(client)).status == 200
        assert server.connections == 1
        client.close()


@pytest.mark.parametrize(
    "response",
    [
        OK.replace(b"ETag", b"Connection: close\r\nETag"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK + b"bytes that no request asked for",
        OK + OK,
    ],
    ids=["close", "http/1.0", "junk", "two responses"],
)
async def test_connection_is_not_reused_after_a_response_that_forbids_it(response: bytes) -> None:
    """A second response on the same connection could be taken for the next request's."""
    async with scripted_server(responding(response, OK)) as server:
        client = client_of(server)
        await put(client)
        await put(client)
        assert server.connections == 2
        client.close()


async def test_bytes_on_an_idle_connection_end_it() -> None:
    """Some servers send 408 and close; it is not the response to the next request."""
    sent = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await asyncio.sleep(0.05)
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        sent.set()
        await peer.wait_for_end()

    async with scripted_server(late, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        await sent.wait()
        assert (await put(client)).status == 200
        assert (server.connections, len(server.requests)) == (2, 2)
        client.close()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_connection_that_the_server_has_ended_is_replaced_before_the_request(reset: bool) -> None:
    """The client checks the socket, because the event loop has not run since the connection ended."""
    ended = asyncio.Event()

    async def ends(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if reset:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.close()
        with contextlib.suppress(ConnectionError):
            await peer.writer.wait_closed()
        ended.set()

    async with scripted_server(ends, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        await ended.wait()
        await put(client)
        assert (server.connections, len(server.requests)) == (2, 2)
        client.close()


@pytest.mark.parametrize("abrupt", [False, True], ids=["close_notify", "abrupt"])
async def test_tls_connection_that_the_server_has_ended_is_replaced_before_the_request(
    tmp_path: Path, *, abrupt: bool
) -> None:
    """The server closes after a 200 without announcing it; session tickets are no reason to close."""
    certificate, key = make_certificate(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    ended = asyncio.Event()

    async def ends(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        await peer.send(OK)
        if abrupt:
            peer.writer.transport.abort()
        peer.writer.close()
        ended.set()

    async with scripted_server(ends, responding(OK), tls=served) as server:
        contexts = TlsContexts("localhost", {"AWS_CA_BUNDLE": certificate})
        client = HttpClient("localhost", server.port, contexts, timeout_seconds=5, remedies=CONNECTION_REMEDIES)
        await put(client)
        await put(client)
        await ended.wait()
        assert (await put(client)).status == 200
        assert (server.connections, len(server.requests)) == (2, 3)
        client.close()


async def test_request_is_repeated_once_if_the_kept_connection_ends_without_a_response() -> None:
    """The server closes it while the request is on its way (keep-alive race)."""

    async def races(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()

    async with scripted_server(races, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        assert (await put(client)).status == 200
        assert (server.connections, len(server.requests)) == (2, 3)
        client.close()


async def test_request_is_not_repeated_after_a_byte_of_the_response() -> None:
    """The server has processed the request, and the caller decides what follows."""

    async def breaks(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        await peer.send(HEAD)

    async with scripted_server(breaks, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        with pytest.raises(HttpError, match="in the middle"):
            await put(client)
        assert len(server.requests) == 2


@pytest.mark.parametrize("ahead", [KEEP_ALIVE_SECONDS + 0.1, 1.0, -100.0], ids=["idle", "frozen", "set back"])
async def test_connection_from_before_a_freeze_is_not_used(ahead: float) -> None:
    """The wall clock advances during a freeze; a connection from before it may be dead without a sign."""
    async with scripted_server(responding(OK, OK)) as server:
        clock = Clock()
        client = client_of(server, clock=clock)
        await put(client)
        clock.ahead = ahead
        await client.connect()
        assert server.connections == 2
        client.close()


# --- silent death


async def silent(peer: Peer) -> None:
    """Respond once, then neither respond nor close."""
    await peer.read_request()
    await peer.send(OK)
    await peer.wait_for_end()


async def test_silent_kept_connection_costs_one_second_and_one_new_connection() -> None:
    """A middlebox has dropped it without a reset; the upload timeout is much longer."""
    async with scripted_server(silent, responding(OK, OK)) as server:
        client = client_of(server, timeout=20)
        await put(client)
        began = time.monotonic()
        assert (await put(client)).status == 200
        assert SILENT_SECONDS * 0.9 < time.monotonic() - began < SILENT_SECONDS + 0.7
        await asyncio.wait_for(server.ended.wait(), 5)  # the silent connection is closed
        await put(client)
        assert server.connections == 2
        client.close()


async def test_slow_response_on_a_kept_connection_counts() -> None:
    """A healthy server that needs longer than a second is not interrupted, whichever connection responds first."""

    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        while True:
            await peer.read_request()
            await asyncio.sleep(1.4)
            await peer.send(OK.replace(b'"0"', b'"slow"'))

    async with scripted_server(slow, slow) as server:
        client = client_of(server, timeout=5)
        await put(client)
        began = time.monotonic()
        response = await put(client)
        assert response.headers["etag"] in {'"slow"', '"0"'}
        assert time.monotonic() - began < 2
        client.close()


async def test_request_that_is_not_idempotent_is_not_repeated_for_a_slow_server() -> None:
    """The server's TCP has acknowledged the complete request, so the server would process it twice."""

    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        await asyncio.sleep(2 * SILENT_SECONDS + 0.2)
        await peer.send(OK)
        await peer.wait_for_end()

    async with scripted_server(slow) as server:
        client = client_of(server, idempotent=False)
        await put(client)
        assert (await put(client)).status == 200
        assert (server.connections, len(server.requests)) == (1, 2)
        client.close()


async def test_request_that_is_not_idempotent_is_repeated_if_its_packets_are_dropped() -> None:
    """Without an acknowledgement the server does not have the request."""

    async def dies(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        silence(peer.writer)
        await asyncio.sleep(20)

    async with scripted_server(dies, responding(OK)) as server:
        client = client_of(server, timeout=20, idempotent=False)
        await put(client)
        began = time.monotonic()
        assert (await put(client, bytes(200_000))).status == 200
        assert SILENT_SECONDS * 0.9 < time.monotonic() - began < 15
        assert server.connections == 2
        client.close()


@pytest.mark.parametrize("limit", [MAX_RESPONSE_BYTES, 3 * MAX_RESPONSE_BYTES])
async def test_limit_of_a_response_is_that_of_the_client(limit: int) -> None:
    """A longer response is cut, for every response of a connection."""
    body = bytes(2 * MAX_RESPONSE_BYTES)
    response = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with scripted_server(responding(OK, response), responding(response)) as server:
        client = client_of(server, max_response_bytes=limit)
        await put(client)
        received = len((await put(client)).body)
        assert received == len(body) if limit > len(body) else received < limit
        client.close()


async def test_new_connection_after_a_silent_one_gets_the_full_timeout() -> None:
    """A server that always needs more than a second still stores the object."""

    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await asyncio.sleep(1.5)
        await peer.send(OK)
        await peer.wait_for_end()

    async with scripted_server(silent, slow) as server:
        client = client_of(server, timeout=2.0)
        await put(client)
        began = time.monotonic()
        assert (await put(client)).status == 200
        assert time.monotonic() - began > 2.0
        client.close()


async def test_repetition_after_the_end_of_the_connection_is_not_doubted() -> None:
    """The repeated request is slow, and a third one would be too many."""

    async def ends(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()

    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await asyncio.sleep(SILENT_SECONDS + 0.3)
        await peer.send(OK)
        await peer.wait_for_end()

    async with scripted_server(ends, slow) as server:
        client = client_of(server)
        await put(client)
        assert (await put(client)).status == 200
        assert (server.connections, len(server.requests)) == (2, 3)
        client.close()


async def test_silent_connection_is_replaced_without_the_kernels_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems other than Linux have no TCP_INFO; time alone decides there."""
    monkeypatch.delattr(socket, "TCP_INFO")
    async with scripted_server(silent, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        began = time.monotonic()
        assert (await put(client)).status == 200
        assert time.monotonic() - began > SILENT_SECONDS * 0.9
        assert server.connections == 2
        client.close()


async def test_silence_on_a_new_connection_is_not_doubted() -> None:
    """Only the timeout ends the wait, and there is one request."""
    never = asyncio.Event()

    async def nothing(peer: Peer) -> None:
        await peer.read_request()
        await never.wait()

    async with scripted_server(nothing) as server:
        with pytest.raises(ResponseTimeout):
            await put(client_of(server, timeout=1.3))
        assert len(server.requests) == 1
        never.set()


async def test_silent_connection_and_failing_new_one_raise_the_new_ones_error() -> None:
    """The request is repeated once only."""

    async def fails(peer: Peer) -> None:
        await peer.read_request()

    async with scripted_server(silent, fails, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        with pytest.raises(HttpError, match="without a response"):
            await put(client)
        assert server.connections == 2


async def test_connection_whose_server_acknowledges_a_long_body_is_not_doubted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An upload over a slow link takes longer than a second without being silent."""
    counter = itertools.count()
    monkeypatch.setattr(HttpConnection, "acknowledged_bytes", lambda _self: next(counter).to_bytes(8, "little"))

    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        await asyncio.sleep(1.5)
        await peer.send(OK)
        await peer.wait_for_end()

    async with scripted_server(slow) as server:
        client = client_of(server)
        await put(client)
        await put(client)
        assert (server.connections, len(server.requests)) == (1, 2)
        client.close()


@pytest.mark.parametrize("dropped", [False, True])
async def test_acknowledgements_are_counted_only_if_the_packets_arrive(*, dropped: bool) -> None:
    """The kernel's counter distinguishes a slow server from a connection whose packets are dropped."""

    async def stalls(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if dropped:
            silence(peer.writer)
        else:
            await peer.read_request()
        await asyncio.sleep(2 * SILENT_SECONDS)

    async with scripted_server(stalls, responding(OK)) as server:
        client = client_of(server)
        await put(client)
        kept = client._connection
        assert kept is not None
        before = kept.acknowledged_bytes()
        second = asyncio.create_task(put(client))
        await asyncio.sleep(SILENT_SECONDS / 2)
        assert (kept.acknowledged_bytes() == before) is dropped
        second.cancel()
        await asyncio.wait((second,))
        client.close()


async def test_kept_connection_whose_packets_are_dropped_costs_one_second() -> None:
    """An acknowledgement of an earlier request must not hide that none arrives."""

    async def drops(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        silence(peer.writer)
        await asyncio.sleep(2 * SILENT_SECONDS)

    async with scripted_server(drops, responding(OK)) as server:
        client = client_of(server, timeout=20)
        await put(client)
        began = time.monotonic()
        assert (await put(client)).status == 200
        assert SILENT_SECONDS * 0.9 < time.monotonic() - began < SILENT_SECONDS + 0.7
        client.close()


# --- connecting and cancelling


async def test_connect_fails_within_its_limit_if_the_host_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the usual cause."""
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.2)

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    client = HttpClient("192.0.2.1", 443, None, timeout_seconds=5, remedies=CONNECTION_REMEDIES)
    with pytest.raises(HttpError, match=r"no connection to 192\.0\.2\.1:443 within 0\.2 s.*VPC"):
        await client.connect()


async def test_name_resolution_starts_no_thread_for_an_ip_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are expensive on the smallest functions."""
    loop = asyncio.get_running_loop()

    async def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a name was resolved")

    monkeypatch.setattr(loop, "getaddrinfo", forbidden)
    async with scripted_server(responding(OK)) as server:
        client = client_of(server)
        assert (await put(client)).status == 200
        client.close()


async def test_cancelled_request_closes_its_connection() -> None:
    """The late response must not be taken for the next request's."""
    read = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.read_request()
        read.set()
        await peer.wait_for_end()

    async with scripted_server(late, responding(OK)) as server:
        client = client_of(server)
        task = asyncio.create_task(put(client))
        await read.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.ended.wait(), 5)
        assert (await put(client)).status == 200
        client.close()


@pytest.mark.parametrize("seconds", [0.3, SILENT_SECONDS + 0.3], ids=["waiting", "on both connections"])
async def test_cancelled_request_on_a_kept_connection_closes_every_connection(seconds: float) -> None:
    """No request is in flight when the environment is frozen."""
    ended = asyncio.Semaphore(0)

    async def silent_until_the_end(peer: Peer) -> None:
        await peer.wait_for_end()
        ended.release()

    async def first(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await silent_until_the_end(peer)

    async with scripted_server(first, silent_until_the_end) as server:
        client = client_of(server, timeout=20)
        await put(client)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await put(client)
        for _ in range(server.connections):
            await asyncio.wait_for(ended.acquire(), 5)
        assert server.connections == (2 if seconds > SILENT_SECONDS else 1)


async def test_cancelled_connect_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The uploader cancels a connection attempt before the environment is frozen."""
    started = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        started.set()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with scripted_server(responding(OK)) as server:
        client = client_of(server)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "create_connection", never)
            task = asyncio.create_task(client.connect())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (await put(client)).status == 200
        client.close()


async def test_concurrent_requests_use_one_connection_in_turn() -> None:
    """A response belongs to the request that is under way."""

    async def echo(peer: Peer) -> None:
        while True:
            body = await peer.read_request()
            await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with scripted_server(echo) as server:
        client = client_of(server)
        bodies = [f"body {number}".encode() for number in range(20)]
        responses = await asyncio.gather(*(put(client, body) for body in bodies))
        assert [response.body for response in responses] == bodies
        assert server.connections == 1
        client.close()


async def test_trust_in_more_authorities_does_not_extend_the_limit_of_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both attempts together take at most CONNECT_SECONDS."""
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.5)
    contexts = mock.create_autospec(TlsContexts, instance=True)
    contexts.widen.return_value = True
    attempts = 0

    async def slow(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.3)
        raise ssl.SSLCertVerificationError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", slow)
    with pytest.raises(HttpError, match=r"within 0\.5 s"):
        await HttpClient("192.0.2.1", 443, contexts, timeout_seconds=5, remedies=CONNECTION_REMEDIES).connect()
    assert attempts == 2


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_request_that_is_cancelled_at_any_moment_leaves_no_socket(tmp_path: Path, *, tls: bool) -> None:
    """Each step of the handshake and of the request can be the last one before a freeze."""
    certificate, key = make_certificate(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    contexts = TlsContexts("localhost", {"AWS_CA_BUNDLE": certificate}) if tls else None
    accepted: set[asyncio.BaseTransport] = set()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            accepted.add(transport)

        def connection_lost(self, _error: Exception | None) -> None:
            accepted.discard(self.transport)

        def data_received(self, _data: bytes) -> None:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(OK)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, ssl=served if tls else None)
    client = HttpClient(
        "localhost", server.sockets[0].getsockname()[1], contexts, timeout_seconds=5, remedies=CONNECTION_REMEDIES
    )
    before = sockets()
    completed = 0
    for turns in range(150):
        task = asyncio.create_task(put(client))
        for _ in range(turns // 3):
            await asyncio.sleep(0.0002 if turns % 3 == 0 else 0)
        task.cancel()
        await asyncio.wait((task,))
        completed += not task.cancelled()
        client.close()
    for _ in range(500):
        if not accepted and sockets() == before:
            break
        await asyncio.sleep(0.01)
    assert (accepted, sockets()) == (set(), before)
    assert 0 < completed < 150
    server.close()
    await server.wait_closed()


def sockets() -> int:
    """Return the number of open sockets of this process."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(path.readlink().name.startswith("socket:") for path in links if path.is_symlink())
