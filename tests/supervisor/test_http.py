"""HTTP/1.1 client and flat-JSON reader of the supervisor."""

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
UNTIL_CLOSE = b'HTTP/1.0 200 OK\r\n\r\n"OK"'
COMPLETE = [BY_LENGTH, CHUNKED, CHUNKED_WITH_TRAILER]
SECONDS = 5.0


@pytest.mark.parametrize("response_bytes", COMPLETE)
def test_response_is_none_until_its_last_byte_has_arrived(response_bytes: bytes) -> None:
    """The parser returns a complete response only, and leaves the following bytes in the buffer."""
    for size in range(len(response_bytes)):
        assert http.parse(response_bytes[:size], ended=False) is None, response_bytes[:size]
    parsed = http.parse(response_bytes + b"HTTP/1.1 2", ended=False)
    assert parsed
    response, rest = parsed
    assert (response.status, response.body, rest) == (200, b'"OK"', b"HTTP/1.1 2")


@pytest.mark.parametrize("response_bytes", COMPLETE)
def test_response_raises_if_the_connection_ends_inside_it(response_bytes: bytes) -> None:
    """An incomplete response is never returned."""
    for size in range(len(response_bytes)):
        with pytest.raises(http.ProtocolError):
            http.parse(response_bytes[:size], ended=True)


def test_body_without_a_length_ends_with_the_connection() -> None:
    """RFC 9112, 6.3, last case: no length and no chunked coding."""
    assert http.parse(UNTIL_CLOSE, ended=False) is None
    parsed = http.parse(UNTIL_CLOSE, ended=True)
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
def test_header_names_are_in_lower_case_and_values_without_padding(head: bytes, name: bytes, value: bytes) -> None:
    """RFC 9110, 5: names are case-insensitive, and white space around a value has no meaning."""
    parsed = http.parse(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nContent-Length: 0\r\n\r\n", ended=False)
    assert parsed
    assert parsed[0].headers[name] == value


@pytest.mark.parametrize("status", [200, 202, 403, 500])
def test_status_is_read_without_a_reason_phrase(status: int) -> None:
    """The reason phrase is optional."""
    parsed = http.parse(b"HTTP/1.1 %d\r\nContent-Length: 0\r\n\r\n" % status, ended=False)
    assert parsed
    assert parsed[0].status == status


@pytest.mark.parametrize(
    "junk",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 5000 + b"\r\n\r\n",
        b"<html>\r\n\r\n",
    ],
)
def test_response_raises_if_it_is_not_http(junk: bytes) -> None:
    """The error shows the beginning of the line."""
    with pytest.raises(http.ProtocolError, match="not an HTTP"):
        http.parse(junk, ended=False)


@pytest.mark.parametrize(
    "response_bytes",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_response_raises_a_protocol_error_for_an_invalid_size(response_bytes: bytes) -> None:
    """The caller handles one exception for every response that cannot be read."""
    with pytest.raises(http.ProtocolError):
        http.parse(response_bytes, ended=True)


@contextlib.contextmanager
def peer(response_bytes: bytes, *, pieces: int, connections: int = 1) -> Iterator[tuple[bytes, list[bytes]]]:
    """Serve the same response for each request, in pieces; return the address and the requests."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)

        def serve() -> None:
            for _ in range(connections):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(SECONDS)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while request := connection.recv(65536):
                        requests.append(request)
                        for at in range(0, len(response_bytes), pieces):
                            connection.sendall(response_bytes[at : at + pieces])
                        if b"HTTP/1.0" in response_bytes or b"Connection: close" in response_bytes:
                            break

        thread = threading.Thread(target=serve)
        thread.start()
        yield b"127.0.0.1:%d" % server.getsockname()[1], requests
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.mark.parametrize("response_bytes", [*COMPLETE, UNTIL_CLOSE])
@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_connection_reads_a_response_in_pieces_of_any_size(response_bytes: bytes, pieces: int) -> None:
    """TCP may split a response anywhere, also after each byte."""
    with peer(response_bytes, pieces=pieces) as (address, _):
        connection = http.Connection(address)
        connection.send(b"GET", b"/2020-01-01/extension/event/next", {})
        assert connection.receive().body == b'"OK"'
        connection.close()


def test_connection_is_reused_and_sends_each_request_in_one_write() -> None:
    """Two writes would meet Nagle's algorithm; another connection costs one more round trip."""
    with peer(BY_LENGTH, pieces=10_000) as (address, requests):
        connection = http.Connection(address)
        for _ in range(3):
            connection.send(b"POST", b"/path", {b"Lambda-Extension-Name": b"logferry"}, b'{"events":[]}')
            assert connection.receive().status == 200
        connection.close()
    assert (
        requests
        == [
            b"POST /path HTTP/1.1\r\nHost: " + address + b"\r\nLambda-Extension-Name: logferry\r\n"
            b'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"events":[]}'
        ]
        * 3
    )


def test_connection_is_opened_again_after_connection_close() -> None:
    """After `Connection: close` the next request uses another socket."""
    response_bytes = BY_LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with peer(response_bytes, pieces=10_000, connections=2) as (address, requests):
        connection = http.Connection(address)
        for _ in range(2):
            connection.send(b"GET", b"/", {})
            assert connection.receive().body == b'"OK"'
        assert connection.fileno() == -1
    assert len(requests) == 2


@pytest.mark.parametrize("address", [b"", b"host", b"host:", b"host:x", b"host:9001x", b"host:" + b"9" * 5000, b"\xff"])
def test_connection_raises_for_an_address_without_host_and_port(address: bytes) -> None:
    """AWS_LAMBDA_RUNTIME_API has the form `host:port`; anything else is reported as an unreachable API."""
    with pytest.raises(http.ProtocolError, match="host:port"):
        http.Connection(address)


def test_read_raises_without_a_request() -> None:
    """A wait for a response without a request would have no end."""
    with pytest.raises(http.ProtocolError, match="no request was sent"):
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
        (b'{"deadlineMs":' + b"9" * 5000 + b"}", None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_number_is_found_under_its_own_name_only(document: bytes, expected: int | None) -> None:
    """A value that equals the name is not taken for the name."""
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
def test_text_is_found_under_its_own_name_only(document: bytes, expected: bytes) -> None:
    """The result is empty if the name is missing or its value is not a string."""
    assert http.text(document, b"eventType") == expected


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.dictionaries(st.sampled_from(["eventType", "deadlineMs", "requestId"]), st.text() | st.integers(0, 2**53)))
def test_reader_agrees_with_json_for_any_flat_document(document: dict[str, str | int]) -> None:
    """The reader returns the values of a JSON parser, except that it keeps escapes."""
    for separators in ((",", ":"), (", ", ": ")):
        raw = json.dumps(document, separators=separators).encode()
        for name, value in document.items():
            if isinstance(value, int):
                assert http.number(raw, name.encode()) == value
            elif '"' not in value:
                assert http.text(raw, name.encode()) == json.dumps(value)[1:-1].encode()


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.text())
def test_quoted_text_is_valid_json(text: str) -> None:
    """A line in JSON format can be parsed for any message."""
    assert json.loads(http.quote(text)) == text
