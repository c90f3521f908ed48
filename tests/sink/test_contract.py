"""What every sink promises: `put` stores exactly, or raises; a repeat overwrites itself. One suite for all of them.

S3 is judged by a real server, and where a server misbehaves by a socket that does what the test's name says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.records.model import StoredObject
from logferry.sink import s3 as s3_module
from logferry.sink.directory import DirectorySink
from logferry.sink.s3 import S3Sink
from logferry.sink.signed import SignedPut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from logferry.emulator.seaweedfs import Identity

pytestmark = pytest.mark.timeout(60)

TIMEOUT = 5.0
OBJECT = StoredObject(
    key="function=orders/dt=2026-11-21/hour=02/0a1b-00000001.ndjson.gz",
    body=b"\x1f\x8b not even gzip \x00\xff",
    metadata={"environment": "0a1b", "records": "2", "final": "true"},
    content_type="application/x-ndjson",
    content_encoding="gzip",
)
ODD_KEYS = [
    "function=orders/version=$LATEST/a b/ä ö/x",
    "plus+percent%25/&?#'()!*~;:@,/x",
    "dots.../.hidden/-dash_/x",
    "日本/🚢",
]


def list_files(root: Path) -> list[str]:
    """Give every file below a directory."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Place:
    """A sink, and the way to read back what it holds."""

    sink: S3Sink | DirectorySink
    read: Callable[[str], Awaitable[tuple[bytes, Mapping[str, str]]]]
    keys: Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def s3_sink(
    environment: Mapping[str, str],
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    prefix: str = "",
    seconds: float = TIMEOUT,
) -> AsyncIterator[S3Sink]:
    """Give a sink that finds its way by the environment alone, as on Lambda."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sink = S3Sink(bucket=bucket, prefix=prefix, region=environment["AWS_REGION"], timeout_seconds=seconds)
    try:
        yield sink
    finally:
        await sink.close()


@pytest.fixture(params=["directory", "s3", "s3 by its client"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: str
) -> AsyncIterator[Place]:
    """Give each sink in its turn; the S3 ones with the rights that a function's role should have, and no more."""
    if request.param == "directory":

        async def read_file(key: str) -> tuple[bytes, Mapping[str, str]]:
            path = tmp_path / key
            return path.read_bytes(), json.loads(path.with_name(path.name + ".meta.json").read_text())

        async def files() -> list[str]:
            return [name for name in list_files(tmp_path) if not name.endswith(".meta.json")]

        yield Place(DirectorySink(tmp_path), read_file, files)
        return

    async def read_object(key: str) -> tuple[bytes, Mapping[str, str]]:
        stored = await s3.get(bucket, key)
        assert (stored.content_type, stored.content_encoding) == (OBJECT.content_type, OBJECT.content_encoding)
        return stored.body, stored.metadata

    if "client" in request.param:
        monkeypatch.setattr(SignedPut, "like", lambda *_, **__: None)
    async with s3_sink(s3.environment(s3.shipper), bucket, monkeypatch) as sink:
        yield Place(sink, read_object, lambda: s3.list_keys(bucket))


async def test_put_stores_exactly(place: Place) -> None:
    """The bytes, the metadata, the type and the encoding; and nothing else appears."""
    await place.sink.warm()
    await place.sink.put(OBJECT)
    assert await place.read(OBJECT.key) == (OBJECT.body, OBJECT.metadata)
    assert await place.keys() == [OBJECT.key]


async def test_a_repeat_overwrites_itself(place: Place) -> None:
    """After an ambiguous failure the same put is made again: there is one object, and it is the same."""
    for _ in range(3):
        await place.sink.put(OBJECT)
    assert await place.keys() == [OBJECT.key]
    assert await place.read(OBJECT.key) == (OBJECT.body, OBJECT.metadata)


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_come_back_as_they_were(place: Place, key: str) -> None:
    """What a template and a function's name may make."""
    await place.sink.put(OBJECT._replace(key=key))
    assert await place.keys() == [key]
    assert await place.read(key) == (OBJECT.body, OBJECT.metadata)


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_objects_of_any_size(place: Place, size: int) -> None:
    """An empty one tells that an environment has ended; a large one is a flood."""
    await place.sink.put(OBJECT._replace(body=bytes(size)))
    body, _ = await place.read(OBJECT.key)
    assert body == bytes(size)


async def test_many_at_once(place: Place) -> None:
    """The uploader asks for one at a time; a sink must not depend on that."""
    await asyncio.gather(*(place.sink.put(OBJECT._replace(key=f"k/{n}")) for n in range(10)))
    assert len(await place.keys()) == 10


# --- the directory


