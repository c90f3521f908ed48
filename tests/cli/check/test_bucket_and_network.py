"""Region, clock, network and TLS: each fault is one failed step with its remedy, within a limit of time."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import time
from typing import TYPE_CHECKING

import pytest

from logferry.cli.check import aws_requests
from support.check_runs import DESTINATION, Checked, check, dated, refusing, s3_that
from support.s3_stub import OK, s3_error, status
from support.tls_server import tls_server

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def failed(done: Checked) -> dict[str, str]:
    """Return the details of the failed steps."""
    return {name: step["detail"] for name, step in done.steps.items() if step["status"] == "failed"}


@pytest.mark.parametrize("client", ["auto", "sdk"])
def test_a_bucket_in_another_region_is_a_warning_with_the_remedy(client: str) -> None:
    """The client follows the redirect, and each new environment pays for it."""
    region, body = "x-amz-bucket-region: eu-west-1\r\n", "<Region>eu-west-1</Region>"

    def respond(head: str) -> bytes:
        if head.startswith("PUT ") and "/us-east-1/s3/" in head:
            return s3_error("400 Bad Request", "AuthorizationHeaderMalformed", headers=region, more=body)
        return dated(refusing({})(head), headers="" if head.startswith("PUT ") else region)

    with s3_that(respond) as (environment, _):
        done = check(environment | {"LOGFERRY_S3_CLIENT": client}, DESTINATION)
    assert done.status == 0, done.output
    assert done.steps["region"]["status"] == "warning"
    assert done.steps["region"]["remedy"] == "use a bucket in us-east-1, or a function in eu-west-1"


def test_a_bucket_in_the_same_region_is_ok() -> None:
    """The response to an unsigned request names the region, also without permission."""
    headers = "x-amz-bucket-region: us-east-1\r\n"
    with s3_that(lambda head: OK if head.startswith("PUT ") else dated(status("403 Forbidden"), headers=headers)) as (
        environment,
        _,
    ):
        done = check(environment, DESTINATION)
    assert (done.steps["region"]["status"], done.steps["region"]["detail"]) == ("ok", "us-east-1")


@pytest.mark.parametrize("client", ["auto", "sdk"])
def test_a_wrong_clock_is_a_warning_and_the_canary_is_stored(client: str) -> None:
    """The clients correct their signatures by the clock of S3."""
    puts = []

    def respond(head: str) -> bytes:
        if head.startswith("PUT "):
            puts.append(head)
            if len(puts) == 1:
                skewed = s3_error("403 Forbidden", "RequestTimeTooSkewed", message="The difference is too large")
                return dated(skewed, offset_seconds=3600)
        return dated(refusing({})(head), offset_seconds=3600)

    with s3_that(respond) as (environment, requests):
        done = check(environment | {"LOGFERRY_S3_CLIENT": client}, DESTINATION)
    assert done.status == 0, done.output
    assert done.steps["clock"]["status"] == "warning"
    assert " s slow, compared with the server" in done.steps["clock"]["detail"]
    (deleted,) = [text for text in requests.texts if text.startswith("DELETE ")]
    signed_at = dt.datetime.fromisoformat(deleted.lower().partition("x-amz-date: ")[2][:16].upper())
    ahead = signed_at - dt.datetime.now(dt.UTC)
    assert 3500 < ahead.total_seconds() < 3700, "the other requests are signed with the clock of the server too"


@pytest.mark.parametrize(
    ("line", "code", "remedy"),
    [
        ("404 Not Found", "NoSuchBucket", "create the bucket or correct LOGFERRY_DESTINATION"),
        ("400 Bad Request", "ExpiredToken", "the credentials of this environment have expired"),
        ("403 Forbidden", "SignatureDoesNotMatch", "the secret key is wrong"),
        ("503 Slow Down", "SlowDown", "repeat the check"),
    ],
)
def test_a_refusal_that_is_no_missing_permission_has_its_own_remedy(line: str, code: str, remedy: str) -> None:
    """Such a request is not repeated without the headers of settings."""
    with s3_that(refusing({}, other=s3_error(line, code, message="The reason of S3"))) as (environment, requests):
        done = check(environment | {"LOGFERRY_S3_TAGS": "a=b"}, DESTINATION)
    put = done.steps["put"]
    assert failed(done).keys() == {"put"}
    assert put["detail"] == f"{line[:3]} {code}: The reason of S3"
    assert remedy in put["remedy"]
    if code != "ExpiredToken":
        assert len([text for text in requests.texts if text.startswith("PUT ")]) == 1


def test_a_page_of_a_captive_portal_is_not_a_stored_canary() -> None:
    """A 200 without an ETag is not from S3."""
    with s3_that(lambda _: status("200 OK", b"<html>Sign in</html>")) as (environment, _):
        done = check(environment, DESTINATION)
    assert "200 without an ETag" in failed(done)["put"]


def test_a_name_without_an_address_fails_and_the_rest_is_skipped() -> None:
    """The remedy names the variables that make up the host."""
    done = check(KEYS | {"AWS_ENDPOINT_URL_S3": "http://no-such-host.invalid"}, DESTINATION)
    assert failed(done).keys() == {"name"}
    assert done.steps["connection"]["status"] == "skipped"
    assert "AWS_ENDPOINT_URL_S3" in done.steps["name"]["remedy"]
    assert "put" not in done.steps


@pytest.mark.parametrize("client", ["auto", "sdk"])
def test_a_closed_port_fails(client: str) -> None:
    """The message has host and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", "LOGFERRY_S3_CLIENT": client}
    done = check(KEYS | settings, DESTINATION)
    assert failed(done) == {"connection": f"cannot connect to 127.0.0.1:{port}: Connection refused"}


