"""The few bytes of HTTP that the supervisor speaks, in whatever pieces they come, and the JSON it picks apart."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from logferry.supervisor import http

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_LENGTH = b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nLambda-Extension-Identifier: id-1\r\n\r\n"OK"'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n"O\r\n2;ext=1\r\nK"\r\n0\r\n\r\n'
CHUNKED_WITH_TRAILER = CHUNKED[:-2] + b"X-Trailer: 1\r\n\r\n"
TO_THE_END = b'HTTP/1.0 200 OK\r\n\r\n"OK"'
WHOLE = [BY_LENGTH, CHUNKED, CHUNKED_WITH_TRAILER]
SECONDS = 5.0


@pytest.mark.parametrize("answer", WHOLE)
def test_an_answer_is_none_until_its_last_byte_and_then_whole(answer: bytes) -> None:
    """However it is cut: nothing is given out before its end, and what follows it stays in the buffer."""
    for size in range(len(answer)):
        assert http.parse(answer[:size], ended=False) is None, answer[:size]
    parsed = http.parse(answer + b"HTTP/1.1 2", ended=False)
    assert parsed
    response, rest = parsed
    assert (response.status, response.body, rest) == (200, b'"OK"', b"HTTP/1.1 2")


@pytest.mark.parametrize("answer", WHOLE)
def test_an_answer_that_ends_too_early_is_an_error(answer: bytes) -> None:
    """A connection that closes inside an answer never gives half of one."""
    for size in range(len(answer)):
        with pytest.raises(http.ProtocolError):
            http.parse(answer[:size], ended=True)


def test_without_a_length_the_body_ends_with_the_connection() -> None:
    """RFC 9112, 6.3, the last case."""
    assert http.parse(TO_THE_END, ended=False) is None
    parsed = http.parse(TO_THE_END, ended=True)
    assert parsed
    assert (parsed[0].body, parsed[1]) == (b'"OK"', b"")


@pytest.mark.parametrize(
    ("head", "name", "value"),
    [
        (b"Lambda-Extension-Identifier: a", b"lambda-extension-identifier", b"a"),
        (b"lambda-extension-identifier:a", b"lambda-extension-identifier", b"a"),
        (b"X:  two words \t", b"x", b"two words"),
        (b"URI: http://h:1/p", b"uri", b"http://h:1/p"),
        (b"Empty:", b"empty", b""),
    ],
)
def test_header_names_have_no_case_and_values_no_padding(head: bytes, name: bytes, value: bytes) -> None:
    """RFC 9110, 5."""
    parsed = http.parse(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nContent-Length: 0\r\n\r\n", ended=False)
    assert parsed
    assert parsed[0].headers[name] == value


@pytest.mark.parametrize("status", [200, 202, 403, 500])
def test_a_status_needs_no_words(status: int) -> None:
    """The reason phrase may be missing altogether."""
    parsed = http.parse(b"HTTP/1.1 %d\r\nContent-Length: 0\r\n\r\n" % status, ended=False)
    assert parsed
    assert parsed[0].status == status


@pytest.mark.parametrize(
    "junk", [b"SSH-2.0-x\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"<html>\r\n\r\n"]
)
def test_what_is_not_http_is_said_to_be_none(junk: bytes) -> None:
    """The error shows how it began."""
    with pytest.raises(http.ProtocolError, match="not an HTTP"):
        http.parse(junk, ended=False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_size_that_is_no_size_is_a_wire_error(answer: bytes) -> None:
    """Every answer that cannot be read is the same error to the caller, who tries again or ends in order."""
    with pytest.raises(http.ProtocolError):
        http.parse(answer, ended=True)


@contextlib.contextmanager
def peer(answer: bytes, *, pieces: int, connections: int = 1) -> Iterator[tuple[bytes, list[bytes]]]:
    """Serve one canned answer for each request of a connection, in pieces; give the address and what was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)

        def serve() -> None:
            for _ in range(connections):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(SECONDS)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while request := connection.recv(65536):
                        asked.append(request)
                        for at in range(0, len(answer), pieces):
                            connection.sendall(answer[at : at + pieces])
                        if b"HTTP/1.0" in answer or b"Connection: close" in answer:
                            break

        thread = threading.Thread(target=serve)
        thread.start()
        yield b"127.0.0.1:%d" % server.getsockname()[1], asked
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.mark.parametrize("answer", [*WHOLE, TO_THE_END])
@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_a_connection_reads_an_answer_in_any_pieces(answer: bytes, pieces: int) -> None:
    """One byte at a time is still an answer."""
    with peer(answer, pieces=pieces) as (address, _):
        connection = http.Connection(address)
        connection.send(b"GET", b"/2020-01-01/extension/event/next", {})
        assert connection.receive().body == b'"OK"'
        connection.close()


