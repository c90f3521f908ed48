"""Requests of the Extensions API and the Telemetry API, as Lambda receives them."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from logferry.supervisor import http, lambda_api
from logferry.supervisor.lambda_api import (
    EXIT_MARGIN_SECONDS,
    INCOMPLETE_EVENT_SECONDS,
    INVOKE,
    INVOKE_MARGIN_SECONDS,
    LONG_BUFFER_MS,
    LONGEST_EVENT_SECONDS,
    SCHEMAS,
    SHUTDOWN,
    LambdaApi,
    Refused,
    seconds_to_hold,
)
from logferry.values import SHORT_BUFFER_MS
from support.fake_lambda_api import INIT_ERROR, LOGS, NEXT, REGISTER, TELEMETRY, FakeLambdaApi, event, fake_lambda_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

pytestmark = pytest.mark.timeout(30)


@contextlib.contextmanager
def client(answers: Mapping[str, Sequence[int]] | None = None) -> Iterator[tuple[LambdaApi, FakeLambdaApi]]:
    """Connect a client to a server with these statuses."""
    with fake_lambda_api(answers) as server:
        api = LambdaApi(server.address)
        try:
            yield api, server
        finally:
            api.connection.close()


def subscribe(api: LambdaApi, *, extension_logs: bool = False, managed: bool = False) -> list[str]:
    """Subscribe with a fixed port and path."""
    return api.subscribe(port=9513, path=b"/secret", extension_logs=extension_logs, managed=managed)


def next_event(api: LambdaApi) -> bytes:
    """Request an event and wait for it."""
    api.request_next_event()
    while (response := api.read_next_event()) is None:
        pass
    return response.body


@pytest.mark.parametrize("events", [(INVOKE, SHUTDOWN), (SHUTDOWN,)])
def test_registration_names_the_extension_and_its_events(events: tuple[bytes, ...]) -> None:
    """The name is the file's name in /opt/extensions; the body is JSON."""
    with client() as (api, server):
        api.register(events=events)
        request = server.to(REGISTER)[0]
        assert (request.method, request.headers["Lambda-Extension-Name"]) == ("POST", "logferry")
        assert json.loads(request.body) == {"events": [event.decode() for event in events]}
        assert request.headers["Lambda-Extension-Accept-Feature"] == "accountId"
        assert api.account == "", "this server does not return an account"


def test_later_requests_carry_the_identifier_of_the_registration() -> None:
    """Lambda answers a request without the identifier with 403."""
    with client() as (api, server):
        api.register(events=(SHUTDOWN,))
        subscribe(api)
        server.hand_out(event("SHUTDOWN"))
        next_event(api)
        assert "Lambda-Extension-Identifier" not in server.to(REGISTER)[0].headers
        for path in (TELEMETRY, NEXT):
            assert server.to(path)[0].headers["Lambda-Extension-Identifier"] == "identifier"


def test_refused_registration_raises_with_status_body_and_remedy() -> None:
    """An extension that is not registered cannot continue."""
    with client({REGISTER: [403]}) as (api, _), pytest.raises(Refused, match=r"403 .*Test\.Refused.*named logferry\?"):
        api.register(events=(SHUTDOWN,))


def test_subscription_uses_the_newest_schema_that_is_accepted() -> None:
    """Older schemas are tried only after a refusal, in the order of the list."""
    with client({TELEMETRY: [400, 400, 200]}) as (api, server):
        assert subscribe(api) == []
        schemas = [json.loads(request.body)["schemaVersion"] for request in server.to(TELEMETRY)]
        assert schemas == ["2025-01-29", "2022-12-13", "2022-07-01"]


def test_subscription_uses_the_logs_api_last() -> None:
    """The Logs API remains where the Telemetry API refuses every schema."""
    with client({TELEMETRY: [403]}) as (api, server):
        assert subscribe(api) == []
        assert [request.path for request in server.requests] == [TELEMETRY] * 3 + [LOGS]


def test_subscription_returns_every_refusal_if_no_schema_is_accepted() -> None:
    """Each refusal names its schema, the status and the beginning of the body."""
    with client({TELEMETRY: [400], LOGS: [403]}) as (api, _):
        refusals = subscribe(api)
        assert [refusal.split(": ")[0].encode() for refusal in refusals] == [schema for _, schema in SCHEMAS]
        assert refusals[0] == '2025-01-29: 400 {"errorType":"Test.Refused"}'
        assert refusals[-1].startswith("2021-03-18: 403 ")


def test_subscription_ends_at_202_without_another_attempt() -> None:
    """202 means that the API exists and delivers nothing, for any schema."""
    with client({TELEMETRY: [202]}) as (api, server):
        assert len(subscribe(api)) == 1
        assert len(server.requests) == 1


