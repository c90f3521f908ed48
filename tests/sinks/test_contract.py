"""The contract of every sink: `put` stores exactly or raises, and a repeated `put` overwrites the same object.

The S3 clients are tested against a real S3 server (SeaweedFS) and against moto. A socket server
replaces them in tests of faulty servers; the name of the test describes the fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from logferry.aws.role import Role
from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.http_client import client as http_client
from logferry.sinks.directory import DirectorySink
from logferry.sinks.s3 import sdk_session
from support.firehose_stub import FIREHOSE_OK, as_firehose, firehose_sink
from support.log_receiver import LogReceiver, https_sink, log_receiver
from support.moto_firehose import MotoStream
from support.moto_s3 import MotoS3, moto_s3
from support.s3_stub import (
    OBJECT,
    OK,
    TIMEOUT,
    answering,
    cancel_put_in_flight,
    close,
    s3_at,
    s3_error,
    s3_sink,
    server_that,
    status,
)
from support.sts_stub import ROLE_ARN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from logferry.emulator.seaweedfs import Identity
    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

CLIENTS = ["auto", "sdk"]
KINDS = {"own": "auto", "sdk": "sdk", "firehose": "firehose", "https": "https"}
"""Sinks that send requests: the setting of each S3 client, the stream, and the receiver on the web."""
ODD_KEYS = [
    "function=orders/version=$LATEST/a b/ä ö/x",
    "plus+percent%25/&?#'()!*~;:@,/x",
    "dots.../.hidden/-dash_/x",
    "日本/🚢",
]


@pytest.fixture(params=CLIENTS, ids=["own", "sdk"])
def client(request: pytest.FixtureRequest) -> str:
    """Return the setting for each S3 client in turn."""
    return str(request.param)


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """Return each sink that sends requests in turn."""
    return str(request.param)


def sink_of(
    kind: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, *, seconds: float = TIMEOUT
) -> Sink:
    """Return a sink for the endpoint of an environment."""
    if kind == "firehose":
        return firehose_sink(as_firehose(environment), timeout_seconds=seconds)
    if kind == "https":
        return https_sink(f"{environment['AWS_ENDPOINT_URL_S3']}/logs", seconds=seconds)
    return s3_sink(environment, "logs", monkeypatch, client=kind, seconds=seconds)


def confirmation(kind: str) -> bytes:
    """Return the response with which a service confirms an object."""
    return FIREHOSE_OK if kind == "firehose" else OK


def list_files(root: Path) -> list[str]:
    """Return every file below a directory."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Place:
    """A sink, and functions that read what it holds."""

    sink: Sink
    read: Callable[[str], Awaitable[tuple[bytes, Mapping[str, str]]]]
    keys: Callable[[], Awaitable[list[str]]]


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoS3]:
    """Run moto for the tests of this module."""
    with moto_s3() as server:
        yield server


CONDITIONAL = {"if-none-match": "*"}
S3_SINKS = [f"{client}{kind}" for kind in ("", "-conditional", "-moto", "-role-moto") for client in ("own", "sdk")]
"""The clients, with unconditional and conditional writes, and with the credentials of a role."""


@pytest.fixture(params=["directory", *S3_SINKS])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: str
) -> AsyncIterator[Place]:
    """Give each sink in turn; the S3 sinks have the rights that a function's role should have, and no more."""
    if request.param == "directory":
        yield _directory(tmp_path)
        return
    client = "sdk" if request.param.startswith("sdk") else "auto"
    if request.param.endswith("moto"):
        server: MotoS3 = request.getfixturevalue("moto")
        await server.create_bucket(bucket)
        environment, read, keys = server.environment, server.get, server.list_keys
    else:
        environment, keys = s3.environment(s3.shipper), s3.list_keys

        async def read(bucket: str, key: str) -> tuple[bytes, Mapping[str, str], str]:
            stored = await s3.get(bucket, key)
            assert not stored.content_encoding
            return stored.body, stored.metadata, stored.content_type

    async def read_object(key: str) -> tuple[bytes, Mapping[str, str]]:
        body, metadata, content_type = await read(bucket, key)
        assert content_type == OBJECT.content_type
        return body, metadata

    headers = CONDITIONAL if "conditional" in request.param else None
    role = None
    if "role" in request.param:
        role = Role(ROLE_ARN, "logferry-orders", "", environment["AWS_REGION"], environment["AWS_ENDPOINT_URL_S3"])
    sink = s3_sink(environment, bucket, monkeypatch, client=client, object_headers=headers, role=role)
    yield Place(sink, read_object, lambda: keys(bucket))
    await close(sink)


