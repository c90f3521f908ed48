"""Requests of the HTTPS sink, TLS, proxies, and faults of a receiver."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from logferry.errors import RecordsRejected, SinkError, SinkRejected, SinkUnavailable
from logferry.http_client import client as http_client
from support import s3_stub
from support.connect_proxy import connect_proxy
from support.log_receiver import Answer, answering, https_sink, log_receiver
from support.s3_stub import OBJECT, cancel_put_in_flight, close, server_that, status
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

TOKEN = "tok-1234567890abcdef"  # noqa: S105 - a made-up token
SECRET = {"authorization": f"Bearer {TOKEN}", "x-team": "payments"}
PAGE = b"<!DOCTYPE html><html><body>Sign in to the guest network</body></html>"
HTML = (("content-type", "text/html"),)
JSON = (("content-type", "application/json"),)
OTLP_OBJECT = OBJECT._replace(body=b'{"resourceLogs":[]}')


async def failure(url: str, *, error: type[Exception] = SinkError, form: str = "ndjson") -> Exception:
    """Put an object that fails, and return the error."""
    sink = https_sink(url, form=form, headers=SECRET)
    with pytest.raises(error) as caught:
        await sink.put(OTLP_OBJECT if form == "otlp" else OBJECT)
    assert TOKEN not in str(caught.value)
    return caught.value


# --- the request


@pytest.mark.parametrize(
    ("form", "compression", "media_type", "coding"),
    [
        ("ndjson", "none", "application/x-ndjson", None),
        ("ndjson", "gzip", "application/x-ndjson", "gzip"),
        ("ndjson", "zstd", "application/x-ndjson", "zstd"),
        ("otlp", "gzip", "application/json", "gzip"),
    ],
)
async def test_request_has_the_headers_of_format_and_compression(
    form: str, compression: str, media_type: str, coding: str | None
) -> None:
    """The type describes the records, and the coding the compression."""
    with server_that(s3_stub.answering(status("200 OK"))) as (environment, requests):
        url = environment["AWS_ENDPOINT_URL_S3"] + "/v1/logs?tenant=a%20b"
        await https_sink(url, form=form, compression=compression, headers=SECRET).put(OBJECT)
    head = requests.texts[0].split("\r\n")
    assert head[0] == "POST /v1/logs?tenant=a%20b HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    assert headers.get("content-encoding") == coding
    assert headers == {
        "host": url.split("/")[2],
        "content-type": media_type,
        **({"content-encoding": coding} if coding else {}),
        "content-length": str(len(OBJECT.body)),
        "idempotency-key": '"0a1b/1"',
        "accept": "application/json, */*",
        "accept-encoding": "identity",
        "user-agent": "logferry",
        "authorization": f"Bearer {TOKEN}",
        "x-team": "payments",
    }


async def test_requests_use_one_connection() -> None:
    """A handshake for each object would extend invocations."""
    with server_that(s3_stub.answering(status("204 No Content"))) as (env, requests):
        sink = https_sink(env["AWS_ENDPOINT_URL_S3"])
        await sink.connect()
        for _ in range(3):
            await sink.put(OBJECT)
        assert requests.connections() == 1
    assert len(requests) == 3


async def test_repeated_put_has_the_same_idempotency_key() -> None:
    """The receiver stores the object and its response is lost; the repetition is recognised."""
    with log_receiver(answering(Answer(stores=True, closes=True), Answer())) as receiver:
        sink = https_sink(receiver.url)
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        await sink.put(OBJECT)
        assert [request.key for request in receiver.requests] == ["0a1b/1"] * 2
    assert len(receiver.objects) == 1


async def test_repr_has_no_path_and_no_header() -> None:
    """Path and headers can be secrets."""
    assert repr(https_sink(f"https://logs.example.com/in/{TOKEN}?key=x", headers=SECRET)) == (
        "<HttpsSink https://logs.example.com>"
    )


# --- responses


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_every_2xx_confirms_an_object(code: int) -> None:
    """Receivers use different ones."""
    with log_receiver(answering(Answer(code, b"ok", (("content-type", "text/html"),)))) as receiver:
        await https_sink(receiver.url).put(OBJECT)
    assert len(receiver.objects) == 1


@pytest.mark.parametrize("code", [200, 403, 502])
async def test_page_of_html_confirms_nothing(code: int) -> None:
    """A login page of a network, or the error page of a gateway."""
    with log_receiver(answering(Answer(code, PAGE, HTML, stores=False))) as receiver:
        error = await failure(receiver.url)
    assert "page of HTML" in str(error)
    assert "guest network" not in str(error)
    assert isinstance(error, SinkRejected) == (code == 403)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        (lambda: formatdate(time.time() + 60, usegmt=True), 58, 61),
        (lambda: formatdate(time.time() - 60, usegmt=True), 0, 0),
        ("soon", 0, 0),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_read_in_both_forms(code: int, header: object, least: float, most: float) -> None:
    """The circuit breaker waits for this time."""
    value = header() if callable(header) else str(header)
    with log_receiver(answering(Answer(code, headers=(("retry-after", value),)))) as receiver:
        error = await failure(receiver.url, error=SinkUnavailable)
    assert isinstance(error, SinkUnavailable)
    assert least <= error.retry_after <= most


async def test_records_that_an_otlp_receiver_rejects_are_counted() -> None:
    """The response is 200, and the other records are stored."""
    body = b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old, ' + TOKEN.encode() + b'"}}'
    with log_receiver(answering(Answer(200, body, JSON))) as receiver:
        error = await failure(receiver.url, form="otlp", error=RecordsRejected)
        assert isinstance(error, RecordsRejected)
        assert error.records == 3
        assert "too old, …" in str(error)


async def test_records_are_counted_in_a_response_with_a_long_reason() -> None:
    """A receiver can name each record. The members of a JSON object have no order."""
    reasons = b"; ".join(b"record %d: too old" % number for number in range(20_000))
    body = b'{"partialSuccess":{"errorMessage":"' + reasons + b'","rejectedLogRecords":"20000"}}'
    with log_receiver(answering(Answer(200, body, JSON))) as receiver:
        error = await failure(receiver.url, form="otlp", error=RecordsRejected)
    assert isinstance(error, RecordsRejected)
    assert error.records == 20_000
    assert len(str(error)) < 1000


async def test_partial_success_has_a_meaning_for_otlp_only() -> None:
    """The response of another receiver can have any content."""
    with log_receiver(answering(Answer(200, b'{"partialSuccess":{"rejectedLogRecords":3}}', JSON))) as receiver:
        await https_sink(receiver.url, form="ndjson").put(OBJECT)


async def test_warning_of_an_otlp_receiver_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The specification allows a message although all records are accepted."""
    body = b'{"partialSuccess":{"errorMessage":"use a newer version"}}'
    with log_receiver(answering(Answer(200, body, JSON))) as receiver:
        sink = https_sink(receiver.url, form="otlp")
        for _ in range(2):
            await sink.put(OTLP_OBJECT)
    assert capsys.readouterr().out.count("use a newer version") == 1


