"""Objects stored without the client: as it would have, where it would have, and by it whenever that fails.

What both ways have in common is in `test_contract`; here is what makes them one.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiobotocore.httpsession
import pytest
from botocore.httpsession import get_cert_path

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.sink import connections
from logferry.sink.s3 import KEEP_ALIVE_SECONDS
from logferry.sink.signed import SignedPut, quoted
from sink.test_contract import OBJECT, OK, s3_sink, server_that, status
from support.tls_server import tls_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)

THERE = "x-amz-bucket-region: eu-west-1\r\n"
MOVED = status("301 Moved Permanently", b"<Error><Code>PermanentRedirect</Code></Error>", THERE)
MALFORMED = status(
    "400 Bad Request",
    b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
    THERE,
)
FORBIDDEN = status("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")
BUSY = status("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>")
OF_THE_CLIENT = {"amz-sdk-invocation-id", "amz-sdk-request"}
"""Headers by which a request of the client is known: they tell S3 about retries, and we make none."""


def answering(*answers: bytes) -> Callable[[socket.socket, int], bool]:
    """Give these answers in turn, the last one for ever."""

    def behave(connection: socket.socket, number: int) -> bool:
        connection.sendall(answers[min(number, len(answers)) - 1])
        return True

    return behave


async def test_a_signed_request_is_the_clients_own_but_for_its_retry_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every header that says something about the object or ourselves is there, with the same value."""
    with server_that(answering(OK)) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
            sink._signed = None
            await sink.put(OBJECT)
    mine, clients = (dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:]) for head in heads.texts)
    assert set(clients) - set(mine) == OF_THE_CLIENT
    assert set(mine) <= set(clients)
    changing = {"authorization", "x-amz-date"}
    assert {name: mine[name] for name in set(mine) - changing} == {
        name: clients[name] for name in set(clients) - OF_THE_CLIENT - changing
    }


def by_the_client(head: str) -> bool:
    """Whether the client made that request."""
    return "amz-sdk-invocation-id" in head.lower()


async def test_even_the_first_object_is_stored_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rehearsal has shown how, and nothing was sent for it."""
    with server_that(answering(OK)) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.warm()
            assert heads.texts == []
            for _ in range(3):
                await sink.put(OBJECT)
    assert [by_the_client(head) for head in heads.texts] == [False, False, False]


@pytest.mark.parametrize("elsewhere", [MOVED, MALFORMED], ids=["moved", "malformed"])
async def test_a_bucket_in_another_region_is_found_by_the_client_and_then_known(
    monkeypatch: pytest.MonkeyPatch, elsewhere: bytes
) -> None:
    """Without a word, and in the same put: it is not a failure."""
    with server_that(answering(elsewhere, elsewhere, OK)) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
            await sink.put(OBJECT)
    assert [by_the_client(head) for head in heads.texts] == [False, True, True, False]
    regions = [re.search(r"Credential=\w+/\d+/([^/]+)/", head)[1] for head in heads.texts]  # type: ignore[index]
    assert regions == ["us-east-1", "us-east-1", "eu-west-1", "eu-west-1"]


@pytest.mark.parametrize(
    ("answer", "error"), [(BUSY, SinkUnavailable), (FORBIDDEN, SinkRejected), (b"", SinkUnavailable)]
)
async def test_after_a_failure_the_client_stores_the_next_and_shows_the_way_anew(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, error: type[Exception]
) -> None:
    """It knows ways that we do not."""

    def behave(connection: socket.socket, number: int) -> bool:
        return answering(OK, answer or b"SSH", OK)(connection, number) and (number != 2 or bool(answer))

    with server_that(behave) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
            with pytest.raises(error):
                await sink.put(OBJECT)
            await sink.put(OBJECT)
            await sink.put(OBJECT)
    assert [by_the_client(head) for head in heads.texts] == [False, False, True, False]


async def test_a_put_that_was_cut_is_followed_by_one_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The uploader cancels what takes too long: that too is a failure."""

    def behave(connection: socket.socket, number: int) -> bool:
        if number != 1:
            connection.sendall(OK)
        return True

    with server_that(behave) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.warm()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await sink.put(OBJECT)
            await sink.put(OBJECT)
    assert [by_the_client(head) for head in heads.texts] == [False, True]


EXPRESS = "logs--euc1-az1--x-s3"
SESSION = status(
    "200 OK",
    b"<CreateSessionResult><Credentials><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey>"
    b"<AccessKeyId>a</AccessKeyId><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>",
)