async def test_a_directory_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A file stands where the directory should be: the error names it."""
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(SinkUnavailable, match="out"):
        await DirectorySink(tmp_path / "out").put(OBJECT)


@pytest.mark.parametrize("key", ["../outside", "/outside", "a/../../outside"])
async def test_a_directory_keeps_everything_below_its_root(tmp_path: Path, key: str) -> None:
    """Whatever the key says."""
    root = tmp_path / "root"
    root.mkdir()
    if key.startswith("/"):
        key = str(tmp_path / "outside")
    with contextlib.suppress(SinkError):
        await DirectorySink(root).put(OBJECT._replace(key=key))
    assert {name.split("/")[0] for name in list_files(tmp_path)} <= {"root"}


async def test_half_an_object_is_never_seen(tmp_path: Path) -> None:
    """It appears by renaming; nothing is left beside it."""
    await DirectorySink(tmp_path).put(OBJECT)
    assert len(list_files(tmp_path)) == 2


# --- S3 refuses


async def test_a_missing_bucket_is_rejected_with_the_remedy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It will not pass by waiting; the message says what to do."""
    async with s3_sink(s3.environment(), "test-never-made", monkeypatch) as sink:
        with pytest.raises(
            SinkRejected, match=r"s3://test-never-made/.*404 NoSuchBucket; create the bucket or correct"
        ):
            await sink.put(OBJECT)


async def test_a_bucket_that_is_not_ours_is_rejected_with_the_remedy(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role lacks a right: which one is named."""
    await s3.create_bucket(f"other-{bucket}")
    try:
        async with s3_sink(s3.environment(), f"other-{bucket}", monkeypatch) as sink:
            with pytest.raises(SinkRejected, match=r"403 AccessDenied; allow s3:PutObject"):
                await sink.put(OBJECT)
    finally:
        await s3.delete_bucket(f"other-{bucket}")


def forged(identity: Identity, **changes: str) -> Identity:
    """Give an identity with something wrong."""
    return replace(identity, **changes)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"secret_key": "wrong"}, "SignatureDoesNotMatch"), ({"access_key": "unknown"}, "InvalidAccessKeyId")],
)
async def test_wrong_credentials_are_rejected(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], code: str
) -> None:
    """Each with its own remedy; no secret stands in the message."""
    environment = s3.environment(forged(s3.shipper, **changes))
    async with s3_sink(environment, bucket, monkeypatch) as sink:
        with pytest.raises(SinkRejected, match=code) as caught:
            await sink.put(OBJECT)
    assert s3.shipper.secret_key not in str(caught.value)


async def test_no_credentials_at_all_are_rejected(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, not after a search of the network."""
    environment = {k: v for k, v in s3.environment().items() if "KEY" not in k} | {"AWS_EC2_METADATA_DISABLED": "true"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    async with s3_sink(environment, bucket, monkeypatch) as sink:
        with pytest.raises(SinkRejected, match="credentials"):
            await sink.put(OBJECT)


async def test_a_prefix_goes_before_every_key(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the destination."""
    async with s3_sink(s3.environment(), bucket, monkeypatch, prefix="team a/logs") as sink:
        await sink.put(OBJECT)
    assert await s3.list_keys(bucket) == [f"team a/logs/{OBJECT.key}"]


# --- a server that misbehaves


def status(line: str, body: bytes = b"", headers: str = "") -> bytes:
    """Give a whole answer."""
    return f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


OK = status("200 OK", headers='ETag: "0cc175b9c0f1b6a831c399e269772661"\r\n')


def s3_at(port: int) -> dict[str, str]:
    """Give an environment that finds S3 on that port of loopback."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"} | keys


@dataclass(frozen=True)
class Asked:
    """What a server has been asked: the head of each whole request, and who has connected."""

    texts: list[str]
    sockets: list[socket.socket]
    somebody: threading.Event

    def __len__(self) -> int:
        return len(self.texts)

    def connections(self) -> int:
        """How many there have been."""
        return len(self.sockets)


@contextlib.contextmanager
def server_that(answer: Callable[[socket.socket, int], bool]) -> Iterator[tuple[dict[str, str], Asked]]:
    """Serve on loopback: each whole request is handed to `answer` with its number; give environment and what came."""
    connections: list[socket.socket] = []
    asked = Asked([], connections, threading.Event())
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                while not closing.is_set():
                    data = b""
                    while b"\r\n\r\n" not in data:
                        more = connection.recv(65536)
                        if not more:
                            return
                        data += more
                    head, _, body = data.partition(b"\r\n\r\n")
                    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                    size = int(lengths[0].split(b":")[1]) if lengths else 0
                    while len(body) < size:
                        body += connection.recv(65536)
                    asked.texts.append(head.decode("latin-1"))
                    if not answer(connection, len(asked)):
                        return

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connections.append(connection)
                    asked.somebody.set()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield (
                s3_at(server.getsockname()[1]),
                asked,
            )
        finally:
            closing.set()
            server.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def always(answer: bytes) -> Callable[[socket.socket, int], bool]:
    """Give that answer to every request."""

    def behave(connection: socket.socket, _number: int) -> bool:
        connection.sendall(answer)
        return True

    return behave


PAGE = b"<html><head><title>Sign in<br></head><body>to the guest network</body></html>"
XHTML = b"<html><body>welcome</body></html>"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>"), SinkUnavailable),
        (status("500 Internal Server Error", b"<Error><Code>InternalError</Code></Error>"), SinkUnavailable),
        (status("503 Service Unavailable"), SinkUnavailable),
        (status("502 Bad Gateway", PAGE, "Content-Type: text/html\r\n"), SinkUnavailable),
        (status("429 Too Many Requests"), SinkUnavailable),
        (status("400 Bad Request", b"<Error><Code>RequestTimeout</Code></Error>"), SinkUnavailable),
        (status("403 Forbidden", b"<Error><Code>RequestTimeTooSkewed</Code></Error>"), SinkUnavailable),
        (status("403 Forbidden", PAGE, "Content-Type: text/html\r\n"), SinkRejected),
        (status("400 Bad Request", b"<Error><Code>ExpiredToken</Code></Error>"), SinkRejected),
        (status("404 Not Found", b"<Error><Code>NoSuchBucket</Code></Error>"), SinkRejected),
        (status("200 OK", PAGE, "Content-Type: text/html\r\n"), SinkUnavailable),
        (status("200 OK", XHTML, "Content-Type: text/html\r\n"), SinkUnavailable),
        (status("200 OK"), SinkUnavailable),
        (b"SSH-2.0-OpenSSH_9.6\r\n", SinkUnavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short", SinkUnavailable),
    ],
    ids=lambda v: v[:40].decode("ascii", "replace") if isinstance(v, bytes) else "",
)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "by the client"])
async def test_an_answer_is_sorted_by_what_can_be_done(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, error: type[SinkError], *, signed: bool
) -> None:
    """Wait, or change something; a proxy's page is never taken for S3's word that it holds the object."""
    if not signed:
        monkeypatch.setattr(SignedPut, "like", lambda *_, **__: None)

    def behave(connection: socket.socket, _number: int) -> bool:
        connection.sendall(answer)
        return b"too short" not in answer and not answer.startswith(b"SSH")

    with server_that(behave) as (environment, _):
        async with s3_sink(environment, "bucket", monkeypatch, seconds=2.0) as sink:
            with pytest.raises(error) as caught:
                await sink.put(OBJECT)
    assert "s3://bucket/" in str(caught.value)


