"""The upload target whose settings contain references: when they are resolved, and what a failure shows."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

import logferry
from logferry.destination import SCHEMES
from logferry.errors import SettingsError, SinkRejected, SinkUnavailable
from logferry.records.model import Header, Origin, StoredObject
from logferry.settings import Settings
from logferry.shipper import deferred_target
from logferry.shipper.deferred_target import RESOLVE_AGAIN_SECONDS, DeferredTarget, OpenTarget
from logferry.shipper.upload_target import open_fallback_target, open_target
from support.parameter_server import fault, parameter_server
from support.s3_stub import OBJECT, OK, answering, s3_error, server_that, status

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logferry.errors import SinkError
    from logferry.shipper.upload_target import UploadTarget
    from support.parameter_server import ParameterServer

    Encode = Callable[[Header, Iterable[bytes], bool], StoredObject]

pytestmark = pytest.mark.timeout(60)


class Sink:
    """A sink that rejects each object while its value is not the right one."""

    def __init__(self, value: str, right: str, error: type[SinkError] = SinkRejected) -> None:
        self.value = value
        self.right = right
        self.error = error
        self.connected = 0
        self.stored: list[StoredObject] = []
        self.closed = False

    async def connect(self) -> None:
        """Count the call."""
        self.connected += 1

    async def put(self, stored: StoredObject) -> None:
        """Store, or raise with the value."""
        if self.value != self.right:
            raise self.error(f"put {self.value}/x: 403 for {self.value.rpartition('/')[2]}")
        self.stored.append(stored)

    def close(self) -> None:
        """Note the call."""
        self.closed = True


class Scene:
    """A target, the present value of its reference, and the sinks that it has opened."""

    def __init__(self) -> None:
        self.value = "s3://first-bucket/secret-token"
        self.right = self.value
        self.failure: SinkError | None = None
        self.error: type[SinkError] = SinkRejected
        self.now = 1_000_000.0
        self.resolutions = 0
        self.sinks: list[Sink] = []
        self.invalid = False
        self.form = "compressed"
        self.gate = asyncio.Event()
        self.gate.set()
        self.target = DeferredTarget(
            resolve=self.resolve,
            open_target=self.open,
            encode=encode("before"),
            form="compressed",
            name="ssm:/destination",
            wall_clock=lambda: self.now,
        )

    async def resolve(self) -> Mapping[str, str]:
        """Return the value, or raise the failure."""
        self.resolutions += 1
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return {"DESTINATION": self.value}

    def open(self, texts: Mapping[str, str]) -> OpenTarget:
        """Open a sink."""
        if self.invalid:
            raise SettingsError([f"LOGFERRY_DESTINATION has {texts['DESTINATION']}"])
        self.sinks.append(Sink(texts["DESTINATION"], self.right, self.error))
        return OpenTarget(self.sinks[-1], encode("after"), self.form)


def encode(key: str) -> Encode:
    """Return an encoder whose objects have this key."""

    def encoded(_header: Header, _batches: Iterable[bytes], _final: bool) -> StoredObject:
        return StoredObject(key, b"", {}, "")

    return encoded


async def test_nothing_is_resolved_before_the_first_connection_and_then_once() -> None:
    """A snapshot of SnapStart is taken before it."""
    scene = Scene()
    assert scene.resolutions == 0
    await asyncio.gather(scene.target.connect(), scene.target.put(OBJECT), scene.target.put(OBJECT))
    assert scene.resolutions == 1
    assert (len(scene.sinks), scene.sinks[0].connected, scene.sinks[0].stored) == (1, 1, [OBJECT, OBJECT])


async def test_the_encoder_is_that_of_the_destination_once_it_is_known() -> None:
    """A destination decides which bytes it can store."""
    scene = Scene()
    assert scene.target.encode(None, (), False).key == "before"  # type: ignore[arg-type]
    await scene.target.connect()
    assert scene.target.encode(None, (), False).key == "after"  # type: ignore[arg-type]


async def test_an_object_in_another_form_than_the_destination_stores_is_encoded_again() -> None:
    """A stream stores lines, and compressed bytes would be garbage there."""
    scene = Scene()
    scene.form = "lines"
    stored = scene.target.encode(None, (), False)  # type: ignore[arg-type]
    with pytest.raises(SinkUnavailable, match="before was encoded before the destination was known"):
        await scene.target.put(stored)
    assert scene.sinks[0].stored == []
    again = scene.target.encode(None, (), False)  # type: ignore[arg-type]
    await scene.target.put(again)
    assert scene.sinks[0].stored == [again]


@pytest.mark.parametrize("kind", [SinkUnavailable, SinkRejected])
async def test_a_failed_resolution_is_a_failed_upload_and_is_repeated(kind: type[SinkError]) -> None:
    """The circuit breaker decides when, as for any other failure."""
    scene = Scene()
    scene.failure = kind("ssm:/p: 400")
    await scene.target.connect()
    with pytest.raises(kind, match="ssm:/p: 400"):
        await scene.target.put(OBJECT)
    scene.failure = None
    await scene.target.put(OBJECT)
    assert scene.sinks[0].stored == [OBJECT]
    assert scene.resolutions == 3


async def test_a_cancelled_resolution_is_begun_again() -> None:
    """A connection attempt is cancelled before the environment is frozen."""
    scene = Scene()
    scene.gate.clear()
    task = asyncio.create_task(scene.target.connect())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    scene.gate.set()
    await scene.target.put(OBJECT)
    assert scene.resolutions == 2


async def test_settings_that_are_invalid_with_the_value_are_rejected_without_showing_it() -> None:
    """All mistakes are in one message, and a corrected value is used without a new environment."""
    scene = Scene()
    scene.invalid = True
    with pytest.raises(SinkRejected) as caught:
        await scene.target.put(OBJECT)
    assert str(caught.value) == (
        "the settings are invalid with the values of their references: LOGFERRY_DESTINATION has …"
    )
    scene.invalid = False
    await scene.target.put(OBJECT)
    assert scene.sinks[0].stored == [OBJECT]


@pytest.mark.parametrize("kind", [SinkUnavailable, SinkRejected])
async def test_no_error_of_the_sink_shows_a_value_or_a_part_of_it(kind: type[SinkError]) -> None:
    """The type of the error stays, because it decides when the next attempt is made."""
    scene = Scene()
    scene.right, scene.error = "", kind
    with pytest.raises(kind) as caught:
        await scene.target.put(OBJECT)
    assert str(caught.value) == "put …/x: 403 for …"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_common_words_of_a_value_stay_in_a_message() -> None:
    """The scheme of a URL and the names of partitions are no secrets, and the message must be readable."""
    scene = Scene()
    scene.value = "https://example.com/function=orders/token=abcdef"
    scene.right = ""
    with pytest.raises(SinkRejected) as caught:
        await scene.target.put(OBJECT)
    assert str(caught.value) == "put …/x: 403 for …"
    scene.sinks[0].value = "https: the function orders, example.com, abcdef"
    with pytest.raises(SinkRejected) as caught:
        await scene.target.put(OBJECT)
    assert "https: the function …, …, …" in str(caught.value)


async def test_a_rotated_value_is_used_after_a_rejection_at_most_once_in_a_period() -> None:
    """A rejection that no new value explains must not cause a request for each upload."""
    scene = Scene()
    await scene.target.put(OBJECT)
    scene.right = "s3://second-bucket/secret-token"
    scene.sinks[0].right = scene.right
    with pytest.raises(SinkRejected):
        await scene.target.put(OBJECT)
    assert scene.resolutions == 1, "the value has just been read"
    scene.now += RESOLVE_AGAIN_SECONDS
    with pytest.raises(SinkRejected):
        await scene.target.put(OBJECT)
    assert scene.resolutions == 2, "the value is still the old one"
    scene.value = scene.right
    with pytest.raises(SinkRejected):
        await scene.target.put(OBJECT)
    assert scene.resolutions == 2
    scene.now += RESOLVE_AGAIN_SECONDS
    await scene.target.put(OBJECT)
    assert scene.resolutions == 3
    assert [sink.closed for sink in scene.sinks] == [True, False]
    assert scene.sinks[1].stored == [OBJECT]


async def test_an_unavailable_sink_is_no_reason_to_resolve_again() -> None:
    """A network failure has nothing to do with a secret."""
    scene = Scene()
    scene.right, scene.error = "", SinkUnavailable
    for _ in range(3):
        scene.now += 2 * RESOLVE_AGAIN_SECONDS
        with pytest.raises(SinkUnavailable):
            await scene.target.put(OBJECT)
    assert scene.resolutions == 1


async def test_a_failed_second_resolution_keeps_the_rejection() -> None:
    """The message of the destination is the one that a person needs."""
    scene = Scene()
    await scene.target.put(OBJECT)
    scene.sinks[0].right = ""
    scene.now += RESOLVE_AGAIN_SECONDS
    scene.failure = SinkUnavailable("ssm:/p: 500")
    with pytest.raises(SinkRejected, match="403"):
        await scene.target.put(OBJECT)
    assert len(scene.sinks) == 1


# --- with stand-ins of SSM and Secrets Manager


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ParameterServer]:
    """Serve SSM and Secrets Manager, and set the variables of the function."""
    with parameter_server() as served:
        for name, text in served.environ.items():
            monkeypatch.setenv(name, text)
        yield served


def _fallback(server: ParameterServer, **variables: str) -> tuple[UploadTarget, UploadTarget]:
    """Return the targets of both destinations."""
    environ = {**server.environ, **{f"LOGFERRY_{name}": text for name, text in variables.items()}}
    settings = Settings.from_environ(environ)
    fallback = open_fallback_target(settings, environ)
    assert fallback
    return open_target(settings, environ), fallback


async def test_a_fallback_destination_without_references_works_while_none_can_be_resolved(
    server: ParameterServer, tmp_path: Path
) -> None:
    """The records need not wait for SSM."""
    server.permanent_fault = fault(500, "InternalServerError")
    first, second = _fallback(
        server, DESTINATION="ssm:/destination", FALLBACK_DESTINATION=f"file://{tmp_path}/second", LOG_LEVEL="debug"
    )
    with pytest.raises(SinkUnavailable):
        await first.sink.put(OBJECT)
    requests = len(server.requests)
    await second.sink.put(OBJECT)
    assert len(server.requests) == requests
    assert (tmp_path / "second" / OBJECT.key).exists()
    assert str(second.sink) == f"file://{tmp_path}/second"


async def test_a_fallback_destination_can_be_a_reference_and_its_objects_have_the_mark(
    server: ParameterServer, tmp_path: Path
) -> None:
    """It is opened with its first use, like any other fallback destination."""
    server.parameters = {"/first": [f"file://{tmp_path}/first"], "/second": [f"file://{tmp_path}/second"]}
    first, second = _fallback(server, DESTINATION="ssm:/first", FALLBACK_DESTINATION="ssm:/second")
    assert (str(first.sink), str(second.sink)) == ("ssm:/first", "ssm:/second")
    header = Header(Origin("0a1b", "orders", "$LATEST", "eu-central-1", concurrent=False), 1, 0, None)
    for target, place in ((second, "second"), (first, "first")):
        for _ in range(2):  # before the destination is known, and afterwards
            stored = target.encode(header, [], False)
            assert ("fallback" in str(stored.metadata)) == (place == "second")
            await target.sink.put(stored)
        assert (tmp_path / place / stored.key).exists()


async def test_destinations_that_overlap_by_their_values_are_rejected(server: ParameterServer) -> None:
    """The settings are validated together."""
    server.parameters = {"/first": ["s3://bucket/logs"], "/second": ["s3://bucket/logs/second"]}
    first, _ = _fallback(server, DESTINATION="ssm:/first", FALLBACK_DESTINATION="ssm:/second")
    with pytest.raises(SinkRejected, match="are the same place, or one contains the other"):
        await first.sink.put(OBJECT)


async def test_an_object_is_stored_at_the_destination_of_a_parameter_with_the_tags_of_a_secret(
    server: ParameterServer,
) -> None:
    """The request is the same as with the values in the variables."""
    server.parameters = {"/logs/destination": ["s3://my-log-bucket/team/logs"]}
    server.secrets = {"logs": {"SecretString": '{"cost": "12"}'}}
    variables = {
        "LOGFERRY_DESTINATION": "ssm:/logs/destination",
        "LOGFERRY_S3_TAGS": "team=payments,cost=secretsmanager:logs#cost",
    }
    with server_that(answering(OK)) as (s3, requests):
        environ = {**server.environ, **variables, "AWS_ENDPOINT_URL_S3": s3["AWS_ENDPOINT_URL_S3"]}
        target = open_target(Settings.from_environ(environ), environ)
        await target.sink.connect()
        await target.sink.put(OBJECT)
        await target.sink.close()  # type: ignore[attr-defined]
    assert requests.texts[0].startswith(f"PUT /my-log-bucket/team/logs/{quote(OBJECT.key)} HTTP/1.1\r\n")
    assert requests.values("x-amz-tagging") == ["team=payments&cost=12"]


async def test_no_message_of_the_s3_client_shows_the_destination(server: ParameterServer) -> None:
    """S3 repeats bucket and key in its sentence."""
    server.parameters = {"/logs/destination": ["s3://hidden-bucket/hidden-prefix"]}
    sentence = (
        "arn:aws:sts::1:r is not authorized to perform: s3:PutObject on arn:aws:s3:::hidden-bucket/hidden-prefix/x"
    )
    refused = s3_error("403 Forbidden", "AccessDenied", message=sentence)
    with server_that(answering(refused, status("500 Internal Server Error"))) as (s3, _):
        environ = {**server.environ, "LOGFERRY_DESTINATION": "ssm:/logs/destination"}
        environ["AWS_ENDPOINT_URL_S3"] = s3["AWS_ENDPOINT_URL_S3"]
        target = open_target(Settings.from_environ(environ), environ)
        for kind in (SinkRejected, SinkUnavailable):
            with pytest.raises(kind) as caught:
                await target.sink.put(OBJECT)
            assert "hidden" not in str(caught.value)
            assert OBJECT.key in str(caught.value)
        await target.sink.close()  # type: ignore[attr-defined]
    assert "hidden" not in repr(target)


def test_a_target_without_references_imports_nothing_for_them() -> None:
    """A feature that is off costs a start nothing."""
    source, packages = Path(logferry.__file__).parents[1], sysconfig.get_path("purelib")
    look = (
        f"import sys; sys.path += [{str(source)!r}, {packages!r}]\n"
        "from logferry.settings import Settings\n"
        "from logferry.shipper.upload_target import open_fallback_target, open_target\n"
        "environ = {'LOGFERRY_DESTINATION': 's3://bucket', 'AWS_REGION': 'eu-central-1', 'AWS_ACCESS_KEY_ID': 'a',"
        " 'AWS_SECRET_ACCESS_KEY': 'b'}\n"
        "open_target(Settings.from_environ(environ), environ)\n"
        "print(*(name for name in sys.modules if 'references' in name or 'deferred' in name or 'tomllib' in name))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == ""


async def test_settings_that_contradict_a_value_are_all_reported(server: ParameterServer) -> None:
    """They are validated together, as at the start."""
    server.parameters = {"/destination": ["file:///hidden"], "/owner": ["hidden"]}
    environ = {
        **os.environ,
        "LOGFERRY_DESTINATION": "ssm:/destination",
        "LOGFERRY_S3_EXPECTED_OWNER": "ssm:/owner",
        "LOGFERRY_S3_ACL": "private",
    }
    target = open_target(Settings.from_environ(environ), environ)
    with pytest.raises(SinkRejected) as caught:
        await target.sink.put(OBJECT)
    assert "LOGFERRY_S3_EXPECTED_OWNER is not valid with the value of its reference: use an account ID" in str(
        caught.value
    )
    assert "LOGFERRY_S3_ACL has no effect with a destination file://: remove it" in str(caught.value)
    assert "hidden" not in str(caught.value)


async def test_a_slow_ssm_is_reported_before_the_upload_times_out(server: ParameterServer) -> None:
    """Otherwise the message would name the route to the destination."""
    server.delay_seconds = 60
    server.permanent_fault = fault(500, "InternalServerError")
    environ = {**os.environ, "LOGFERRY_DESTINATION": "ssm:/destination", "LOGFERRY_UPLOAD_TIMEOUT": "0.5"}
    target = open_target(Settings.from_environ(environ), environ)
    with pytest.raises(SinkUnavailable, match=r"no response within 0\.3 s|not resolved within 0\.4 s"):
        await target.sink.put(OBJECT)


async def test_a_referenced_stream_gets_lines_and_no_compressed_object(server: ParameterServer) -> None:
    """The form of the objects is known only with the destination."""
    server.parameters = {"/destination": ["firehose://my-stream"]}
    environ = {
        **server.environ,
        "LOGFERRY_DESTINATION": "ssm:/destination",
        "AWS_ENDPOINT_URL_FIREHOSE": "http://127.0.0.1:1",
    }
    target = open_target(Settings.from_environ(environ), environ)
    header = Header(Origin("0a1b", "orders", "$LATEST", "eu-central-1", concurrent=False), 1, 0, None)
    assert target.encode(header, [], False).body[:2] == b"\x1f\x8b"
    await target.sink.connect()
    assert target.encode(header, [], False).body[:1] == b"{"
    await target.sink.close()  # type: ignore[attr-defined]


def test_an_unknown_destination_has_the_lowest_limit_of_objects() -> None:
    """The journal is open before the destination is known, and a receiver may limit the size of a request."""
    limits = [each.object_bytes for each in SCHEMES.values() if each.object_bytes]
    settings = Settings.from_environ({"LOGFERRY_DESTINATION": "ssm:/destination"})
    assert settings.object_bytes == min(limits)
    given = {"LOGFERRY_DESTINATION": "ssm:/destination", "LOGFERRY_OBJECT_BYTES": "8MiB"}
    assert Settings.from_environ(given).object_bytes == 8 * 1024 * 1024


async def test_a_rotated_token_of_a_receiver_is_used_within_the_same_upload(
    server: ParameterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver rejects the old token, and the records need not wait for a new environment."""
    monkeypatch.setattr(deferred_target, "RESOLVE_AGAIN_SECONDS", 0.0)
    server.secrets = {"otel": {"SecretString": '{"token": "old-token"}'}}

    def answer(connection: socket.socket, number: int) -> bool:
        is_valid = requests.values("authorization")[number - 1] == "Bearer new-token"
        connection.sendall(status("200 OK" if is_valid else "401 Unauthorized", b"wrong token: old-token"))
        return True

    with server_that(answer) as (stand_in, requests):
        url = stand_in["AWS_ENDPOINT_URL_S3"]
        token = "secretsmanager:otel#token"  # noqa: S105 - a reference
        environ = {**server.environ, "LOGFERRY_DESTINATION": f"{url}/logs", "LOGFERRY_HTTPS_TOKEN": token}
        target = open_target(Settings.from_environ(environ), environ)
        with pytest.raises(SinkRejected) as caught:
            await target.sink.put(OBJECT)
        assert "401" in str(caught.value)
        assert "old-token" not in str(caught.value)
        server.secrets = {"otel": {"SecretString": '{"token": "new-token"}'}}
        await target.sink.put(OBJECT)
        await target.sink.close()  # type: ignore[attr-defined]
    assert list(dict.fromkeys(requests.values("authorization"))) == ["Bearer old-token", "Bearer new-token"]