async def test_a_directory_bucket_is_stored_in_by_the_client_in_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 Express signs otherwise; nothing is asked before there is something to store."""
    with server_that(answering(SESSION, OK)) as (environment, heads):
        async with s3_sink(environment, EXPRESS, monkeypatch) as sink:
            await sink.warm()
            assert heads.texts == []
            await sink.put(OBJECT)
            await sink.put(OBJECT)
    assert [head.split()[0] for head in heads.texts] == ["GET", "PUT", "PUT"]
    assert all(by_the_client(head) and "x-amz-s3session-token: t" in head.lower() for head in heads.texts[1:])


async def test_a_session_that_failed_once_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else aiobotocore would give the same failure for ever."""
    with server_that(answering(BUSY, SESSION, OK)) as (environment, _):
        async with s3_sink(environment, EXPRESS, monkeypatch) as sink:
            with pytest.raises(SinkUnavailable):
                await sink.put(OBJECT)
            await sink.put(OBJECT)


async def test_a_session_whose_asking_was_cut_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else aiobotocore would be cancelled for ever."""

    def behave(connection: socket.socket, number: int) -> bool:
        return number == 1 or answering(b"", SESSION, OK)(connection, number)

    with server_that(behave) as (environment, _):
        async with s3_sink(environment, EXPRESS, monkeypatch) as sink:
            await sink.warm()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await sink.put(OBJECT)
            await sink.put(OBJECT)


def example(url: str, authorization: str, **headers: str) -> connections.Seen:
    """Give a request as the client makes it."""
    return connections.Seen(url, {"Authorization": authorization.encode(), "User-Agent": "u", **headers})


SIGNED = "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
KEY = "logs/a b/ö.gz"


@pytest.mark.parametrize(
    "folder",
    [
        "https://bucket.s3.eu-west-1.amazonaws.com/",
        "https://s3.eu-west-1.amazonaws.com/bucket.with.dots/",
        "https://bucket.s3.dualstack.eu-west-1.amazonaws.com/",
        "https://point-123.s3-accesspoint.eu-west-1.amazonaws.com/",
        "http://127.0.0.1:9000/bucket/",
    ],
)
def test_the_bucket_is_where_the_client_went(folder: str) -> None:
    """By whatever way it found it; the region is the one it signed for."""
    like: Any = SignedPut.like(
        example(folder + quoted(KEY), SIGNED), key=KEY, credentials=None, http=connections.Connections()
    )
    assert (like.folder, like.region, like.user_agent) == (folder, "eu-west-1", "u")


@pytest.mark.parametrize(
    "request_of_the_client",
    [
        example("https://b--x-s3.s3express.com/" + quoted(KEY), SIGNED, **{"X-Amz-S3session-Token": "t"}),
        example("https://b.s3.com/" + quoted(KEY), SIGNED.replace("/s3/", "/s3express/")),
        example("https://b.s3.com/" + quoted(KEY), SIGNED.replace("HMAC-SHA256", "ECDSA-P256-SHA256")),
        example("https://b.s3.com/" + quoted(KEY), "AWS AKID:signature"),
        example("https://b.s3.com/" + quoted(KEY) + "?x-id=PutObject", SIGNED),
        example("https://b.s3.com/another", SIGNED),
    ],
    ids=["express session", "express", "several regions", "version 2", "query", "another key"],
)
def test_what_cannot_be_imitated_is_left_to_the_client(request_of_the_client: connections.Seen) -> None:
    """Better slow than wrong."""
    assert SignedPut.like(request_of_the_client, key=KEY, credentials=None, http=connections.Connections()) is None


# --- a connection ahead of need


async def test_a_connection_opened_ahead_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is asked over it before: S3 asks money for requests."""
    with server_that(answering(OK)) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.warm()
            await sink.connect()
            assert await asyncio.to_thread(heads.somebody.wait, 5)
            assert heads.texts == []
            await sink.put(OBJECT)
            assert heads.connections() == 1


async def test_a_connection_that_is_there_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting ahead of each invocation costs nothing while they follow each other closely."""
    with server_that(answering(OK)) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
            for _ in range(5):
                await sink.connect()
            await sink.put(OBJECT)
            assert heads.connections() == 1


async def test_a_connection_that_the_server_has_closed_is_replaced_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a freeze: the put then needs no second try."""
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def behave(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK)
        if number == 1:
            loop.call_soon_threadsafe(closed.set)
        return number != 1

    with server_that(behave) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
            await asyncio.wait_for(closed.wait(), 5)
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                while heads.connections() < 2:
                    await sink.connect()
                    await asyncio.sleep(0.01)
            await sink.put(OBJECT)
            assert (heads.connections(), len(heads.texts)) == (2, 2)


async def test_connecting_where_nobody_listens_is_left_for_the_put_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only an attempt to be early."""
    with server_that(answering(OK)) as (environment, _):
        pass
    async with s3_sink(environment, "bucket", monkeypatch) as sink:
        await sink.warm()
        await sink.connect()
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)


async def test_before_the_client_is_made_there_is_nowhere_to_connect_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under SnapStart it is made only after the restore."""
    with server_that(answering(OK)) as (environment, heads):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.connect()
            assert heads.connections() == 0


