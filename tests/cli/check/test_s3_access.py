"""Roles, separate credentials and endpoints of S3, conditional writes, and the statements for each kind of key."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.check.iam_statements import LIST, Target, statements
from support.check_runs import DESTINATION, check, denied, refusing, s3_that
from support.sts_stub import EXTERNAL_ID, ROLE_ARN, sts_error, sts_stub

if TYPE_CHECKING:
    from logferry.emulator.s3_server import S3Server

FUNCTION = {"AWS_ACCESS_KEY_ID": "AKIAFUNCTION12345678", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
ROLE = {"LOGFERRY_S3_ROLE_ARN": ROLE_ARN, "LOGFERRY_S3_ROLE_EXTERNAL_ID": EXTERNAL_ID}
ACCESS_POINT = "arn:aws:s3:eu-central-1:123456789012:accesspoint/logs"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1f2e"


def signers(texts: list[str], method: str) -> set[str]:
    """Return the access key IDs that signed the requests with a method."""
    return {
        text.partition("Credential=")[2].partition("/")[0]
        for text in texts
        if text.startswith(method) and "Credential=" in text
    }


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_requests_are_signed_with_the_credentials_of_the_role(client: str) -> None:
    """The caller is that of the function, and the canary is stored and deleted by the role."""
    async with sts_stub() as sts:
        with s3_that(refusing({})) as (environment, requests):
            given = environment | FUNCTION | ROLE | {"AWS_ENDPOINT_URL_STS": sts.url, "LOGFERRY_S3_CLIENT": client}
            done = await asyncio.to_thread(check, given, DESTINATION)
    assert done.status == 0, done.output
    assert done.steps["role"]["detail"].startswith(f"{ROLE_ARN} is assumed, session logferry-")
    for method in ("PUT", "DELETE"):
        (signer,) = signers(requests.texts, method)
        assert signer.startswith("ASIAROLE")
    assert set(sts.callers()) == {FUNCTION["AWS_ACCESS_KEY_ID"]}
    assert {form.get("ExternalId") for form in sts.forms if form["Action"] == "AssumeRole"} == {EXTERNAL_ID}
    assert "role/secret" not in done.output


async def test_a_role_that_cannot_be_assumed_fails_with_the_remedy_of_the_sink() -> None:
    """S3 is not asked without the credentials of the role."""
    async with sts_stub() as sts:
        sts.always = sts_error("403 Forbidden", "AccessDenied", "User is not authorized to perform: sts:AssumeRole")
        with s3_that(refusing({})) as (environment, requests):
            given = environment | FUNCTION | ROLE | {"AWS_ENDPOINT_URL_STS": sts.url}
            done = await asyncio.to_thread(check, given, DESTINATION)
    assert (done.status, done.steps["role"]["status"]) == (1, "failed")
    assert "LOGFERRY_S3_ROLE_EXTERNAL_ID" in done.steps["role"]["remedy"]
    assert not requests.texts


async def test_a_missing_permission_of_the_role_is_one_of_its_setting() -> None:
    """The statement belongs to the role in the account of the bucket."""
    async with sts_stub() as sts:
        with s3_that(refusing({"x-amz-tagging": denied("s3:PutObjectTagging")})) as (environment, _):
            given = environment | FUNCTION | ROLE | {"AWS_ENDPOINT_URL_STS": sts.url, "LOGFERRY_S3_TAGS": "a=b"}
            done = await asyncio.to_thread(check, given, DESTINATION)
    put = done.steps["put"]
    assert put["missing"] == ["s3:PutObjectTagging"]
    assert put["remedy"] == "add this statement to the role of LOGFERRY_S3_ROLE_ARN"


async def test_settings_replace_the_variables_of_the_function(s3: S3Server, bucket: str) -> None:
    """The keys of the function are wrong for this store, and are not used."""
    store = {
        "LOGFERRY_S3_ACCESS_KEY_ID": s3.shipper.access_key,
        "LOGFERRY_S3_SECRET_ACCESS_KEY": s3.shipper.secret_key,
        "LOGFERRY_S3_ENDPOINT_URL": s3.endpoint_url,
    }
    given = FUNCTION | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"} | store
    done = await asyncio.to_thread(check, given, f"s3://{bucket}/logs")
    assert done.status == 0, done.output
    assert done.steps["credentials"]["detail"].startswith("LOGFERRY_S3_ACCESS_KEY_ID; key ship…")
    assert done.steps["identity"]["status"] == "skipped"
    assert done.steps["delete"]["status"] == "ok"
    assert s3.shipper.secret_key not in done.output


def test_messages_name_the_settings_that_replace_variables() -> None:
    """AWS_ENDPOINT_URL_S3 is not the variable to correct."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = check(FUNCTION | {"LOGFERRY_S3_ENDPOINT_URL": url}, DESTINATION)
    assert done.steps["connection"]["status"] == "failed"
    assert "LOGFERRY_S3_ENDPOINT_URL" in done.steps["connection"]["remedy"]
    assert "AWS_ENDPOINT_URL_S3" not in done.output


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_a_conditional_write_has_a_new_name_in_each_check(s3: S3Server, bucket: str, client: str) -> None:
    """A canary that remains would make the next check fail."""
    given = s3.environment() | {"LOGFERRY_S3_IF_NONE_MATCH": "true", "LOGFERRY_S3_CLIENT": client}
    for _ in range(2):
        done = await asyncio.to_thread(check, given, f"s3://{bucket}/logs")
        assert done.status == 0, done.output
        assert "/_logferry_check/_canary-" in done.steps["put"]["detail"]
    assert await s3.list_keys(bucket) == []