def test_an_untrusted_certificate_fails_with_the_variable_of_the_bundle(tmp_path: Path) -> None:
    """With the certificate in AWS_CA_BUNDLE, the same server is ok."""
    with tls_server(tmp_path) as (environment, certificate, _):
        refused = check(environment, DESTINATION)
        trusted = check(environment | {"AWS_CA_BUNDLE": certificate}, DESTINATION)
        missing = check(environment | {"AWS_CA_BUNDLE": certificate + ".not"}, DESTINATION)
    assert failed(refused) == {"TLS": "the certificate is invalid: self-signed certificate"}
    assert "AWS_CA_BUNDLE" in refused.steps["TLS"]["remedy"]
    assert trusted.steps["TLS"]["status"] == "ok"
    assert trusted.steps["TLS"]["detail"].startswith("TLSv1.")
    assert trusted.steps["put"]["status"] == "ok"
    assert "AWS_CA_BUNDLE" in missing.output
    assert missing.status == 1


def test_a_certificate_of_another_name_fails(tmp_path: Path) -> None:
    """The remedy is the host of the endpoint, and not a bundle."""
    with tls_server(tmp_path, name="s3.example.com") as (environment, certificate, _):
        done = check(environment | {"AWS_CA_BUNDLE": certificate}, DESTINATION)
    assert failed(done).keys() == {"TLS"}
    assert "check the host of the endpoint URL" in done.steps["TLS"]["remedy"]


async def test_a_plain_server_behind_an_https_url_fails(s3: S3Server) -> None:
    """The message names the other scheme."""
    url = s3.endpoint_url.replace("http:", "https:")
    done = await asyncio.to_thread(check, s3.environment() | {"AWS_ENDPOINT_URL_S3": url}, DESTINATION)
    assert failed(done) == {"TLS": "the handshake failed: WRONG_VERSION_NUMBER"}
    assert "use http:// in the endpoint URL" in done.steps["TLS"]["remedy"]


def test_a_handshake_without_a_response_fails() -> None:
    """The server waits for a request in plain HTTP."""
    with s3_that(lambda _: OK) as (environment, _):
        url = environment["AWS_ENDPOINT_URL_S3"].replace("http:", "https:")
        done = check(environment | {"AWS_ENDPOINT_URL_S3": url}, DESTINATION)
    assert failed(done) == {"TLS": "no handshake within 2 s"}
    assert "use http:// in the endpoint URL" in done.steps["TLS"]["remedy"]


@pytest.mark.parametrize("form", ["http://{}", "http://user:word@{}", "{}"])
def test_a_proxy_is_the_host_that_is_checked(form: str) -> None:
    """The SDK is the client then, and the canary goes through the proxy."""
    with s3_that(refusing({})) as (environment, requests):
        address = environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
        proxied = {"AWS_ENDPOINT_URL_S3": "http://s3.example.com", "HTTP_PROXY": form.format(address)}
        done = check(environment | proxied, DESTINATION)
    assert done.status == 0, done.output
    assert "HTTP_PROXY applies to s3.example.com" in done.steps["client"]["detail"]
    assert done.steps["connection"]["detail"].startswith(address)
    assert any(text.startswith("PUT http://s3.example.com/") for text in requests.texts)
    assert "word" not in done.output


def test_a_proxy_that_refuses_connections_is_named() -> None:
    """The remedy names the variables of proxies."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = check(KEYS | {"HTTPS_PROXY": proxy}, DESTINATION)
    assert failed(done).keys() == {"connection"}
    assert "HTTPS_PROXY" in done.steps["connection"]["remedy"]


def test_a_server_that_never_responds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of an upload limits the canary. A second limit covers the other requests."""
    monkeypatch.setattr(aws_requests, "REQUEST_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        started = time.monotonic()
        done = check(KEYS | {"AWS_ENDPOINT_URL_S3": url, "LOGFERRY_UPLOAD_TIMEOUT": "0.5"}, DESTINATION)
    assert time.monotonic() - started < 60
    assert failed(done) == {"put": "no response within 0.5 s"}
    assert done.steps["region"]["status"] == "skipped"