def _directory(root: Path) -> Place:
    async def read_file(key: str) -> tuple[bytes, Mapping[str, str]]:
        path = root / key
        return path.read_bytes(), json.loads(path.with_name(path.name + ".meta.json").read_text())

    async def files() -> list[str]:
        return [name for name in list_files(root) if not name.endswith(".meta.json")]

    return Place(DirectorySink(root), read_file, files)


async def test_put_stores_exactly(place: Place) -> None:
    """Bytes, metadata, type and encoding are those of the object, and no other key appears."""
    await place.sink.put(OBJECT)
    assert await place.read(OBJECT.key) == (OBJECT.body, OBJECT.metadata)
    assert await place.keys() == [OBJECT.key]


async def test_repeated_put_overwrites_the_same_object(place: Place) -> None:
    """After an ambiguous failure the same put is made again, and there is still one object."""
    for _ in range(3):
        await place.sink.put(OBJECT)
    assert await place.keys() == [OBJECT.key]
    assert await place.read(OBJECT.key) == (OBJECT.body, OBJECT.metadata)


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_are_stored_unchanged(place: Place, key: str) -> None:
    """A key template and a function name may contain any character."""
    await place.sink.put(OBJECT._replace(key=key))
    assert await place.keys() == [key]
    assert await place.read(key) == (OBJECT.body, OBJECT.metadata)


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_objects_of_any_size_are_stored(place: Place, size: int) -> None:
    """The body may be empty or have several megabytes."""
    await place.sink.put(OBJECT._replace(body=bytes(size)))
    body, _ = await place.read(OBJECT.key)
    assert body == bytes(size)


async def test_concurrent_puts_are_all_stored(place: Place) -> None:
    """The uploader puts one object at a time, but a sink does not depend on that."""
    await asyncio.gather(*(place.sink.put(OBJECT._replace(key=f"k/{n}")) for n in range(10)))
    assert len(await place.keys()) == 10


# --- a stream, which has no keys and no idempotent request


@pytest.fixture
async def stream(moto: MotoS3, bucket: str) -> MotoStream:
    """Create a stream of moto that delivers to an empty bucket."""
    created = MotoStream(moto, bucket)
    await created.create()
    return created


def lines_of(count: int, *, size: int = 0, first: int = 1) -> StoredObject:
    """Return an object with numbered lines."""
    body = b"".join(b"%d %s\n" % (number, b"x" * size) for number in range(first, first + count))
    return OBJECT._replace(key=f"k/{first}", body=body)


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 0), (1, 1_000_000), (5_000, 1_000)])
async def test_put_delivers_the_lines_of_an_object_of_any_size(stream: MotoStream, count: int, size: int) -> None:
    """The bucket of the stream has the same bytes, whatever the number of requests is."""
    stored = lines_of(count, size=size)
    sink = firehose_sink(stream.environment, stream=stream.name)
    await sink.put(stored)
    sink.close()
    assert sorted((await stream.delivered()).splitlines()) == sorted(stored.body.splitlines())


async def test_concurrent_puts_deliver_all_lines(stream: MotoStream) -> None:
    """The uploader puts one object at a time, but a sink does not depend on that."""
    objects = [lines_of(10, first=10 * number + 1) for number in range(10)]
    sink = firehose_sink(stream.environment, stream=stream.name)
    await asyncio.gather(*map(sink.put, objects))
    sink.close()
    delivered = (await stream.delivered()).splitlines()
    assert sorted(delivered) == sorted(b"".join(one.body for one in objects).splitlines())