async def test_one_attempt_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry hidden in a library knows neither deadline nor breaker."""
    with server_that(always(status("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>"))) as (environment, asked):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            with pytest.raises(SinkUnavailable):
                await sink.put(OBJECT)
        assert len(asked) == 1


async def seconds_to_unavailable(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, *, seconds: float = TIMEOUT
) -> float:
    """Put one object where that cannot be done, and give how long it took to say so."""
    async with s3_sink(environment, "bucket", monkeypatch, seconds=seconds) as sink:
        await sink.warm()
        began = time.monotonic()
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        return time.monotonic() - began


async def test_nobody_listening_is_unavailable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused is an answer too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert await seconds_to_unavailable(s3_at(port), monkeypatch) < 2


async def test_a_host_that_swallows_connections_is_unavailable_within_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A VPC without a way to S3: connecting has a bound of its own."""
    monkeypatch.setattr(s3_module, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
            fillers.append(filler)
        assert await seconds_to_unavailable(s3_at(full.getsockname()[1]), monkeypatch) < 3
        for filler in fillers:
            filler.close()


async def test_a_server_that_never_answers_is_unavailable_within_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOGFERRY_UPLOAD_TIMEOUT is also the client's own."""
    with server_that(lambda _connection, _number: True) as (environment, _):
        assert await seconds_to_unavailable(environment, monkeypatch, seconds=0.3) < 3


async def test_a_connection_that_went_stale_is_replaced_and_the_put_repeated_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While we were frozen the other side has closed it: that says nothing about S3."""

    def closes_after_the_first(connection: socket.socket, number: int) -> bool:
        if number == 2:
            return False  # the pooled connection is closed instead of answered
        connection.sendall(OK)
        return True

    with server_that(closes_after_the_first) as (environment, asked):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            await sink.put(OBJECT)
            await sink.put(OBJECT)
        assert len(asked) == 3


async def test_a_server_that_always_hangs_up_is_unavailable_after_two_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once more, not for ever."""
    with server_that(lambda _connection, _number: False) as (environment, asked):
        async with s3_sink(environment, "bucket", monkeypatch) as sink:
            with pytest.raises(SinkUnavailable):
                await sink.put(OBJECT)
        assert len(asked) <= 2


async def test_warming_in_another_loop_serves_this_one(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is made in a thread while the listener's loop is not yet there."""
    async with s3_sink(s3.environment(), bucket, monkeypatch) as sink:
        await asyncio.to_thread(lambda: asyncio.run(sink.warm()))
        await sink.put(OBJECT)
    assert await s3.list_keys(bucket) == [OBJECT.key]