def test_a_connection_is_kept_and_each_request_leaves_in_one_piece() -> None:
    """Two writes would meet Nagle's algorithm; a new connection for each call costs another round trip."""
    with peer(BY_LENGTH, pieces=10_000) as (address, asked):
        connection = http.Connection(address)
        for _ in range(3):
            connection.send(b"POST", b"/path", {b"Lambda-Extension-Name": b"logferry"}, b'{"events":[]}')
            assert connection.receive().status == 200
        connection.close()
    assert (
        asked
        == [
            b"POST /path HTTP/1.1\r\nHost: " + address + b"\r\nLambda-Extension-Name: logferry\r\n"
            b'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"events":[]}'
        ]
        * 3
    )


def test_a_connection_that_the_peer_closes_after_its_answer_is_made_anew() -> None:
    """`Connection: close` is heeded; the next request does not go into a dead socket."""
    answer = BY_LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with peer(answer, pieces=10_000, connections=2) as (address, asked):
        connection = http.Connection(address)
        for _ in range(2):
            connection.send(b"GET", b"/", {})
            assert connection.receive().body == b'"OK"'
        assert connection.fileno() == -1
    assert len(asked) == 2


def test_reading_without_having_asked_is_an_error() -> None:
    """There is nothing to wait for, and waiting would have no end."""
    with pytest.raises(http.ProtocolError, match="nothing was asked"):
        http.Connection(b"127.0.0.1:1").read_some()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"deadlineMs":1795000000000}', 1795000000000),
        (b'{ "deadlineMs" : 17 , "x":1}', 17),
        (b'{"eventType":"deadlineMs","deadlineMs":3}', 3),
        (b'{"requestId":"\\"deadlineMs\\":9","deadlineMs":4}', 4),
        (b'{"notdeadlineMs":1}', None),
        (b'{"deadlineMs":null}', None),
        (b'{"deadlineMs":"5"}', None),
        (b'{"deadlineMs":-5}', None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_a_number_is_found_under_its_name_and_nowhere_else(document: bytes, expected: int | None) -> None:
    """The document is the platform's; a value that is spelt like the name does not mislead."""
    assert http.number(document, b"deadlineMs") == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"eventType":"SHUTDOWN","shutdownReason":"timeout"}', b"SHUTDOWN"),
        (b'{"shutdownReason":"eventType","eventType" : "INVOKE"}', b"INVOKE"),
        (b'{"eventType":7}', b""),
        (b"{}", b""),
    ],
)
def test_a_text_is_found_under_its_name(document: bytes, expected: bytes) -> None:
    """Empty where it is missing or no string."""
    assert http.text(document, b"eventType") == expected


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.dictionaries(st.sampled_from(["eventType", "deadlineMs", "requestId"]), st.text() | st.integers(0, 2**53)))
def test_picking_agrees_with_json_on_any_flat_document(document: dict[str, str | int]) -> None:
    """What is picked by hand is what a JSON parser finds, but for escapes, which are left as they are."""
    for separators in ((",", ":"), (", ", ": ")):
        raw = json.dumps(document, separators=separators).encode()
        for name, value in document.items():
            if isinstance(value, int):
                assert http.number(raw, name.encode()) == value
            elif '"' not in value:
                assert http.text(raw, name.encode()) == json.dumps(value)[1:-1].encode()


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.text())
def test_a_quoted_string_is_json(text: str) -> None:
    """Whatever an error message says, the line that carries it can be parsed."""
    assert json.loads(http.quote(text)) == text
