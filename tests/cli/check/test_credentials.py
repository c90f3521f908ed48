"""Credentials: their source, and their owner according to moto's STS."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logferry.cli.check.credentials import shortened
from support.check_runs import DESTINATION, check, refusing, s3_that
from support.container_endpoint import container_endpoint
from support.moto_s3 import REGION, MotoS3, moto_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE_ARN = "arn:aws:iam::123456789012:role/service/pay-role"


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoS3]:
    """Run moto for the tests of this module: S3 and STS at one URL."""
    with moto_s3() as server:
        yield server


def aws(moto: MotoS3) -> dict[str, str]:
    """Return variables for S3 and STS of moto."""
    environment = moto.environment
    return environment | {"AWS_ENDPOINT_URL": environment["AWS_ENDPOINT_URL_S3"]}


async def test_the_owner_of_the_credentials_is_shown(moto: MotoS3) -> None:
    """STS gives it without a permission."""
    await moto.create_bucket("owner-bucket")
    done = await asyncio.to_thread(check, aws(moto), "s3://owner-bucket/logs", "--reading")
    assert done.status == 0, done.output
    assert done.steps["identity"]["status"] == "ok"
    assert done.steps["identity"]["detail"].startswith("arn:aws:sts::")
    assert done.steps["region"] == {"name": "region", "status": "ok", "detail": REGION}
    assert await moto.list_keys("owner-bucket") == []


async def test_a_bucket_that_does_not_exist_is_named(moto: MotoS3) -> None:
    """Moto answers as S3 does."""
    done = await asyncio.to_thread(check, aws(moto), "s3://never-made-bucket/logs")
    assert done.steps["put"]["detail"].startswith("404 NoSuchBucket: ")
    assert "create the bucket" in done.steps["put"]["remedy"]


async def test_credentials_of_another_role_are_a_warning(moto: MotoS3) -> None:
    """The configuration of the function names its role, and permissions of others prove nothing about it."""
    await moto.create_bucket("role-bucket")
    configuration = {
        "FunctionName": "pay",
        "FunctionArn": f"arn:aws:lambda:{REGION}:123456789012:function:pay",
        "Role": ROLE_ARN,
        "Environment": {"Variables": {"LOGFERRY_DESTINATION": "s3://role-bucket/logs"}},
    }
    done = await asyncio.to_thread(check, aws(moto), "--settings", "-", stdin=json.dumps(configuration))
    assert done.status == 0, done.output
    assert done.steps["identity"]["status"] == "warning"
    assert "the role pay-role" in done.steps["identity"]["notes"][0]


@pytest.mark.parametrize(
    ("code", "sentence", "state"),
    [
        ("InvalidClientTokenId", "The security token included in the request is invalid", "failed"),
        ("ExpiredToken", "The security token included in the request is expired", "failed"),
        ("SignatureDoesNotMatch", "Signature expired: 20261130T000000Z is now earlier than 2026", "warning"),
        ("ServiceUnavailable", "", "skipped"),
    ],
)
def test_a_refusal_of_sts_fails_only_for_the_credentials(code: str, sentence: str, state: str) -> None:
    """The owner is optional, but refused credentials cannot store an object."""
    error = f"<ErrorResponse><Error><Code>{code}</Code><Message>{sentence}</Message></Error></ErrorResponse>".encode()
    line = "503 Unavailable" if state == "skipped" else "403 Forbidden"
    response = f"HTTP/1.1 {line}\r\nContent-Type: text/xml\r\nContent-Length: {len(error)}\r\n\r\n".encode() + error

    def respond(head: str) -> bytes:
        return response if head.startswith("POST ") else refusing({})(head)

    with s3_that(respond) as (environment, _):
        done = check(environment | {"AWS_ENDPOINT_URL_STS": environment["AWS_ENDPOINT_URL_S3"]}, DESTINATION)
    assert done.steps["identity"]["status"] == state


def test_the_owner_is_not_asked_for_at_another_store() -> None:
    """A key of another store means nothing to AWS, which must not receive it."""
    with s3_that(refusing({})) as (environment, _):
        done = check(environment, DESTINATION)
    assert done.steps["identity"]["status"] == "skipped"


async def test_credentials_of_the_container_endpoint_are_used() -> None:
    """SnapStart and Managed Instances have no keys in variables."""
    async with container_endpoint() as endpoint:
        with s3_that(refusing({})) as (environment, requests):
            given = {name: value for name, value in environment.items() if "KEY" not in name} | endpoint.environ
            done = await asyncio.to_thread(check, given, DESTINATION)
    assert done.status == 0, done.output
    assert done.steps["credentials"]["detail"].startswith("the container endpoint; temporary key ")
    assert any("Credential=key" in text for text in requests.texts)


def test_a_profile_stands_for_variables_and_the_client_is_that_of_lambda() -> None:
    """On a laptop, credentials come from files. On Lambda, they are variables."""
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[dev]\naws_access_key_id = AKIAPROFILEKEY123456\naws_secret_access_key = profile-secret\n"
    )
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[profile dev]\nregion = eu-central-1\n")
    with s3_that(refusing({})) as (environment, requests):
        given = {"AWS_ENDPOINT_URL_S3": environment["AWS_ENDPOINT_URL_S3"], "AWS_PROFILE": "dev"}
        done = check(given, DESTINATION)
    assert done.status == 0, done.output
    assert done.steps["credentials"]["detail"] == "the shared credentials file, profile dev; key AKIA…3456"
    assert done.steps["client"]["detail"] == "logferry's own S3 client, region eu-central-1"
    assert any("AKIAPROFILEKEY123456/" in text and "/eu-central-1/s3/" in text for text in requests.texts)
    assert "AKIAPROFILEKEY123456" not in done.output


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({}, "none were found"),
        ({"AWS_ACCESS_KEY_ID": "key"}, "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "absent"}, "The config profile (absent) could not be found"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/"}, "is not an http URL of a local host"),
    ],
)
def test_missing_credentials_fail_before_anything_is_sent(given: dict[str, str], detail: str) -> None:
    """Each cause has its own message."""
    with s3_that(refusing({})) as (environment, requests):
        url = {"AWS_ENDPOINT_URL_S3": environment["AWS_ENDPOINT_URL_S3"], "AWS_REGION": "us-east-1"}
        done = check(url | given, DESTINATION)
    assert (done.status, done.steps["credentials"]["status"]) == (1, "failed")
    assert detail in done.steps["credentials"]["detail"]
    assert not requests.texts


@pytest.mark.parametrize(
    ("key_id", "shown"),
    [("AKIAPROFILEKEY123456", "AKIA…3456"), ("minio-admin1", "mini…min1"), ("minioadmin", "mi…"), ("a", "a…")],
)
def test_a_key_id_is_shortened_to_less_than_it_is_long(key_id: str, shown: str) -> None:
    """The key IDs of some stores are short words, of which 8 characters would be too much."""
    assert shortened(key_id) == shown


def test_a_temporary_key_without_its_token_is_a_warning() -> None:
    """Copied credentials often lack the third value."""
    with s3_that(refusing({})) as (environment, _):
        done = check(environment | {"AWS_ACCESS_KEY_ID": "ASIAQWERTYUIOPASDFGH"}, DESTINATION)
    assert done.steps["credentials"]["status"] == "warning"
    assert "AWS_SESSION_TOKEN" in done.steps["credentials"]["remedy"]