async def test_repeated_put_delivers_the_lines_again(stream: MotoStream) -> None:
    """The uploader repeats a put only after a failure. Readers remove repetitions by the place of each line."""
    stored = lines_of(3)
    sink = firehose_sink(stream.environment, stream=stream.name)
    await sink.put(stored)
    await sink.put(stored)
    sink.close()
    assert (await stream.delivered()) == stored.body * 2


async def test_put_is_rejected_with_the_remedy_for_a_missing_stream(moto: MotoS3, bucket: str) -> None:
    """The message contains the destination, Firehose's code, and the remedy."""
    sink = firehose_sink(MotoStream(moto, bucket).environment, stream="never-made")
    message = await rejection(sink)
    assert message.startswith(f"put firehose://never-made: {OBJECT.key}: 400 ResourceNotFoundException: ")
    assert message.endswith("; create the stream, or correct its name or region in LOGFERRY_DESTINATION")


# --- a receiver on the web, which has no keys and recognises a repeated request


@pytest.fixture
def receiver() -> Iterator[LogReceiver]:
    """Run a receiver that stores each request."""
    with log_receiver() as running:
        yield running


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_receiver_gets_objects_of_any_size_unchanged(receiver: LogReceiver, size: int) -> None:
    """The receiver stores the body under its idempotency key."""
    await https_sink(receiver.url).put(OBJECT._replace(body=bytes(size)))
    assert {key: one.body for key, one in receiver.objects.items()} == {"0a1b/1": bytes(size)}


async def test_receiver_recognises_a_repeated_put(receiver: LogReceiver) -> None:
    """After an ambiguous failure the same put is made again, and there is still one object."""
    sink = https_sink(receiver.url)
    for _ in range(3):
        await sink.put(OBJECT)
    assert len(receiver.requests) == 3
    assert {key: one.body for key, one in receiver.objects.items()} == {"0a1b/1": OBJECT.body}


async def test_receiver_gets_concurrent_puts(receiver: LogReceiver) -> None:
    """The uploader puts one object at a time, but a sink does not depend on that."""
    objects = [OBJECT._replace(metadata=OBJECT.metadata | {"segment": str(number)}) for number in range(10)]
    await asyncio.gather(*map(https_sink(receiver.url).put, objects))
    assert sorted(receiver.objects) == [f"0a1b/{number}" for number in range(10)]


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_key_is_not_sent_to_a_receiver(receiver: LogReceiver, key: str) -> None:
    """A key may contain characters that no header can have."""
    await https_sink(receiver.url).put(OBJECT._replace(key=key))
    assert list(receiver.objects) == ["0a1b/1"]


# --- the directory


async def test_directory_is_unavailable_if_it_cannot_be_written(tmp_path: Path) -> None:
    """A file has the name of the directory; the error names it."""
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(SinkUnavailable, match="out"):
        await DirectorySink(tmp_path / "out").put(OBJECT)


@pytest.mark.parametrize("key", ["../outside", "/outside", "a/../../outside"])
async def test_directory_writes_only_below_its_root(tmp_path: Path, key: str) -> None:
    """A key cannot lead out of the directory."""
    root = tmp_path / "root"
    root.mkdir()
    if key.startswith("/"):
        key = str(tmp_path / "outside")
    with contextlib.suppress(SinkError):
        await DirectorySink(root).put(OBJECT._replace(key=key))
    assert {name.split("/")[0] for name in list_files(tmp_path)} <= {"root"}


async def test_directory_leaves_no_partial_file(tmp_path: Path) -> None:
    """Object and metadata appear by renaming, and no other file remains."""
    await DirectorySink(tmp_path).put(OBJECT)
    assert len(list_files(tmp_path)) == 2


# --- S3 refuses


async def rejection(sink: Sink) -> str:
    """Return the message with which a sink rejects an object."""
    with pytest.raises(SinkRejected) as caught:
        await sink.put(OBJECT)
    await close(sink)
    return str(caught.value)