def test_subscription_uses_the_newest_schema_only_on_managed_instances() -> None:
    """Managed Instances accept no other schema and no Logs API."""
    with client({TELEMETRY: [400]}) as (api, server):
        assert len(subscribe(api, managed=True)) == 1
        assert len(server.requests) == 1


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("extension_logs", [False, True])
def test_subscription_states_types_buffering_and_destination(*, managed: bool, extension_logs: bool) -> None:
    """The limits are those of the Telemetry API; records of extensions are subscribed only on demand."""
    with client() as (api, server):
        subscribe(api, extension_logs=extension_logs, managed=managed)
        assert json.loads(server.to(TELEMETRY)[0].body) == {
            "schemaVersion": "2025-01-29",
            "types": ["platform", "function", *(["extension"] if extension_logs else [])],
            "buffering": {
                "maxItems": 10_000,
                "maxBytes": 1_048_576,
                "timeoutMs": LONG_BUFFER_MS if managed else SHORT_BUFFER_MS,
            },
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:9513/secret"},
        }


def test_init_error_carries_the_reason_as_json() -> None:
    """Quotes, control characters and other scripts in a reason do not break the document."""
    reason = 'LOGFERRY_KEY is "a\nb\\": ü'
    with client() as (api, server):
        api.report_init_error(reason)
        request = server.to(INIT_ERROR)[0]
        assert json.loads(request.body) == {"errorMessage": reason, "errorType": "Extension.ConfigInvalid"}
        assert request.headers["Lambda-Extension-Function-Error-Type"] == "Extension.ConfigInvalid"


def test_next_event_is_returned_as_lambda_sent_it() -> None:
    """The shipper parses the event, so its bytes stay unchanged."""
    with client() as (api, server):
        document = event("INVOKE", requestId="r")
        server.hand_out(document)
        assert next_event(api) == document
        assert (server.to(NEXT)[0].method, server.to(NEXT)[0].body) == ("GET", b"")


@contextlib.contextmanager
def closing_server(*, failures: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """Run a server that closes the first connections after the request and answers 200 on the next one."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            for count in range(failures + 1):
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    received.append(connection.recv(65_536))
                    if count == failures:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                        connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield b"127.0.0.1:%d" % server.getsockname()[1], received
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_request_is_repeated_on_a_new_connection_if_the_first_one_breaks() -> None:
    """A connection that closes during the Init phase must not end the extension."""
    with closing_server(failures=lambda_api.API_TRIES - 1) as (address, received):
        api = LambdaApi(address)
        api.register(events=(SHUTDOWN,))
        assert len(received) == lambda_api.API_TRIES
        assert len(set(received)) == 1
        api.connection.close()


def test_request_fails_after_the_last_attempt() -> None:
    """The number of attempts and the time between them are limited."""
    with closing_server(failures=lambda_api.API_TRIES) as (address, received):
        began = time.monotonic()
        with pytest.raises(http.ProtocolError):
            LambdaApi(address).register(events=(SHUTDOWN,))
        assert len(received) == lambda_api.API_TRIES
        assert time.monotonic() - began < 5


def test_event_request_is_never_repeated() -> None:
    """Lambda answers a second request for an event with 403 and ends the environment."""
    with closing_server(failures=1) as (address, received):
        api = LambdaApi(address)
        with pytest.raises(http.ProtocolError):
            next_event(api)
        assert len(received) == 1
        api.connection.close()


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        (b'{"eventType":"INVOKE","deadlineMs":1030000,"requestId":"r"}', 30 - INVOKE_MARGIN_SECONDS),
        (b'{"eventType":"SHUTDOWN","deadlineMs":1002000,"shutdownReason":"spindown"}', 2 - EXIT_MARGIN_SECONDS),
        (b'{"eventType":"SHUTDOWN","deadlineMs":1002000}', 2 - EXIT_MARGIN_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":995000,"requestId":"r"}', -5 - INVOKE_MARGIN_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":99999999999999,"requestId":"r"}', LONGEST_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","requestId":"r"}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":null,"requestId":"r"}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":"1030000","requestId":"r"}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":' + b"9" * 5000 + b',"requestId":"r"}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":1030000,"requestId":""}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":1030000,"requestId":null}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":1030000}', INCOMPLETE_EVENT_SECONDS),
        (b'{"eventType":"INVOKE","deadlineMs":1000500}', 0.5 - INVOKE_MARGIN_SECONDS),
        (b'{"eventType":"SHUTDOWN"}', INCOMPLETE_EVENT_SECONDS),
    ],
)
def test_event_is_held_at_most_until_its_deadline_or_a_fixed_limit(document: bytes, seconds: float) -> None:
    """An event with missing or unusable fields has a short limit, because its end cannot be recognized."""
    assert seconds_to_hold(document, epoch_seconds=1000.0) == pytest.approx(seconds)


def test_summary_limits_the_body_and_replaces_invalid_bytes() -> None:
    """A message stays short and printable, whatever the response contains."""
    response = http.Response(status=500, headers={}, body=b"\xff" + b"x" * 1000)
    assert lambda_api.summary(response) == "500 \ufffd" + "x" * 199