async def test_redirect_is_not_followed() -> None:
    """The target would get the records and the token."""
    with log_receiver() as target:
        location = (("location", f"{target.url}?secret={TOKEN}"),)
        with log_receiver(answering(Answer(307, headers=location))) as receiver:
            error = await failure(receiver.url, error=SinkRejected)
        assert not target.requests
    assert f"to {target.url.split('/')[2]}; redirects are not followed" in str(error)


# --- failures of the connection


async def test_put_is_unavailable_if_the_receiver_is_slower_than_the_timeout() -> None:
    """LOGFERRY_UPLOAD_TIMEOUT is also the limit of the client."""
    with log_receiver(answering(Answer(seconds=1.5))) as receiver:
        sink = https_sink(receiver.url, seconds=0.3)
        with pytest.raises(SinkUnavailable, match=r"no response within 0\.3 s"):
            await sink.put(OBJECT)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ],
    ids=["none", "cut body", "no HTTP", "cut head"],
)
async def test_put_is_unavailable_if_the_response_is_incomplete(answer: bytes) -> None:
    """The receiver closes its half of the connection."""

    def half_close(connection: socket.socket, _number: int) -> bool:
        connection.sendall(answer)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        return True

    with (
        server_that(half_close) as (environment, _),
        pytest.raises(SinkUnavailable, match=r"post http://127\.0\.0\.1:\d+: "),
    ):
        await https_sink(environment["AWS_ENDPOINT_URL_S3"], seconds=2.0).put(OBJECT)


async def test_message_names_the_host_that_cannot_be_reached() -> None:
    """The remedy names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = await failure(f"http://127.0.0.1:{port}/{TOKEN}", error=SinkUnavailable)
    assert (
        f"cannot connect to 127.0.0.1:{port}: Connection refused; check host and port of LOGFERRY_DESTINATION"
        in str(error)
    )


async def test_put_that_was_cancelled_does_not_affect_the_next_one() -> None:
    """The late response belongs to a connection that is closed."""

    def only_the_second(connection: socket.socket, number: int) -> bool:
        if number > 1:
            connection.sendall(status("200 OK"))
        return True

    with server_that(only_the_second) as (environment, requests):
        sink = https_sink(environment["AWS_ENDPOINT_URL_S3"])
        await cancel_put_in_flight(sink, requests)
        await sink.put(OBJECT)


# --- TLS


async def test_certificate_of_a_private_authority_is_accepted_with_its_bundle(tmp_path: Path) -> None:
    """AWS_CA_BUNDLE names the authority."""
    certificate = make_certificate(tmp_path)
    with log_receiver(certificate=certificate) as receiver:
        await https_sink(receiver.url, environ={"AWS_CA_BUNDLE": certificate[0]}).put(OBJECT)
    assert len(receiver.objects) == 1


@pytest.mark.parametrize("given", [True, False], ids=["other name", "unknown authority"])
async def test_certificate_that_is_not_valid_is_refused(tmp_path: Path, *, given: bool) -> None:
    """No record is sent."""
    certificate = make_certificate(tmp_path, name="other.example.com" if given else "localhost")
    with log_receiver(certificate=certificate) as receiver:
        sink = https_sink(receiver.url, environ={"AWS_CA_BUNDLE": certificate[0]} if given else {})
        with pytest.raises(SinkUnavailable, match="certificate verify failed"):
            await sink.put(OBJECT)
        assert not receiver.requests


async def test_bundle_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The message names the variable."""
    environ = {"AWS_CA_BUNDLE": str(tmp_path)}
    with pytest.raises(SinkRejected, match=r"AWS_CA_BUNDLE=.* cannot be read"):
        await https_sink("https://localhost:1/", environ=environ).put(OBJECT)


