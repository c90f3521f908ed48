"""Corrections that the S3 sink makes within one `put`, its connection, and its messages."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from logferry.aws.timestamps import amz_date
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.client import SILENT_SECONDS
from logferry.sinks.s3 import sdk_clock
from logferry.sinks.s3.sink import S3Sink
from support.container_endpoint import container_endpoint
from support.s3_stub import OBJECT, OK, answering, close, s3_at, s3_error, s3_sink, server_that

if TYPE_CHECKING:
    import socket

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

HOUR = 3600
EXPIRED = s3_error("400 Bad Request", "ExpiredToken", message="The provided token has expired.")


def skewed(server_ahead: float) -> bytes:
    """Return the response of S3 to a request whose time differs by more than 15 minutes."""
    date = formatdate(time.time() + server_ahead, usegmt=True)
    return s3_error("403 Forbidden", "RequestTimeTooSkewed", f"Date: {date}\r\n")


def is_near(amz: str, moment: float) -> bool:
    """Return whether a signature's time is a given moment, within ten seconds."""
    return any(amz == amz_date(moment + seconds) for seconds in range(-10, 10))


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_clock_skew_is_corrected_from_the_date_of_the_response(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The request is signed again once, and later requests use the same offset."""
    monkeypatch.setattr(sdk_clock, "_offset", dt.timedelta(0))
    with server_that(answering(skewed(2 * HOUR), OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, client=client)
        await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    dates, now = requests.values("x-amz-date"), time.time()
    assert [is_near(date, now) for date in dates] == [True, False, False]
    assert [is_near(date, now + 2 * HOUR) for date in dates] == [False, True, True]


async def test_offset_of_the_clock_is_corrected_again_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a thaw the clock may be right, and then the offset is wrong."""
    with server_that(answering(skewed(2 * HOUR), OK, skewed(0), OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    assert [is_near(date, time.time()) for date in requests.values("x-amz-date")] == [True, False, False, True]


@pytest.mark.parametrize("answer", [skewed(HOUR), s3_error("403 Forbidden", "RequestTimeTooSkewed", "Date: now\r\n")])
async def test_clock_skew_that_cannot_be_corrected_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """One correction per `put`; the message names the clock."""
    with server_that(answering(answer)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        with pytest.raises(SinkUnavailable, match="clock of this environment"):
            await sink.put(OBJECT)
        await close(sink)
        assert len(requests) <= 2


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_expired_container_credentials_are_renewed_once(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """S3 rejects them although their expiration is far away."""
    async with container_endpoint() as endpoint:
        with server_that(answering(EXPIRED, OK)) as (variables, requests):
            environment = {k: v for k, v in variables.items() if "KEY" not in k} | endpoint.environ
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name, raising=False)
            sink = s3_sink(environment, "bucket", monkeypatch, client=client)
            await sink.put(OBJECT)
            await sink.put(OBJECT)
            await close(sink)
    assert requests.values("x-amz-security-token") == ["token1", "token2", "token2"]


async def test_expired_static_credentials_are_read_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is repeated only if the variables have changed."""

    def renews(connection: socket.socket, number: int) -> bool:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "new")
        connection.sendall(EXPIRED if number < 3 else OK)
        return True

    with server_that(renews) as (environment, requests):
        sink = s3_sink(environment | {"AWS_SESSION_TOKEN": "old"}, "bucket", monkeypatch)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "old")
        with pytest.raises(SinkRejected, match="ExpiredToken: The provided token has expired; the credentials"):
            await sink.put(OBJECT)
        assert requests.values("x-amz-security-token") == ["old", "new"]
        await sink.put(OBJECT)
        await close(sink)


async def test_corrections_of_different_kinds_are_made_in_one_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind once: region, then clock."""
    moved = s3_error("301 Moved Permanently", "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n")
    with server_that(answering(moved, skewed(HOUR), OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        await sink.put(OBJECT)
        await close(sink)
        assert len(requests) == 3


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1.evil.example", ""])
async def test_redirect_that_names_no_other_region_is_rejected(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    """There is no request without a new region, and no host name made of a response's text."""
    header = f"x-amz-bucket-region: {region}\r\n" if region else ""
    moved = s3_error("301 Moved Permanently", "PermanentRedirect", header)
    with server_that(answering(moved)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        with pytest.raises(SinkRejected, match="PermanentRedirect; the bucket is in another region"):
            await sink.put(OBJECT)
        assert len(requests) == 1
        await close(sink)


async def test_redirects_in_a_circle_end_after_one_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two regions that refer to each other cost two requests."""

    def circle(connection: socket.socket, number: int) -> bool:
        region = "eu-west-1" if number % 2 else "us-east-1"
        connection.sendall(s3_error("301 Moved Permanently", "PermanentRedirect", f"x-amz-bucket-region: {region}\r\n"))
        return True

    with server_that(circle) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        with pytest.raises(SinkRejected):
            await sink.put(OBJECT)
        await close(sink)
        assert len(requests) == 2


async def test_concurrent_puts_follow_a_redirect_and_leave_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each put that was signed for the old region is repeated, also if another one has found the new region."""
    moved = s3_error("301 Moved Permanently", "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n")

    def by_region(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK if "/eu-west-1/" in requests.values("authorization")[number - 1] else moved)
        return True

    with server_that(by_region) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        await asyncio.gather(*(sink.put(OBJECT) for _ in range(3)))
        assert len(requests) == 6
        await close(sink)
        for _ in range(500):
            if all(connection.fileno() < 0 for connection in requests.sockets):
                break
            await asyncio.sleep(0.01)
        assert [connection.fileno() for connection in requests.sockets] == [-1] * requests.connections()


def test_redirect_without_an_endpoint_url_changes_the_host() -> None:
    """The address is resolved again for the region of the bucket."""
    sink = S3Sink(bucket="logs", prefix="", region="eu-west-1", environ={}, timeout_seconds=1)
    assert sink._endpoint.host == "logs.s3.eu-west-1.amazonaws.com"
    sink._use_region("cn-north-1")
    assert sink._endpoint.host == "logs.s3.cn-north-1.amazonaws.com.cn"
    assert sink._client._host == sink._endpoint.host


@pytest.mark.parametrize(
    "stored",
    [
        OBJECT._replace(metadata={"name": "grün"}),
        OBJECT._replace(metadata={"name": "a\r\nx-injected: 1"}),
        OBJECT._replace(content_type="text/plain\n"),
        OBJECT._replace(key="lone surrogate \ud800"),
    ],
)
async def test_object_that_http_cannot_carry_is_rejected_without_a_request(
    monkeypatch: pytest.MonkeyPatch, stored: object
) -> None:
    """A header cannot be injected, and no request is sent that S3 would refuse."""
    with server_that(answering(OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        with pytest.raises(SinkRejected, match=r"not printable ASCII|not valid Unicode"):
            await sink.put(stored)  # type: ignore[arg-type]  # a namedtuple's _replace
        await close(sink)
        assert len(requests) == 0


# --- a connection before it is needed


async def test_connect_opens_the_connection_that_put_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is made for it, because S3 charges for requests."""
    with server_that(answering(OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        await sink.connect()
        assert await asyncio.to_thread(requests.connected.wait, 5)
        assert requests.texts == []
        for _ in range(5):
            await sink.connect()
        await sink.put(OBJECT)
        await sink.connect()
        await sink.put(OBJECT)
        assert requests.connections() == 1
        await close(sink)


async def test_connect_replaces_a_connection_that_the_server_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next put then needs no second request."""
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def behave(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK)
        if number == 1:
            connection.close()
            loop.call_soon_threadsafe(closed.set)
        return number != 1

    with server_that(behave) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch)
        await sink.put(OBJECT)
        await asyncio.wait_for(closed.wait(), 5)
        await sink.connect()
        await sink.put(OBJECT)
        assert (requests.connections(), len(requests)) == (2, 2)
        await close(sink)


async def test_connect_does_not_raise_if_the_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The put meets and reports the failure."""
    with server_that(answering(OK)) as (environment, _):
        pass
    sink = s3_sink(environment, "bucket", monkeypatch)
    await sink.connect()
    with pytest.raises(SinkUnavailable):
        await sink.put(OBJECT)


async def test_connect_does_not_raise_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the container endpoint are fetched before they are needed, too."""
    async with container_endpoint() as endpoint:
        keyless = {k: v for k, v in s3_at(1).items() if "KEY" not in k} | endpoint.environ
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        sink = s3_sink(keyless, "bucket", monkeypatch)
        await sink.connect()
        assert endpoint.requests == 1
        endpoint.response = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        sink = s3_sink(keyless, "bucket", monkeypatch)
        await sink.connect()
        with pytest.raises(SinkRejected, match=r"put s3://bucket/.*: no credentials from the container endpoint"):
            await sink.put(OBJECT)


# --- a kept connection that died during a freeze or between invocations


@pytest.mark.parametrize("size", [2_000, 300_000])
async def test_put_on_a_connection_that_died_silently_costs_one_second(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A put takes SILENT_SECONDS and the time of a normal put; there is one new connection and one repetition."""
    stored = OBJECT._replace(body=bytes(size))

    def dies(connection: socket.socket, number: int) -> bool:
        if number != 2:
            connection.sendall(OK)
        return True

    with server_that(dies) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, seconds=20.0)
        began = time.monotonic()
        await sink.put(stored)
        normal = time.monotonic() - began
        began = time.monotonic()
        await sink.put(stored)
        assert SILENT_SECONDS * 0.9 < time.monotonic() - began < SILENT_SECONDS + normal + 0.5
        assert (requests.connections(), len(requests)) == (2, 3)
        began = time.monotonic()
        await sink.put(stored)
        assert time.monotonic() - began < SILENT_SECONDS * 0.9, "the silent connection was used again"
        assert (requests.connections(), len(requests)) == (2, 4)


async def test_put_after_one_that_was_cut_on_a_silent_connection_uses_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The uploader cuts a put at its limit, which may be shorter than SILENT_SECONDS."""

    def dies(connection: socket.socket, number: int) -> bool:
        if number != 2:
            connection.sendall(OK)
        return True

    with server_that(dies) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, seconds=20.0)
        await sink.put(OBJECT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await sink.put(OBJECT)
        began = time.monotonic()
        await sink.put(OBJECT)
        assert time.monotonic() - began < SILENT_SECONDS * 0.9
        assert (requests.connections(), len(requests)) == (2, 3)