async def test_put_is_rejected_with_the_remedy_for_a_missing_bucket(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The message contains the destination, S3's code and sentence, and the remedy."""
    message = await rejection(s3_sink(s3.environment(), "test-never-made", monkeypatch, client=client))
    assert message.startswith(f"put s3://test-never-made/{OBJECT.key}: 404 NoSuchBucket: The specified bucket ")
    assert message.endswith("; create the bucket or correct LOGFERRY_DESTINATION")


async def test_put_is_rejected_with_the_missing_right_for_a_bucket_without_access(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The role lacks a right, and the message names it."""
    await s3.create_bucket(f"other-{bucket}")
    try:
        message = await rejection(s3_sink(s3.environment(), f"other-{bucket}", monkeypatch, client=client))
    finally:
        await s3.delete_bucket(f"other-{bucket}")
    assert "403 AccessDenied: " in message
    assert "; allow s3:PutObject" in message


def forged(identity: Identity, **changes: str) -> Identity:
    """Return an identity with a wrong value."""
    return replace(identity, **changes)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"secret_key": "wrong"}, "SignatureDoesNotMatch"), ({"access_key": "unknown"}, "InvalidAccessKeyId")],
)
async def test_put_is_rejected_for_wrong_credentials(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, *, changes: dict[str, str], code: str, client: str
) -> None:
    """Each cause has its own remedy, and no message contains a secret."""
    environment = s3.environment(forged(s3.shipper, **changes))
    message = await rejection(s3_sink(environment, bucket, monkeypatch, client=client))
    assert code in message
    assert s3.shipper.secret_key not in message


async def test_put_is_rejected_at_once_without_credentials(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The client does not search for credentials on the network."""
    environment = {k: v for k, v in s3.environment().items() if "KEY" not in k} | {"AWS_EC2_METADATA_DISABLED": "true"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "credentials" in await rejection(s3_sink(environment, bucket, monkeypatch, client=client))


async def test_prefix_of_the_destination_precedes_every_key(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """A prefix may contain spaces and slashes."""
    sink = s3_sink(s3.environment(), bucket, monkeypatch, client=client, prefix="team a/logs")
    await sink.put(OBJECT)
    await close(sink)
    assert await s3.list_keys(bucket) == [f"team a/logs/{OBJECT.key}"]


# --- a server that misbehaves

PAGE = b"<html><head><title>Sign in<br></head><body>to the guest network</body></html>"
XHTML = b"<html><body>welcome</body></html>"
HTML = "Content-Type: text/html\r\n"
CHUNKED = "HTTP/1.1 {}\r\nTransfer-Encoding: chunked\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n"


def chunked(line: str, body: bytes, headers: str = "") -> bytes:
    """Return a response with a chunked body."""
    return CHUNKED.format(line, headers, len(body), body.decode()).encode()


ANSWERS: list[tuple[bytes, type[SinkError]]] = [
    (status("503 Service Unavailable"), SinkUnavailable),
    (status("502 Bad Gateway", PAGE, HTML), SinkUnavailable),
    (status("429 Too Many Requests"), SinkUnavailable),
    (status("403 Forbidden", PAGE, HTML), SinkRejected),
    (status("200 OK", PAGE, HTML), SinkUnavailable),
    (status("200 OK", XHTML, HTML), SinkUnavailable),
    (b"SSH-2.0-OpenSSH_9.6\r\n", SinkUnavailable),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short", SinkUnavailable),
]
"""Responses that no service sends: those of a proxy, or of another server."""
S3_ANSWERS: list[tuple[bytes, type[SinkError]]] = [
    (s3_error("503 Slow Down", "SlowDown"), SinkUnavailable),
    (chunked("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>"), SinkUnavailable),
    (s3_error("500 Internal Server Error", "InternalError"), SinkUnavailable),
    (s3_error("400 Bad Request", "RequestTimeout"), SinkUnavailable),
    (s3_error("403 Forbidden", "RequestTimeTooSkewed"), SinkUnavailable),
    (s3_error("400 Bad Request", "ExpiredToken"), SinkRejected),
    (s3_error("404 Not Found", "NoSuchBucket"), SinkRejected),
    (chunked("404 Not Found", b"<Error><Code>NoSuchBucket</Code></Error>"), SinkRejected),
]


def shown(value: object) -> str:
    """Return the beginning of a response, as the name of a test."""
    return value[:40].decode("ascii", "replace") if isinstance(value, bytes) else ""


@pytest.mark.parametrize(("answer", "error"), ANSWERS, ids=shown)
async def test_put_raises_the_class_of_error_for_the_response_of_another_server(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, error: type[SinkError], kind: str
) -> None:
    """Wait, or change something; the page of a proxy is not accepted as a confirmation."""
    assert "://" in await failure_for(answer, error, monkeypatch, kind)


@pytest.mark.parametrize("kind", ["auto", "sdk", "firehose"])
async def test_put_is_unavailable_for_an_empty_confirmation(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """S3 sends an ETag and Firehose its results. For a receiver on the web, every 2xx is a confirmation."""
    assert "://" in await failure_for(status("200 OK"), SinkUnavailable, monkeypatch, kind)


@pytest.mark.parametrize(("answer", "error"), S3_ANSWERS, ids=shown)
async def test_put_raises_the_class_of_error_that_the_response_calls_for(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, error: type[SinkError], client: str
) -> None:
    """S3's code decides, not only its status."""
    assert "s3://logs/" in await failure_for(answer, error, monkeypatch, client)


async def failure_for(answer: bytes, error: type[SinkError], monkeypatch: pytest.MonkeyPatch, kind: str) -> str:
    """Return the message of a put to a server that always gives this answer."""

    def behave(connection: socket.socket, _number: int) -> bool:
        connection.sendall(answer)
        return b"too short" not in answer and not answer.startswith(b"SSH")

    with server_that(behave) as (environment, _):
        sink = sink_of(kind, environment, monkeypatch, seconds=2.0)
        with pytest.raises(error) as caught:
            await sink.put(OBJECT)
        await close(sink)
    return str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK,
        b'HTTP/1.1 200 OK\r\nETag: "0"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nETag: "0"\r\nConnection: close\r\n\r\n',
    ],
    ids=["100", "100 and 103", "chunked", "until the end"],
)
async def test_put_succeeds_for_every_form_of_a_confirmation(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, client: str
) -> None:
    """Interim responses that were not requested are skipped; the body may have any framing."""

    def behave(connection: socket.socket, _number: int) -> bool:
        connection.sendall(answer)
        return b"Connection: close" not in answer

    with server_that(behave) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, client=client)
        await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    assert len(requests) == 2


async def test_put_fails_for_an_endless_response_with_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The clients stop reading at their limit; the own client still sees the status."""
    monkeypatch.setattr(sdk_session, "MAX_RESPONSE_BYTES", 1 << 20)
    sent = 0

    def endless(connection: socket.socket, _number: int) -> bool:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sent += connection.send(b"1000\r\n" + bytes(4096) + b"\r\n")

    with server_that(endless) as (environment, _):
        sink = sink_of(kind, environment, monkeypatch)
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        await close(sink)
    assert sent < 50_000_000


async def test_one_attempt_is_one_request(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A retry in a library would ignore the deadline and the circuit breaker."""
    with server_that(answering(s3_error("503 Slow Down", "SlowDown"))) as (environment, requests):
        sink = sink_of(kind, environment, monkeypatch)
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        await close(sink)
        assert len(requests) == 1


MOVED = s3_error("301 Moved Permanently", "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n")
MALFORMED = s3_error(
    "400 Bad Request",
    "AuthorizationHeaderMalformed",
    "x-amz-bucket-region: eu-west-1\r\n",
    more="<Region>eu-west-1</Region>",
)


@pytest.mark.parametrize("elsewhere", [MOVED, MALFORMED], ids=["moved", "malformed"])
async def test_put_follows_a_redirect_to_another_region_within_one_call(
    monkeypatch: pytest.MonkeyPatch, elsewhere: bytes, client: str
) -> None:
    """The request is signed again for the region that the response names, and later requests at once."""
    with server_that(answering(elsewhere, OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, client=client)
        await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    regions = [value.split("/")[2] for value in requests.values("authorization")]
    assert regions == ["us-east-1", "eu-west-1", "eu-west-1"]


async def seconds_to_unavailable(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, kind: str, *, seconds: float = TIMEOUT
) -> float:
    """Put one object where that is impossible, and return the time until the error.

    The SDK makes its client before the measurement, which takes seconds on a busy machine.
    """
    sink = sink_of(kind, environment, monkeypatch, seconds=seconds)
    if kind == "sdk":
        await sink.connect()
    began = time.monotonic()
    with pytest.raises(SinkUnavailable):
        await sink.put(OBJECT)
    elapsed = time.monotonic() - began
    await close(sink)
    return elapsed


async def test_put_is_unavailable_at_once_if_the_connection_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The error does not wait for CONNECT_SECONDS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert await seconds_to_unavailable(s3_at(port), monkeypatch, kind) < 2


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("nosuch.invalid", r"cannot resolve nosuch\.invalid \(port 9\): .*; check AWS_REGION, AWS_ENDPOINT_URL_S3 and"),
        ("127.0.0.1", r"cannot connect to 127\.0\.0\.1:9: Connection refused; check AWS_ENDPOINT_URL_S3 and"),
        ("h" * 63 + ".invalid", r"cannot resolve h{63}\.invalid .*; check AWS_REGION"),
    ],
    ids=["unresolvable", "refused", "long"],
)
async def test_message_names_the_host_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, client: str, host: str, message: str
) -> None:
    """Both clients give host, cause and remedy on one line, and no remedy for a proxy."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    sink = s3_sink(s3_at(9) | {"AWS_ENDPOINT_URL_S3": f"http://{host}:9"}, "logs", monkeypatch, client=client)
    with pytest.raises(SinkUnavailable, match=message) as caught:
        await sink.put(OBJECT)
    await close(sink)
    text = str(caught.value)
    assert "PROXY" not in text
    assert "\n" not in text
    assert len(text) < 1000


async def test_put_is_unavailable_within_the_limit_if_the_host_swallows_connections(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In a VPC without a route to S3, CONNECT_SECONDS limits the attempt."""
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
        assert await seconds_to_unavailable(s3_at(full.getsockname()[1]), monkeypatch, kind) < 3