OBJECTS = "arn:aws:s3:::logs/a/b/*"
NAMED = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/logs"}}


@pytest.mark.parametrize(
    ("action", "target", "expected"),
    [
        ("s3:PutObject", Target("logs", "a/b", "eu-central-1"), {"Resource": OBJECTS}),
        ("s3:PutObject", Target("logs", "", "eu-central-1"), {"Resource": "arn:aws:s3:::logs/*"}),
        ("s3:PutObject", Target("logs", "a", "cn-north-1"), {"Resource": "arn:aws-cn:s3:::logs/a/*"}),
        ("s3:PutObject", Target("logs", "a", "us-gov-west-1"), {"Resource": "arn:aws-us-gov:s3:::logs/a/*"}),
        ("s3:PutObject", Target(ACCESS_POINT, "a", "eu-central-1"), {"Resource": f"{ACCESS_POINT}/object/a/*"}),
        (LIST, Target(ACCESS_POINT, "", "eu-central-1"), {"Resource": ACCESS_POINT}),
        ("kms:GenerateDataKey", Target("logs", "", "eu-central-1", "", KEY), {"Resource": KEY}),
        (
            "kms:GenerateDataKey",
            Target("logs", "", "eu-central-1", "123456789012", "1f2e"),
            {"Resource": KEY},
        ),
        (
            "kms:GenerateDataKey",
            Target("logs", "", "eu-central-1", "123456789012", "alias/logs"),
            {"Resource": "arn:aws:kms:eu-central-1:123456789012:key/*", "Condition": NAMED},
        ),
        (
            "kms:GenerateDataKey",
            Target("logs", "", "eu-central-1", "", "arn:aws:kms:eu-central-1:123456789012:alias/logs"),
            {"Resource": "arn:aws:kms:eu-central-1:*:key/*", "Condition": NAMED},
        ),
    ],
)
def test_a_statement_names_the_resource_of_the_destination(
    action: str, target: Target, expected: dict[str, Any]
) -> None:
    """A wildcard replaces a part only if its value is unknown."""
    assert statements([action, action], target) == ({"Effect": "Allow", "Action": action, **expected},)
