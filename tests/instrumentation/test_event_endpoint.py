"""`POST /events` over HTTP, at the listener and at the bootstrap server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from logferry.instrumentation.event_endpoint import EventEndpoint
from logferry.listener.http_protocol import MAX_EVENTS_BYTES, MAX_LINGER_BYTES
from logferry.listener.path_token import PathToken
from logferry.listener.server import listening
from logferry.shipper.bootstrap_connections import BootstrapConnections
from support.event_harness import EventHarness, event_harness
from support.http_post import SECONDS, connect, post, read_to_end, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

TOKEN = "/secret"  # noqa: S105 - a path
EVENT = b'{"event":"e"}'


class Served:
    """A server with an intake behind it."""

    def __init__(self, events: EventHarness, address: tuple[str, int]) -> None:
        self.events = events
        self.address = address
        self.batches: list[bytes] = []

    def ask(self, body: bytes, *, path: str = "/events", method: str = "POST", headers: str = "") -> tuple[int, str]:
        """Send a request on a separate connection; return status and text of the response."""
        headers += "Connection: close\r\n"
        with connect(self.address) as connection:
            connection.sendall(request(body, path=path, method=method, headers=headers))
            head, _, text = read_to_end(connection).partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), text.decode().strip()


def _listener(sock: socket.socket, end: threading.Event, parts: dict[str, Any]) -> None:
    async def serve() -> None:
        async with listening(sock.dup(), parts["accept"], parts["is_allowed"], events=parts["events"]):
            while not end.is_set():  # noqa: ASYNC110 - the test ends in another thread
                await asyncio.sleep(0.01)

    asyncio.run(serve())


def _bootstrap_server(sock: socket.socket, end: threading.Event, parts: dict[str, Any]) -> None:
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    connections = BootstrapConnections(listener=sock, poll=poll, **parts)
    while not end.is_set():
        ready = [fd for fd, _ in poll.poll(10)]
        connections.receive(ready, time.monotonic())
        connections.close_expired(time.monotonic())
        if sock.fileno() in ready:
            connections.accept_next(time.monotonic())
    connections.finish(0)


@pytest.fixture(params=[_listener, _bootstrap_server], ids=["listener", "bootstrap server"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Provide a function that starts one of the two servers in a thread."""
    with contextlib.ExitStack() as stack:

        def start(*, is_on: bool = True, **options: Any) -> Served:
            events = stack.enter_context(event_harness(tmp_path / "events", **options))
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            served, end = Served(events, sock.getsockname()[:2]), threading.Event()
            parts = {
                "accept": served.batches.append,
                "is_allowed": PathToken(TOKEN).is_allowed,
                "events": EventEndpoint(events.intake) if is_on else None,
            }
            thread = threading.Thread(target=request.param, args=(sock, end, parts))
            thread.start()
            stack.callback(thread.join, SECONDS)
            stack.callback(end.set)
            return served

        yield start


def test_events_are_stored_before_the_response(serve: Callable[..., Served]) -> None:
    """A 200 means that the journal has every line; empty lines and a query of the URL are allowed."""
    it = serve()
    assert it.ask(EVENT + b'\n\r\n{"metric":"m","value":1}\n', path="/events?source=x") == (200, "")
    assert it.ask(b"") == (200, "")
    assert [each["record"] for each in it.events.stored()] == [
        {"event": "e", "phase": "init"},
        {"metric": "m", "value": 1, "phase": "init"},
    ]
    assert it.batches == []


def test_events_are_never_taken_for_a_batch_before_the_token_is_used(serve: Callable[..., Served]) -> None:
    """Until the platform has used its path, a POST to any other path is a batch; `/events` never is."""
    it = serve()
    assert it.ask(b"batch", path="/") == (200, "")
    assert it.ask(EVENT) == (200, "")
    assert it.ask(b"batch 2", path=TOKEN) == (200, "")
    assert it.ask(b"refused", path="/")[0] == 403
    assert it.ask(EVENT) == (200, "")
    assert it.batches == [b"batch", b"batch 2"]
    assert len(it.events.stored()) == 2


def test_events_are_refused_when_they_are_off(serve: Callable[..., Served]) -> None:
    """The response names the setting, and nothing reaches the journal of the batches."""
    it = serve(is_on=False)
    assert it.ask(EVENT) == (404, "events are not accepted, set LOGFERRY_EVENTS=true")
    assert it.batches == []


def test_malformed_line_is_named_and_valid_lines_are_kept(serve: Callable[..., Served]) -> None:
    """The number counts the lines of the body from 1, with empty ones."""
    it = serve()
    assert it.ask(EVENT + b"\n\nnot JSON\n" + EVENT + b"\n{}") == (
        400,
        "line 3: it is not JSON (and 1 more); valid lines are stored",
    )
    assert len(it.events.stored()) == 2