async def test_put_is_unavailable_within_the_timeout_if_the_server_never_responds(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """LOGFERRY_UPLOAD_TIMEOUT is also the limit of the client."""
    with server_that(lambda _connection, _number: True) as (environment, _):
        assert await seconds_to_unavailable(environment, monkeypatch, kind, seconds=0.3) < 3


async def test_put_is_repeated_once_if_the_kept_connection_was_closed(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A server may close an idle connection while the next request is in transit."""

    def closes_after_the_first(connection: socket.socket, number: int) -> bool:
        if number == 2:
            return False  # the kept connection is closed without a response
        connection.sendall(confirmation(kind))
        return True

    with server_that(closes_after_the_first) as (environment, requests):
        sink = sink_of(kind, environment, monkeypatch)
        await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
        assert len(requests) == 3


async def test_put_is_unavailable_after_two_requests_if_the_server_always_closes(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The repetition is not repeated."""
    with server_that(lambda _connection, _number: False) as (environment, requests):
        sink = sink_of(kind, environment, monkeypatch)
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        await close(sink)
        assert len(requests) <= 2


async def test_put_that_was_cancelled_does_not_affect_the_next_one(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The uploader cancels an upload at its deadline; the late response must not be taken for the next one's."""
    cancelled, sent = threading.Event(), threading.Event()

    def late(connection: socket.socket, number: int) -> bool:
        if number == 1:
            assert cancelled.wait(20)
            with contextlib.suppress(OSError):
                connection.sendall(s3_error("403 Forbidden", "AccessDenied"))
            sent.set()
        else:
            connection.sendall(confirmation(kind))
        return True

    with server_that(late) as (environment, requests):
        sink = sink_of(kind, environment, monkeypatch)
        await cancel_put_in_flight(sink, requests)
        cancelled.set()
        assert await asyncio.to_thread(sent.wait, 20)
        await sink.put(OBJECT)
        await close(sink)