PROXIED = """
import asyncio, sys
from logferry.records.encoder import StoredObject
from logferry.sink.s3 import S3Sink
async def main():
    sink = S3Sink(bucket="bucket", prefix="", region="us-east-1", timeout_seconds=5)
    stored = StoredObject(key="k", body=b"b", metadata={}, content_type="t", content_encoding=None)
    await sink.warm()
    await sink.connect()
    await sink.put(stored)
    await sink.close()
asyncio.run(main())
"""


def test_behind_a_proxy_objects_go_through_it() -> None:
    """HTTP_PROXY keeps its meaning for signed requests; connecting ahead does nothing there."""
    with server_that(answering(OK)) as (environment, heads):
        proxy = environment.pop("AWS_ENDPOINT_URL_S3")
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            [sys.executable, "-c", PROXIED],
            env=clean | environment | {"HTTP_PROXY": proxy, "AWS_ENDPOINT_URL_S3": "http://s3.example"},
            check=False, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [head.split(" ")[:2] for head in heads.texts] == [["PUT", "http://s3.example/bucket/k"]]
        assert json.dumps(heads.texts).count("amz-sdk-invocation-id") == 0


# --- whom to believe


def test_amazons_roots_are_among_those_that_botocore_believes() -> None:
    """Each of them, letter by letter: one that is taken back there must go here."""
    ours = re.findall("-----BEGIN.*?-----END CERTIFICATE-----", Path(connections.AMAZONS_ROOTS).read_text(), re.DOTALL)
    theirs = Path(get_cert_path(verify=True)).read_text()
    assert len(ours) == 5
    assert all(certificate in theirs for certificate in ours)


@pytest.fixture
def _no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No certificates are given, as on Lambda."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_bundle")
async def test_a_host_of_amazons_is_believed_on_its_own_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All the others are not even read."""
    with tls_server(tmp_path) as (environment, certificate, asked):
        monkeypatch.setattr(connections, "AMAZONS_HOSTS", "localhost")
        monkeypatch.setattr(connections, "AMAZONS_ROOTS", certificate)
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
    assert len(asked) == 1


async def test_a_certificate_for_another_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever has one of some trusted authority must not get the records."""
    with tls_server(tmp_path, name="another.example") as (environment, certificate, asked):
        async with s3_sink(environment | {"AWS_CA_BUNDLE": certificate}, "bucket", monkeypatch) as sink:
            with pytest.raises(SinkUnavailable, match="localhost"):
                await sink.put(OBJECT)
    assert asked == []


def test_behind_a_proxy_certificates_count_as_well(tmp_path: Path) -> None:
    """What a proxy connects us to is believed no more easily."""
    kept = connections.Connections(verify=True)
    context = kept._setup_proxy_ssl_context("http://proxy.example:3128")
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    bundle = str(tmp_path / "ca.pem")
    (tmp_path / "ca.pem").write_text(Path(connections.AMAZONS_ROOTS).read_text())
    settings = connections.Connections(verify=True, proxies_config={"proxy_ca_bundle": bundle})
    assert settings._setup_proxy_ssl_context("http://proxy.example:3128").verify_mode == ssl.CERT_REQUIRED


@pytest.mark.usefixtures("_no_bundle")
async def test_where_amazon_has_another_root_the_next_upload_believes_in_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A root that we do not know must not end uploads for ever."""
    with tls_server(tmp_path) as (environment, certificate, asked):
        monkeypatch.setattr(connections, "AMAZONS_HOSTS", "localhost")
        monkeypatch.setattr(aiobotocore.httpsession, "get_cert_path", lambda v: certificate if v is True else v)
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            with pytest.raises(SinkUnavailable, match="certificate"):
                await sink.put(OBJECT)
            await sink.put(OBJECT)
    assert len(asked) == 1


@pytest.mark.parametrize("host", ["localhost", "amazonaws.com.example", "s3.cn-north-1.amazonaws.com.cn"])
def test_other_hosts_are_believed_on_every_root(host: str) -> None:
    """MinIO and the like have certificates of whom they like."""
    kept = connections.Connections(verify=True)
    kept._believe(f"https://{host}:9000/bucket/")
    assert kept._verify is True


def test_certificates_that_were_given_are_left_alone() -> None:
    """AWS_CA_BUNDLE keeps its meaning, for Amazon's hosts too."""
    kept = connections.Connections(verify="/var/task/ca.pem")
    kept._believe("https://bucket.s3.eu-west-1.amazonaws.com/")
    assert kept._verify == "/var/task/ca.pem"