def test_lines_over_the_limit_are_reported(serve: Callable[..., Served]) -> None:
    """A 200 would state that they are stored."""
    it = serve(limit=2)
    assert it.ask(b"\n".join([EVENT] * 5)) == (429, "3 lines over LOGFERRY_EVENTS_LIMIT were not stored")
    assert len(it.events.stored()) == 2


def test_full_journal_refuses_every_line(serve: Callable[..., Served]) -> None:
    """A sender may repeat the request, because nothing of it is stored; the limit does not count it."""
    it = serve(spool=1024, limit=30)
    status, reason = it.ask(b"\n".join([EVENT] * 30))
    assert (status, "LOGFERRY_SPOOL_BYTES" in reason) == (503, True)
    assert it.ask(EVENT) == (200, "")
    it.events.platform.close()
    assert it.ask(EVENT) == (503, "the execution environment is shutting down")
    assert len(it.events.stored()) == 1


@pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked\r\n"], ids=["announced", "chunked"])
def test_body_over_the_limit_is_refused_while_it_arrives(serve: Callable[..., Served], headers: str) -> None:
    """One MiB is accepted, and one byte more is refused without reading the rest."""
    it = serve(limit=100_000)
    line = b'{"event":"%s"}\n' % (b"x" * 1000)
    fits = line * (MAX_EVENTS_BYTES // len(line))
    assert it.ask(fits.ljust(MAX_EVENTS_BYTES, b"\n"))[0] == 200
    too_long = fits.ljust(MAX_EVENTS_BYTES + 1, b"\n")
    with connect(it.address) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        if headers:
            size = f"{len(too_long):x}".encode()
            connection.sendall(b"POST /events HTTP/1.1\r\nHost: h\r\n" + headers.encode() + b"\r\n" + size + b"\r\n")
            connection.sendall(too_long)
        else:
            connection.sendall(request(b"", path="/events").replace(b"h: 0", b"h: %d" % len(too_long)))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert len(it.events.stored()) == len(fits) // len(line)


@pytest.mark.parametrize("size", [MAX_EVENTS_BYTES + 1, 4 * MAX_EVENTS_BYTES])
def test_client_that_sends_a_too_large_body_first_gets_the_response(serve: Callable[..., Served], size: int) -> None:
    """The kernel would reset a connection that is closed with unread data, and the client would get an error."""
    it = serve()
    assert [it.ask(b"x" * size)[0] for _ in range(3)] == [413] * 3
    assert it.ask(EVENT) == (200, "")


def test_client_that_never_ends_a_refused_body_is_disconnected(serve: Callable[..., Served]) -> None:
    """The discarded bytes are limited."""
    it = serve()
    with connect(it.address) as connection:
        connection.sendall(request(b"", path="/events").replace(b"h: 0", b"h: %d" % (1 << 40)))
        more_than_the_buffers_take = bytes(MAX_LINGER_BYTES + (64 << 20))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(more_than_the_buffers_take)
    assert it.ask(EVENT) == (200, "")


def test_other_methods_are_refused(serve: Callable[..., Served]) -> None:
    """The endpoint has no state to read."""
    it = serve()
    assert it.ask(b"", method="GET") == (405, "only POST requests are accepted")
    assert it.ask(EVENT, method="PUT")[0] == 405
    assert it.events.stored() == []


@pytest.mark.parametrize("path", ["/events/", "/Events", "//events", "/events%20", "/x/events"])
def test_other_paths_are_no_endpoint_of_events(serve: Callable[..., Served], path: str) -> None:
    """They are judged by the token, as any other path."""
    it = serve()
    assert it.ask(b"batch", path=TOKEN) == (200, "")
    assert it.ask(EVENT, path=path)[0] == 403
    assert it.events.stored() == []


def test_incomplete_posts_of_events_do_not_use_up_the_budget_of_batches(serve: Callable[..., Served]) -> None:
    """Slow senders of events get 503, and batches of the platform are accepted."""
    it = serve()
    half = request(b"", path="/events").replace(b"h: 0", b"h: %d" % MAX_EVENTS_BYTES) + b"x" * (MAX_EVENTS_BYTES - 1)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(it.address)) for _ in range(3)]
        for connection in slow:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(half)
        (refused,), _, _ = select.select(slow, [], [], SECONDS)
        assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
        assert post(it.address, b"z" * 5_000_000, path=TOKEN) == 200
    until = time.monotonic() + SECONDS
    while it.ask(EVENT)[0] != 200:
        assert time.monotonic() < until
    assert json.dumps([len(batch) for batch in it.batches]) == "[5000000]"