# --- proxies

HOST = "collector.test"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """Return a certificate for a host that only the proxy of a test can resolve, and its key."""
    return make_certificate(tmp_path, name=HOST)


async def test_object_is_sent_through_the_proxy_that_applies(certificate: tuple[str, str]) -> None:
    """The proxy sees the host and its own credentials; the receiver sees the request."""
    with log_receiver(certificate=certificate) as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])
        receiver.url = f"https://{HOST}:{port}/logs"
        async with connect_proxy(port) as proxy:
            environ = {"HTTPS_PROXY": f"http://user:p%40ss@127.0.0.1:{proxy.port}", "AWS_CA_BUNDLE": certificate[0]}
            sink = https_sink(receiver.url, environ=environ, headers=SECRET)
            await sink.put(OBJECT)
            await sink.put(OBJECT)
            assert len(receiver.requests) == 2
            await close(sink)
    credentials = base64.b64encode(b"user:p@ss").decode()
    assert proxy.heads == [
        f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "responded 407 Proxy Authentication Required to CONNECT",
        ),
        (b"HTTP/1.1 403 \r\n\r\n", "responded 403 to CONNECT"),
        (b"", "gave no response to CONNECT"),
        (b"SSH-2.0-x\r\n\r\n", "responded no HTTP to CONNECT"),
    ],
)
async def test_proxy_that_refuses_the_tunnel_is_named(answer: bytes, message: str) -> None:
    """The remedy names the variables, and no message has the password."""
    async with connect_proxy(1, answer=answer) as proxy:
        environ = {"https_proxy": f"127.0.0.1:{proxy.port}".replace("127", "user:hunter2@127", 1)}
        with pytest.raises(SinkUnavailable) as caught:
            await https_sink(f"https://{HOST}/", environ=environ).put(OBJECT)
    assert f"the proxy 127.0.0.1:{proxy.port} {message}" in str(caught.value)
    assert "check HTTPS_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("http://127.0.0.1:1", "cannot connect to 127.0.0.1:1: Connection refused; check HTTPS_PROXY"),
        ("http://nosuch.invalid:1", r"cannot resolve nosuch.invalid \(port 1\): .*; check HTTPS_PROXY"),
    ],
)
async def test_proxy_that_cannot_be_reached_is_named(proxy: str, message: str) -> None:
    """The host of the receiver is not the cause."""
    with pytest.raises(SinkUnavailable, match=message):
        await https_sink(f"https://{HOST}/", environ={"HTTPS_PROXY": proxy}).put(OBJECT)


async def test_proxy_that_never_responds_is_named_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy accepts the connection, and opens no tunnel."""
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        message = f"no connection to {HOST}:443 through the proxy {place} within 0.3 s; check HTTPS_PROXY"
        with pytest.raises(SinkUnavailable, match=message):
            await https_sink(f"https://{HOST}/", environ={"HTTPS_PROXY": f"http://{place}"}).put(OBJECT)


@pytest.mark.parametrize("proxy", ["https://proxy:1", "socks5://user:hunter2@proxy:1", "http://a b"])
async def test_proxy_of_another_kind_is_rejected_with_the_remedy(proxy: str) -> None:
    """The sink sends nothing past the proxy."""
    sink = https_sink(f"https://{HOST}/", environ={"HTTPS_PROXY": proxy})
    await sink.connect()
    with pytest.raises(
        SinkRejected, match=r"HTTPS_PROXY is not the address of an HTTP proxy: use http://host:port"
    ) as caught:
        await sink.put(OBJECT)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:{}/logs", "https://localhost:{}/logs"])
async def test_loopback_address_needs_no_proxy(url: str, tmp_path: Path) -> None:
    """A collector in the same environment is not behind a proxy."""
    certificate = make_certificate(tmp_path) if url.startswith("https") else None
    with log_receiver(certificate=certificate) as receiver:
        environ = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        environ |= {"AWS_CA_BUNDLE": certificate[0]} if certificate else {}
        await https_sink(receiver.url, environ=environ).put(OBJECT)
    assert len(receiver.objects) == 1


async def test_no_proxy_names_hosts_without_a_proxy() -> None:
    """The variable has the meaning that it has for the AWS SDKs."""
    environ = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ".invalid"}
    with pytest.raises(SinkUnavailable, match=r"cannot resolve collector\.invalid .*; check the host of LOGFERRY_DEST"):
        await https_sink("https://collector.invalid/", environ=environ).put(OBJECT)
