"""Encryption, storage class, tags, owner and access of stored objects, with both S3 clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from logferry.errors import SinkRejected
from logferry.settings import Settings
from support.moto_s3 import moto_s3
from support.s3_stub import OBJECT, answering, close, s3_error, s3_sink, server_that

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.moto_s3 import MotoS3

pytestmark = pytest.mark.usefixtures("closed_sinks")
BUCKET = "options"


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoS3]:
    """Run moto with one bucket."""
    with moto_s3() as server:
        asyncio.run(server.create_bucket(BUCKET))
        yield server


def _headers(**options: str) -> dict[str, str]:
    given = {f"LOGFERRY_S3_{name}": value for name, value in options.items()}
    settings = Settings.from_environ(
        {"LOGFERRY_DESTINATION": "s3://options/logs", "AWS_REGION": "eu-central-1"} | given
    )
    assert settings.s3
    return dict(settings.s3.headers)


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_the_stored_object_has_the_options(moto: MotoS3, monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The server reports what it has stored."""
    headers = _headers(
        ENCRYPTION="aws:kms",
        KMS_KEY="alias/logs",
        BUCKET_KEY="true",
        STORAGE_CLASS="STANDARD_IA",
        TAGS="team=a b,stage=prod",
        ACL="bucket-owner-full-control",
        REQUEST_PAYER="true",
    )
    key = f"{client}/{OBJECT.key}"
    sink = s3_sink(moto.environment, BUCKET, monkeypatch, client=client, object_headers=headers)
    await sink.put(OBJECT._replace(key=key))
    await close(sink)
    head = await moto.head(BUCKET, key)
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == "alias/logs"
    assert head["BucketKeyEnabled"] is True
    assert head["StorageClass"] == "STANDARD_IA"
    assert await moto.tags(BUCKET, key) == {"team": "a b", "stage": "prod"}


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_a_bucket_of_another_owner_is_rejected_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """S3 responds 403 AccessDenied if the owner differs."""
    denied = s3_error("403 Forbidden", "AccessDenied", message="Access Denied")
    with server_that(answering(denied)) as (environment, requests):
        headers = _headers(EXPECTED_OWNER="123456789012")
        sink = s3_sink(environment, BUCKET, monkeypatch, client=client, object_headers=headers)
        with pytest.raises(SinkRejected, match="AccessDenied"):
            await sink.put(OBJECT)
        await close(sink)
        assert requests.values("x-amz-expected-bucket-owner") == ["123456789012"]
