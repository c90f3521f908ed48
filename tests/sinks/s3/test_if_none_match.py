"""Conditional writes: no object is overwritten, and a repeated put of the same object is no error."""

from __future__ import annotations

import base64
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from logferry import log
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.sinks.s3.existing_object import is_same
from support.moto_s3 import moto_s3
from support.s3_stub import OBJECT as ANY_OBJECT
from support.s3_stub import OK, answering, close, s3_error, s3_sink, server_that, status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logferry.emulator.s3_server import S3Server
    from logferry.sinks.base import Sink
    from support.moto_s3 import MotoS3

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

CLIENTS = pytest.mark.parametrize("client", ["auto", "sdk"], ids=["own", "sdk"])
HEADERS = {"if-none-match": "*"}
OBJECT = ANY_OBJECT._replace(
    metadata={
        "format": "1",
        "environment": "0a1b",
        "segment": "7",
        "records": "2",
        "first-time": "2026-11-21T02:00:00.000Z",
        "last-time": "2026-11-21T02:00:01.000Z",
    }
)
EXISTS = s3_error("412 Precondition Failed", "PreconditionFailed", message="At least one condition did not hold")


def described(**changes: str) -> dict[str, str]:
    """Return the headers of the stored object. A changed header without a value is missing."""
    crc32 = base64.b64encode(zlib.crc32(OBJECT.body).to_bytes(4, "big")).decode()
    headers = {f"x-amz-meta-{name}": value for name, value in OBJECT.metadata.items()}
    headers |= {"content-length": str(len(OBJECT.body)), "x-amz-checksum-crc32": crc32}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in headers.items() if value}


def head_response(headers: Mapping[str, str], line: str = "200 OK") -> bytes:
    """Return a response to HeadObject."""
    return "\r\n".join([f"HTTP/1.1 {line}", *[f"{name}: {value}" for name, value in headers.items()], "\r\n"]).encode()


FORBIDDEN = head_response({"Transfer-Encoding": "chunked"}, "403 Forbidden")


async def put_conditionally(
    environment: Mapping[str, str], bucket: str, monkeypatch: pytest.MonkeyPatch, client: str, **more: str
) -> Sink:
    """Store the object, and return the sink."""
    sink = s3_sink(environment, bucket, monkeypatch, client=client, object_headers=HEADERS | more)
    await sink.put(OBJECT)
    return sink


# --- real servers


@CLIENTS
async def test_repeated_put_is_no_error_and_stores_one_object(
    monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: str, client: str
) -> None:
    """The server refuses the second request, and the object is recognized."""
    sink = await put_conditionally(s3.environment(s3.admin), bucket, monkeypatch, client)
    before = await s3.get(bucket, OBJECT.key)
    await sink.put(OBJECT)
    assert await s3.get(bucket, OBJECT.key) == before
    assert before.body == OBJECT.body


@CLIENTS
async def test_object_of_another_writer_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: str, client: str
) -> None:
    """The error names the setting, and the remedy does not lose a record."""
    async with s3.client() as admin:
        await admin.put_object(Bucket=bucket, Key=OBJECT.key, Body=b"foreign")
    with pytest.raises(
        SinkRejected, match=r"412 .*another object exists .*LOGFERRY_S3_IF_NONE_MATCH.*remove the object"
    ):
        await put_conditionally(s3.environment(s3.admin), bucket, monkeypatch, client)
    assert (await s3.get(bucket, OBJECT.key)).body == b"foreign"


@CLIENTS
async def test_object_that_the_role_cannot_read_counts_as_stored_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: str, client: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A role of logferry needs s3:PutObject only."""
    monkeypatch.setattr(log, "_LOGGER", log.Logger())
    monkeypatch.setitem(sys.modules, "structlog", None)
    log.configure(level="warning", as_json=False)
    sink = await put_conditionally(s3.environment(), bucket, monkeypatch, client)
    await sink.put(OBJECT)
    await sink.put(OBJECT)
    lines = [line for line in capsys.readouterr().out.splitlines() if "counts as stored" in line]
    assert len(lines) == 1
    assert OBJECT.key in lines[0]
    assert "allow s3:GetObject" in lines[0]


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoS3]:
    """Run moto for the tests of this module."""
    with moto_s3() as server:
        yield server


@CLIENTS
async def test_second_implementation_gives_the_same_results(
    monkeypatch: pytest.MonkeyPatch, moto: MotoS3, client: str
) -> None:
    """The same object is accepted, and other records at the same key are not."""
    bucket = f"conditional-{client}"
    await moto.create_bucket(bucket)
    sink = await put_conditionally(moto.environment, bucket, monkeypatch, client)
    await sink.put(OBJECT)
    with pytest.raises(SinkRejected, match="another object"):
        await sink.put(OBJECT._replace(metadata=OBJECT.metadata | {"records": "3"}))
    body, metadata, _ = await moto.get(bucket, OBJECT.key)
    assert (body, metadata["records"]) == (OBJECT.body, "2")


# --- faults


@CLIENTS
async def test_object_that_an_ambiguous_attempt_has_stored_is_recognized(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The first attempt ends with 500; the second one ends it with one more request."""
    error = s3_error("500 Internal Server Error", "InternalError")
    with server_that(answering(error, EXISTS, head_response(described()))) as (environment, requests):
        headers = HEADERS | {"x-amz-expected-bucket-owner": "123456789012", "x-amz-request-payer": "requester"}
        sink = s3_sink(
            environment, "bucket", monkeypatch, client=client, object_headers=headers | {"x-amz-acl": "private"}
        )
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    assert [head.split()[0] for head in requests.texts] == ["PUT", "PUT", "HEAD"]
    assert requests.values("if-none-match") == ["*", "*", ""]
    assert requests.values("x-amz-checksum-mode") == ["", "", "ENABLED"]
    assert requests.values("x-amz-expected-bucket-owner") == ["123456789012"] * 3
    assert requests.values("x-amz-request-payer") == ["requester"] * 3
    assert requests.values("x-amz-acl")[2] == ""
    signed = [value.partition("SignedHeaders=")[2].partition(",")[0] for value in requests.values("authorization")]
    assert "if-none-match" in signed[1].split(";")
    names = "host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date;x-amz-expected-bucket-owner;x-amz-request-payer"
    assert signed[2] == names


