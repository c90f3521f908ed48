"""The doorman: deliveries and pings are answered by hand while the libraries load."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from logferry import ipc
from logferry.errors import JournalFull
from logferry.listener.http_protocol import MAX_BODY_BYTES, MAX_HEAD_BYTES
from logferry.shipper.bootstrap_server import FINISH_SECONDS, MAX_CONNECTIONS, BootstrapServer
from support.batch_strategies import ANYTHING
from support.http_post import SECONDS, answer, connect, post, request

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(30)


@dataclass
class PathToken:
    """A doorman at work in a thread, and what it has taken in."""

    address: tuple[str, int]
    supervisor: socket.socket
    loading: list[int]
    """The descriptor that is closed when all is loaded."""
    stored: list[bytes] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    full: bool = False
    path: str = ""

    def is_allowed(self, path: str) -> bool:
        """Admit everybody, or only who knows the path when there is one."""
        return not self.path or path == self.path

    def accept(self, body: bytes) -> None:
        """Store, or refuse when told to be full."""
        if self.full:
            raise JournalFull("told to be")
        self.stored.append(body)

    def load(self) -> None:
        """Let all be loaded."""
        while self.loading:
            os.close(self.loading.pop())


@contextlib.contextmanager
def door() -> Iterator[PathToken]:
    """Let a doorman serve until the libraries are loaded."""
    supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor.settimeout(SECONDS)
    done, loading = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener, supervisor, channel:
        it = PathToken(listener.getsockname()[:2], supervisor, [loading])
        bootstrap_server = BootstrapServer(
            listener=listener, channel=channel, is_allowed=it.is_allowed, accept=it.accept, hear=it.heard.append
        )

        def serve() -> None:
            bootstrap_server.serve_until(done)
            it.ended.set()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield it
        finally:
            it.load()
            thread.join(SECONDS)
            os.close(done)
            assert it.ended.is_set()


def test_a_delivery_is_stored_and_then_answered() -> None:
    """200 means that it is in the journal; any path, and a body of any bytes."""
    with door() as it:
        assert post(it.address, b'[{"type":"function"}]', path="/any/path?x") == 200
        assert post(it.address, b"\x00\xff") == 200
        assert it.stored == [b'[{"type":"function"}]', b"\x00\xff"]


@settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_anything_posted_is_answered_200_and_kept_to_the_byte(body: bytes) -> None:
    """A refused delivery would come back for ever."""
    with door() as it:
        assert post(it.address, body) == 200
        assert it.stored == ([body] if body else [])


def test_a_request_may_come_one_byte_at_a_time_and_others_do_not_wait_for_it() -> None:
    """One slow peer is one connection."""
    with door() as it, connect(it.address) as slow:
        for byte in request(b"slow"):
            slow.sendall(bytes((byte,)))
            if byte == ord("H"):
                assert post(it.address, b"fast") == 200
        assert answer(slow) == 200
        assert it.stored[-1] == b"slow"


def test_a_full_journal_is_503_and_the_platform_keeps_the_records() -> None:
    """Nothing is stored, and the doorman lives on."""
    with door() as it:
        it.full = True
        assert post(it.address, b"refused") == 503
        it.full = False
        assert post(it.address, b"taken") == 200
        assert it.stored == [b"taken"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"\x16\x03\x01 junk \r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES, 431),
    ],
)
def test_what_is_no_delivery_stores_nothing_and_stops_nobody(raw: bytes, status: int) -> None:
    """Whoever else speaks to the port gets an answer or is hung up on."""
    with door() as it:
        with connect(it.address) as connection:
            connection.sendall(raw)
            assert answer(connection) == status
        assert post(it.address, b"next") == 200
        assert it.stored == [b"next"]


def test_what_is_not_stored_is_not_answered_200() -> None:
    """A body that came by another method than POST is thrown away: 405, as the listener says."""
    with door() as it:
        status = post(it.address, b"a delivery", method="PUT")
        assert status != 200 or it.stored == [b"a delivery"]


def test_who_does_not_know_the_path_is_refused_and_nothing_is_stored() -> None:
    """403 as soon as the head is read; the platform, which knows it, is served."""
    with door() as it:
        it.path = "/hard-to-guess"
        assert post(it.address, b"forged", path="/") == 403
        assert post(it.address, b"forged", path="/hard-to-guess/x") == 403
        assert post(it.address, b"real", path="/hard-to-guess") == 200
        assert it.stored == [b"real"]


def test_a_peer_that_hangs_up_halfway_stores_nothing() -> None:
    """The platform will deliver it again."""
    with door() as it:
        with connect(it.address) as connection:
            connection.sendall(request(b"half of this")[:-5])
        assert post(it.address, b"whole") == 200
        assert it.stored == [b"whole"]


def test_too_many_connections_are_closed_and_the_doorman_lives() -> None:
    """Idle connections of a neighbour take a bounded number of places; when they go there is room again."""
    with door() as it:
        idle = [connect(it.address) for _ in range(MAX_CONNECTIONS)]
        with connect(it.address) as one_more:
            assert answer(one_more) == 0
        for connection in idle:
            connection.close()
        until = time.monotonic() + SECONDS
        while (status := post(it.address, b"room")) != 200:
            assert time.monotonic() < until, status
        assert it.stored == [b"room"]


def test_pings_are_answered_and_packets_handed_on() -> None:
    """The supervisor sees life; what else it says is heard in order, and its end as an empty packet."""
    with door() as it:
        it.supervisor.send(ipc.PING)
        assert it.supervisor.recv(16) == ipc.PONG
        it.supervisor.send(b'E1\n{"eventType":"INVOKE"}')
        it.supervisor.send(ipc.PING)
        assert it.supervisor.recv(16) == ipc.PONG
        assert it.heard == [b'E1\n{"eventType":"INVOKE"}']
        it.supervisor.shutdown(socket.SHUT_RDWR)
        assert post(it.address, b"still served") == 200
    assert it.heard == [b'E1\n{"eventType":"INVOKE"}', b""]


def test_the_port_is_handed_over_when_all_is_loaded() -> None:
    """The listening socket stays open: what comes next is somebody else's."""
    with door() as it:
        it.load()
        assert it.ended.wait(SECONDS)
        with connect(it.address) as connection:
            connection.sendall(request(b"for the next"))
    assert it.stored == []


def test_a_request_that_is_half_read_when_all_is_loaded_is_finished() -> None:
    """It gets a moment to come in whole, and is then stored and answered as any other."""
    with door() as it, connect(it.address) as connection:
        whole = request(b"late")
        connection.sendall(whole[:-2])
        assert post(it.address, b"seen") == 200  # so the half one has been read too
        it.load()
        connection.sendall(whole[-2:])
        assert answer(connection) == 200
    assert it.stored == [b"seen", b"late"]


def test_a_request_that_is_never_whole_is_let_go_in_time() -> None:
    """Neither stored nor answered, and the shipper does not start late for it."""
    with door() as it, connect(it.address) as connection:
        connection.sendall(request(b"never")[:-1])
        assert post(it.address, b"seen") == 200
        began = time.monotonic()
        it.load()
        assert answer(connection) == 0
        assert it.ended.wait(SECONDS)
        assert time.monotonic() - began < FINISH_SECONDS + 1
    assert it.stored == [b"seen"]
