"""Credentials from the environment variables and from the container endpoint."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
from typing import TYPE_CHECKING
from unittest import mock

import botocore.session
import pytest

from logferry.aws import credentials as credentials_module
from logferry.aws.credentials import RENEW_SECONDS, RETRY_SECONDS, CredentialSource, container_endpoint
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.address import authority
from logferry.http_client.client import HttpClient
from logferry.http_client.response import HttpError
from support.container_endpoint import TOKEN
from support.container_endpoint import container_endpoint as served_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
NOW = 1_795_000_000.0
SERVER_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Clock:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def at(seconds: float) -> str:
    """Return the timestamp of a moment, relative to the clock's start."""
    return dt.datetime.fromtimestamp(NOW + seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    "token", [{}, {"AWS_SESSION_TOKEN": "t"}, {"AWS_SECURITY_TOKEN": "s", "AWS_SESSION_TOKEN": "t"}]
)
async def test_static_credentials_equal_botocores(token: dict[str, str]) -> None:
    """The variables have the precedence that every SDK gives them."""
    environ = KEYS | token | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}
    with mock.patch.dict(os.environ, environ, clear=True):
        theirs = botocore.session.Session().get_credentials()
    ours = await CredentialSource(environ).get()
    assert (ours.access_key, ours.secret_key, ours.token) == (theirs.access_key, theirs.secret_key, theirs.token)


async def test_static_credentials_are_read_for_each_request() -> None:
    """The source keeps no static credentials, so a snapshot contains none."""
    environ = dict(KEYS)
    source = CredentialSource(environ)
    assert (await source.get()).access_key == "key"
    environ["AWS_ACCESS_KEY_ID"] = "next"
    assert (await source.get()).access_key == "next"


async def test_container_credentials_are_kept_and_renewed_before_they_expire() -> None:
    """One request per lifetime; the renewal comes RENEW_SECONDS before the end."""
    async with served_credentials() as endpoint:
        endpoint.expiration, clock = at(3600), Clock()
        source = CredentialSource(endpoint.environ, wall_clock=clock)
        assert endpoint.requests == 0, "credentials were read before the first request"
        assert (await source.get()).access_key == "key1"
        clock.now += 3600 - RENEW_SECONDS - 1
        assert (await source.get()).token == "token1"  # noqa: S105 - of the stand-in
        clock.now += 2
        endpoint.expiration = at(7200)
        assert (await source.get()).access_key == "key2"
        assert (await source.get()).access_key == "key2"


async def test_container_credentials_without_expiration_are_kept() -> None:
    """The endpoint may serve credentials that do not expire."""
    async with served_credentials() as endpoint:
        endpoint.expiration = None
        source = CredentialSource(endpoint.environ)
        assert [(await source.get()).access_key for _ in range(3)] == ["key1"] * 3


async def test_container_credentials_are_renewed_once_for_concurrent_requests() -> None:
    """The other requests wait for the same renewal."""
    async with served_credentials() as endpoint:
        endpoint.delay = 0.05
        source = CredentialSource(endpoint.environ)
        found = await asyncio.gather(*(source.get() for _ in range(5)))
        assert [credentials.access_key for credentials in found] == ["key1"] * 5


async def test_failed_renewal_uses_the_present_credentials_until_they_expire() -> None:
    """The endpoint has five minutes to recover, and a request is sent every RETRY_SECONDS only."""
    async with served_credentials() as endpoint:
        endpoint.expiration, clock = at(3600), Clock()
        source = CredentialSource(endpoint.environ, wall_clock=clock)
        await source.get()
        endpoint.response = SERVER_ERROR
        clock.now += 3600 - RENEW_SECONDS + 1
        for _ in range(3):
            assert (await source.get()).access_key == "key1"
        assert endpoint.requests == 2
        clock.now += RETRY_SECONDS + 1
        assert (await source.get()).access_key == "key1"
        assert endpoint.requests == 3
        clock.now = NOW + 3601
        with pytest.raises(SinkUnavailable, match="status 500"):
            await source.get()
        endpoint.response, endpoint.expiration = None, at(7200)
        assert (await source.get()).access_key == "key5"


async def test_expire_renews_credentials_at_the_next_request() -> None:
    """A rejection by the service has precedence over the expiration."""
    async with served_credentials() as endpoint:
        source = CredentialSource(endpoint.environ)
        rejected = await source.get()
        source.expire(rejected)
        assert (await source.get()).access_key == "key2"
        source.expire(rejected)
        assert (await source.get()).access_key == "key2", "a concurrent request had renewed them already"


async def test_token_file_precedes_the_token_and_is_read_each_time(tmp_path: Path) -> None:
    """The platform replaces the content of the file while the environment exists."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    async with served_credentials() as endpoint:
        environ = endpoint.environ | {
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "other",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
        }
        source = CredentialSource(environ)
        first = await source.get()
        assert first.access_key == "key1"
        endpoint.token = "replaced"  # noqa: S105 - of the stand-in
        file.write_text("replaced")
        source.expire(first)
        assert (await source.get()).access_key == "key2"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/"}, "not an http URL of a local host"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1.example.com/"}, "not an http URL of a local host"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1@example.com/"}, "not an http URL of a local host"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "file:///etc/passwd"}, "not an http URL of a local host"),
    ],
)
async def test_unusable_sources_are_rejected(environ: Mapping[str, str], message: str) -> None:
    """The token of the environment is sent to no other host."""
    with pytest.raises(SinkRejected, match=message):
        await CredentialSource(environ).get()


@pytest.mark.parametrize("content", [None, "line\nbreak"])
async def test_unusable_token_file_is_rejected(tmp_path: Path, content: str | None) -> None:
    """The message names the variable or the fault of the token, and does not contain the token."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    async with served_credentials() as endpoint:
        environ = endpoint.environ | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)}
        with pytest.raises(SinkRejected, match=r"TOKEN_FILE=|line break") as caught:
            await CredentialSource(environ).get()
        assert "line\nbreak" not in str(caught.value)
        assert endpoint.requests == 0


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", SinkRejected, "status 403"),
        (SERVER_ERROR, SinkUnavailable, "status 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", SinkUnavailable, "gave no credentials"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", SinkUnavailable, "AccessKeyId"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", SinkUnavailable, "gave no credentials"),
        (b"junk", SinkUnavailable, "no credentials from the container endpoint 127.0.0.1"),
    ],
)  # fmt: skip
async def test_unusable_responses_of_the_endpoint_are_reported(
    response: bytes, error: type[Exception], message: str
) -> None:
    """The message names the endpoint."""
    async with served_credentials() as endpoint:
        endpoint.response = response
        with pytest.raises(error, match=message):
            await CredentialSource(endpoint.environ).get()


