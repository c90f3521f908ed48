"""The bootstrap server: batches and pings are answered while the libraries are imported."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from logferry import ipc
from logferry.errors import JournalFull
from logferry.listener import admission
from logferry.listener.admission import MAX_CONNECTIONS
from logferry.listener.http_protocol import MAX_BODY_BYTES, MAX_HEAD_BYTES, BodyBudget, RequestParser
from logferry.shipper import bootstrap_connections
from logferry.shipper.bootstrap_server import FINISH_SECONDS, BootstrapServer
from support.batch_strategies import ANYTHING
from support.http_post import SECONDS, connect, post, read_status, read_to_end, request

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(30)


@dataclass
class Running:
    """A bootstrap server in a thread, and everything that it has received."""

    address: tuple[str, int]
    supervisor: socket.socket
    stored: list[bytes] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    imported: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    full: bool = False
    path: str = ""

    def is_allowed(self, path: str) -> bool:
        """Allow every path, or only the configured one."""
        return not self.path or path == self.path

    def accept(self, body: bytes) -> None:
        """Store a batch, or refuse it if the journal is full."""
        if self.full:
            raise JournalFull("the spool is full")
        self.stored.append(body)

    def load(self) -> None:
        """Complete the imports."""
        if not self.imported.is_set():
            self.imported.set()
            connect(self.address).close()  # ends the wait of the server


@contextlib.contextmanager
def running_server() -> Iterator[Running]:
    """Run a bootstrap server until the imports are complete."""
    supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor.settimeout(SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as listener, supervisor, channel:
        it = Running(listener.getsockname()[:2], supervisor)
        bootstrap_server = BootstrapServer(
            listener=listener, channel=channel, is_allowed=it.is_allowed, accept=it.accept, on_packet=it.packets.append
        )

        def serve() -> None:
            bootstrap_server.serve(lambda: 0.0 if it.imported.is_set() else SECONDS)
            bootstrap_server.finish()
            it.ended.set()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield it
        finally:
            it.load()
            thread.join(SECONDS)
            assert it.ended.is_set()


def test_bootstrap_server_stores_a_batch_and_then_responds() -> None:
    """A 200 means that the journal has the batch, for any path and a body of any bytes."""
    with running_server() as it:
        assert post(it.address, b'[{"type":"function"}]', path="/any/path?x") == 200
        assert post(it.address, b"\x00\xff") == 200
        assert it.stored == [b'[{"type":"function"}]', b"\x00\xff"]


@settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_bootstrap_server_stores_any_body_unchanged(body: bytes) -> None:
    """A refused batch would be delivered again indefinitely."""
    with running_server() as it:
        assert post(it.address, body) == 200
        assert it.stored == ([body] if body else [])


def test_bootstrap_server_accepts_a_request_byte_by_byte_and_serves_others_meanwhile() -> None:
    """A slow client occupies one connection."""
    with running_server() as it, connect(it.address) as slow:
        for byte in request(b"slow"):
            slow.sendall(bytes((byte,)))
            if byte == ord("H"):
                assert post(it.address, b"fast") == 200
        assert read_status(slow) == 200
        assert it.stored[-1] == b"slow"


def test_bootstrap_server_responds_503_if_the_journal_is_full() -> None:
    """The platform keeps a refused batch, and later batches are stored."""
    with running_server() as it:
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
def test_bootstrap_server_refuses_an_invalid_request_and_serves_the_next(raw: bytes, status: int) -> None:
    """Other clients of the port get a response, and nothing is stored."""
    with running_server() as it:
        with connect(it.address) as connection:
            connection.sendall(raw)
            assert read_status(connection) == status
        assert post(it.address, b"next") == 200
        assert it.stored == [b"next"]


def test_bootstrap_server_responds_405_to_another_method_than_post() -> None:
    """Its body is discarded, as by the listener, so 200 would be wrong."""
    with running_server() as it:
        assert post(it.address, b"a batch", method="PUT") == 405
        assert it.stored == []


def test_bootstrap_server_refuses_a_path_that_is_not_allowed() -> None:
    """The response is 403; the platform uses the subscribed path and is served."""
    with running_server() as it:
        it.path = "/hard-to-guess"
        assert post(it.address, b"forged", path="/") == 403
        assert post(it.address, b"forged", path="/hard-to-guess/x") == 403
        assert post(it.address, b"real", path="/hard-to-guess") == 200
        assert it.stored == [b"real"]


def test_bootstrap_server_discards_an_incomplete_request_of_a_closed_connection() -> None:
    """The platform delivers the batch again."""
    with running_server() as it:
        with connect(it.address) as connection:
            connection.sendall(request(b"half a body")[:-5])
        assert post(it.address, b"complete") == 200
        assert it.stored == [b"complete"]


def test_bootstrap_server_serves_a_newcomer_and_closes_the_oldest_connection() -> None:
    """Idle connections of another process must not shut the platform out during startup."""
    with running_server() as it, contextlib.ExitStack() as connections:
        idle = [connections.enter_context(connect(it.address)) for _ in range(MAX_CONNECTIONS)]
        newcomer = connections.enter_context(connect(it.address))
        newcomer.sendall(request(b"batch"))
        assert read_status(newcomer) == 200
        assert read_to_end(idle[0]) == b""
        idle[1].sendall(request(b"later"))
        assert read_status(idle[1]) == 200
        assert it.stored == [b"batch", b"later"]


def test_bootstrap_server_serves_each_of_many_newcomers() -> None:
    """A process that opens connections without limit gets no advantage over the platform."""
    with running_server() as it, contextlib.ExitStack() as connections:
        for number in range(3 * MAX_CONNECTIONS):
            connections.enter_context(connect(it.address)).sendall(b"POST / HT")
            if number % MAX_CONNECTIONS == 0:
                assert post(it.address, b"%d" % number) == 200
        assert post(it.address, b"last") == 200
        assert it.stored == [b"0", b"%d" % MAX_CONNECTIONS, b"%d" % (2 * MAX_CONNECTIONS), b"last"]


def test_bootstrap_server_responds_408_to_an_incomplete_request_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests have the time limit of the listener during startup as well."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.2)
    with running_server() as it:
        with connect(it.address) as slow:
            slow.sendall(request(b"incomplete")[:-3])
            assert post(it.address, b"fast") == 200
            response = read_to_end(slow)
        assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert response.endswith(b"Connection: close\r\n\r\n")
        assert it.stored == [b"fast"]


def test_bootstrap_server_closes_a_connection_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a first byte is closed without a response."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.2)
    with running_server() as it, connect(it.address) as silent:
        assert read_to_end(silent) == b""
        assert post(it.address, b"next") == 200


def test_bootstrap_server_answers_pings_and_passes_other_packets_on() -> None:
    """Packets are passed on in order, and the end of the supervisor as an empty packet."""
    with running_server() as it:
        it.supervisor.send(ipc.PING)
        assert it.supervisor.recv(16) == ipc.PONG
        it.supervisor.send(b'E1\n{"eventType":"INVOKE"}')
        it.supervisor.send(ipc.PING)
        assert it.supervisor.recv(16) == ipc.PONG
        assert it.packets == [b'E1\n{"eventType":"INVOKE"}']
        it.supervisor.shutdown(socket.SHUT_RDWR)
        assert post(it.address, b"still served") == 200
    assert it.packets == [b'E1\n{"eventType":"INVOKE"}', b""]


def test_bootstrap_server_leaves_the_socket_open_when_it_ends() -> None:
    """New connections wait in the backlog for the listener."""
    with running_server() as it:
        it.load()
        assert it.ended.wait(SECONDS)
        with connect(it.address) as connection:
            connection.sendall(request(b"for the next"))
    assert it.stored == []


def test_bootstrap_server_completes_an_incomplete_request_before_it_ends() -> None:
    """The request gets `FINISH_SECONDS`, and is then stored and answered as any other."""
    with running_server() as it, connect(it.address) as connection:
        complete = request(b"late")
        connection.sendall(complete[:-2])
        assert post(it.address, b"seen") == 200  # so the incomplete request has been read too
        it.load()
        connection.sendall(complete[-2:])
        assert read_status(connection) == 200
    assert it.stored == [b"seen", b"late"]


def test_bootstrap_server_ends_in_time_despite_an_incomplete_request() -> None:
    """The request is neither stored nor answered, and it does not delay the shipper."""
    with running_server() as it, connect(it.address) as connection:
        connection.sendall(request(b"never")[:-1])
        assert post(it.address, b"seen") == 200
        began = time.monotonic()
        it.load()
        assert read_status(connection) == 0
        assert it.ended.wait(SECONDS)
        assert time.monotonic() - began < FINISH_SECONDS + 1
    assert it.stored == [b"seen"]


def test_client_that_resets_the_connection_during_the_last_response_does_no_harm() -> None:
    """The end of the response cannot be announced then (ENOTCONN)."""

    class Reset(socket.socket):
        def shutdown(self, _how: int, /) -> None:
            raise OSError(107, "Transport endpoint is not connected")

    class NoEvents:
        budget = BodyBudget()

        def accept(self, body: bytes) -> tuple[int, str]:
            raise AssertionError(body)

    here, there = socket.socketpair()
    with there, Reset(fileno=here.detach()) as sock:
        parser = RequestParser(
            accept=list[bytes]().append,
            is_allowed=lambda _: True,
            budget=BodyBudget(),
            close_after_first=True,
            events=NoEvents(),
        )
        connection = bootstrap_connections._Connection(sock, parser)
        there.sendall(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
        assert connection.receive()
        assert (connection.has_ended, connection.is_lingering) == (True, False)
        assert there.recv(100).startswith(b"HTTP/1.1 413 ")