@CLIENTS
async def test_checksum_that_needs_a_kms_permission_is_not_required(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """S3 refuses the checksum to a role that cannot decrypt; the size is then compared."""
    answer = head_response(described(x_amz_checksum_crc32=""))
    with server_that(answering(EXISTS, FORBIDDEN, answer)) as (environment, requests):
        await put_conditionally(environment, "bucket", monkeypatch, client)
    assert requests.values("x-amz-checksum-mode") == ["", "ENABLED", ""]


@CLIENTS
@pytest.mark.parametrize(
    "line", ["404 Not Found", "500 Internal Server Error", "503 Slow Down", "405 Method Not Allowed"]
)
async def test_unclear_state_is_unavailable(monkeypatch: pytest.MonkeyPatch, client: str, line: str) -> None:
    """The object may have been removed meanwhile. The next attempt finds out."""
    answer = head_response({"Content-Length": "0"}, line)
    with server_that(answering(EXISTS, answer, OK)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, client=client, object_headers=HEADERS)
        with pytest.raises(SinkUnavailable, match=f"412 PreconditionFailed, and HeadObject gave status {line[:3]}"):
            await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    assert len(requests) == 3


@CLIENTS
async def test_conflict_with_a_concurrent_request_is_unavailable(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """S3 asks for a repetition, which the uploader makes later."""
    conflict = s3_error("409 Conflict", "ConditionalRequestConflict", message="A conflicting operation occurred.")
    with server_that(answering(conflict)) as (environment, requests):
        with pytest.raises(SinkUnavailable, match="409 ConditionalRequestConflict"):
            await put_conditionally(environment, "bucket", monkeypatch, client)
        assert len(requests) == 1


@CLIENTS
@pytest.mark.parametrize("answer", [status("412 Precondition Failed"), status("412 No", b"<html>proxy</html>")])
async def test_412_that_is_not_from_s3_is_no_confirmation(
    monkeypatch: pytest.MonkeyPatch, client: str, answer: bytes
) -> None:
    """The page of a proxy stores nothing."""
    with server_that(answering(answer)) as (environment, requests):
        with pytest.raises(SinkRejected, match="412"):
            await put_conditionally(environment, "bucket", monkeypatch, client)
        assert len(requests) == 1


@CLIENTS
async def test_412_without_the_setting_is_rejected(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """No HeadObject request is made."""
    with server_that(answering(EXISTS)) as (environment, requests):
        sink = s3_sink(environment, "bucket", monkeypatch, client=client)
        with pytest.raises(SinkRejected, match="412 PreconditionFailed"):
            await sink.put(OBJECT)
        await close(sink)
        assert len(requests) == 1


# --- the comparison


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (described(), True),
        (described(x_amz_checksum_crc32=""), True),
        (described(x_amz_checksum_crc32="", content_length="1"), False),
        (described(x_amz_checksum_crc32="AAAAAA=="), False),
        (described(x_amz_meta_environment="0a1c"), False),
        (described(x_amz_meta_segment="8"), False),
        (described(x_amz_meta_records="3"), False),
        (described(x_amz_meta_last_time="2026-11-21T02:00:02.000Z"), False),
        (described(x_amz_meta_environment=""), False),
        (described(x_amz_meta_final="true", x_amz_checksum_crc32="AAAAAA==", content_length="1"), True),
        (described(x_amz_meta_final="true", x_amz_meta_records="3"), False),
        (described(x_amz_meta_fallback="true", etag='"kms"'), True),
        ({}, False),
    ],
)
def test_object_is_recognized_by_segment_records_and_bytes(headers: Mapping[str, str], expected: bool) -> None:
    """The mark `final` changes the bytes of the closing line only. Other marks do not matter."""
    assert is_same(OBJECT, headers) is expected