async def test_invalid_expiration_is_reported() -> None:
    """Credentials without a known end cannot be renewed in time."""
    async with served_credentials() as endpoint:
        endpoint.expiration = "tomorrow"
        with pytest.raises(SinkUnavailable, match="tomorrow"):
            await CredentialSource(endpoint.environ).get()


async def test_silent_endpoint_is_unavailable_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """FETCH_SECONDS limits the wait, because a healthy local endpoint responds at once."""
    monkeypatch.setattr(credentials_module, "FETCH_SECONDS", 0.2)
    async with served_credentials() as endpoint:
        endpoint.delay = 5
        with pytest.raises(SinkUnavailable, match=r"no response within 0\.2 s"):
            await CredentialSource(endpoint.environ).get()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/c?id=1"}, ("169.254.170.2", 80, "/v2/c?id=1")),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost:9001"}, ("localhost", 9001, "/")),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/c"}, ("169.254.170.23", 80, "/v1/c")),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.100.1:9001/c"}, ("169.254.100.1", 9001, "/c")),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1/c"}, ("fd00:ec2::23", 80, "/v1/c")),
    ],
)
def test_container_endpoint_follows_the_variables(environ: Mapping[str, str], expected: tuple[str, int, str]) -> None:
    """A relative URI belongs to the host of ECS; a full URI may name any local or link-local host."""
    assert container_endpoint(environ) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "key\r\nx-injected: 1"),
        ("AWS_SECRET_ACCESS_KEY", "secret\n"),
        ("AWS_SESSION_TOKEN", "t\u00f6ken"),
        ("AWS_SESSION_TOKEN", "token\n"),
    ],
)
async def test_static_credentials_that_no_header_can_carry_are_rejected(name: str, value: str) -> None:
    """A header cannot be injected; the message contains the remedy and not the value."""
    with pytest.raises(SinkRejected, match="from the AWS_ variables is not printable ASCII") as caught:
        await CredentialSource(KEYS | {name: value}).get()
    assert "injected" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"AccessKeyId": "k", "SecretAccessKey": "s", "Token": 1}, SinkUnavailable),
        ({"AccessKeyId": None, "SecretAccessKey": "s"}, SinkUnavailable),
        ({"AccessKeyId": "k\r\nx: 1", "SecretAccessKey": "s"}, SinkRejected),
        ({"AccessKeyId": "k", "SecretAccessKey": "s", "Expiration": "x" * 50_000}, SinkUnavailable),
    ],
    ids=["number", "null", "line break", "long expiration"],
)
async def test_unusable_values_of_the_endpoint_are_reported(
    document: dict[str, object], error: type[Exception]
) -> None:
    """The message is bounded; no value reaches a request."""
    body = json.dumps(document).encode()
    async with served_credentials() as endpoint:
        endpoint.response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        with pytest.raises(error, match=r"the container endpoint 127\.0\.0\.1") as caught:
            await CredentialSource(endpoint.environ).get()
        assert len(str(caught.value)) < 600


async def test_authorization_token_may_contain_a_space(tmp_path: Path) -> None:
    """A token may consist of a scheme and a value."""
    file = tmp_path / "token"
    file.write_text("Bearer value")
    async with served_credentials() as endpoint:
        endpoint.token = "Bearer value"  # noqa: S105 - of the stand-in
        environ = endpoint.environ | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)}
        assert (await CredentialSource(environ).get()).access_key == "key1"


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("::1", 80, "[::1]"),
        ("::1", 9001, "[::1]:9001"),
        ("169.254.170.2", 80, "169.254.170.2"),
        ("localhost", 443, "localhost:443"),
    ],
)
def test_authority_has_brackets_and_no_default_port(host: str, port: int, expected: str) -> None:
    """The Host header and the messages use this form."""
    assert authority(host, port, 80) == expected


async def test_container_endpoint_that_refuses_is_named_with_its_variable() -> None:
    """The remedies for S3's host do not apply to it."""
    source = CredentialSource({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/v1"})
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1:9: Connection refused; .*FULL_URI$"):
        await source.get()


async def test_host_header_of_an_ipv6_endpoint_has_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a failure has the same form."""
    sent: list[Mapping[str, str]] = []

    async def capture(_client: object, _method: str, _path: str, headers: Mapping[str, str]) -> None:
        sent.append(headers)
        raise HttpError("refused")

    monkeypatch.setattr(HttpClient, "request", capture)
    for url, expected in (("http://[fd00:ec2::23]/v1", "[fd00:ec2::23]"), ("http://[::1]:9001/v1", "[::1]:9001")):
        with pytest.raises(SinkUnavailable, match=re.escape(f"container endpoint {expected}: refused")):
            await CredentialSource({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}).get()
        assert sent.pop()["Host"] == expected
