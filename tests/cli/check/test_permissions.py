"""Missing permissions are named, from the sentence of S3 or by requests without the headers that need them."""

from __future__ import annotations

import pytest

from support.check_runs import CANARY, DESTINATION, check, denied, refusing, s3_that
from support.s3_stub import OK, s3_error

TAGS = {"LOGFERRY_S3_TAGS": "team=x"}
ACL = {"LOGFERRY_S3_ACL": "bucket-owner-full-control"}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1f2e"
KMS = {"LOGFERRY_S3_ENCRYPTION": "aws:kms", "LOGFERRY_S3_KMS_KEY": KEY}
OWNER = {"LOGFERRY_S3_EXPECTED_OWNER": "123456789012"}
OBJECTS = "arn:aws:s3:::my-log-bucket/logs/*"


def put_requests(texts: list[str]) -> list[str]:
    """Return the heads of the PUT requests."""
    return [text for text in texts if text.startswith("PUT ")]


@pytest.mark.parametrize("terse", [False, True], ids=["sentence", "terse"])
@pytest.mark.parametrize(
    ("settings", "header", "action", "resource"),
    [
        (TAGS, "x-amz-tagging", "s3:PutObjectTagging", OBJECTS),
        (ACL, "x-amz-acl", "s3:PutObjectAcl", OBJECTS),
        (KMS, "x-amz-server-side-encryption", "kms:GenerateDataKey", KEY),
    ],
)
def test_a_missing_permission_is_named_with_its_statement(
    *, terse: bool, settings: dict[str, str], header: str, action: str, resource: str
) -> None:
    """The other settings stay in the request, so the permission of one is not blamed on another."""
    behaviour = refusing({header: denied("" if terse else action)})
    with s3_that(behaviour) as (environment, requests):
        done = check(environment | TAGS | ACL | KMS | settings, DESTINATION)
    put = done.steps["put"]
    assert (done.status, put["status"], put["missing"]) == (1, "failed", [action])
    assert put["statements"] == [{"Effect": "Allow", "Action": action, "Resource": resource}]
    assert put["detail"].startswith("403 AccessDenied: ")
    assert header in put_requests(requests.texts)[0].lower()
    assert done.states()["delete"] == "ok", "the canary of the search is deleted"


@pytest.mark.parametrize("terse", [False, True], ids=["sentence", "terse"])
def test_all_missing_permissions_are_named_at_once(*, terse: bool) -> None:
    """AWS names one at a time; other stores name none."""
    actions = {
        "x-amz-tagging": "s3:PutObjectTagging",
        "x-amz-acl": "s3:PutObjectAcl",
        "x-amz-server-side-encryption": "kms:GenerateDataKey",
    }
    behaviour = refusing({header: denied("" if terse else action) for header, action in actions.items()})
    with s3_that(behaviour) as (environment, requests):
        done = check(environment | TAGS | ACL | KMS, DESTINATION)
    put = done.steps["put"]
    assert set(put["missing"]) == set(actions.values())
    assert [each["Resource"] for each in put["statements"]] == [OBJECTS, KEY]
    assert len(put_requests(requests.texts)) <= (8 if terse else 4)


@pytest.mark.parametrize("terse", [False, True], ids=["sentence", "terse"])
def test_put_object_is_named_if_every_request_is_denied(*, terse: bool) -> None:
    """No setting makes a difference, so the object itself is denied."""
    behaviour = refusing({}, other=denied("" if terse else "s3:PutObject"))
    with s3_that(behaviour) as (environment, requests):
        done = check(environment | TAGS | ACL | KMS | OWNER, DESTINATION)
    put = done.steps["put"]
    assert put["missing"] == ["s3:PutObject"]
    assert put["statements"] == [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": OBJECTS}]
    assert any("its KMS key or the VPC endpoint" in note for note in put["notes"]) == terse
    assert "delete" not in done.steps
    assert len(put_requests(requests.texts)) <= 25


def test_the_default_key_of_the_bucket_is_named_from_the_sentence() -> None:
    """Without a setting for KMS, the key is that of the bucket, and its ID is in the sentence only."""
    with s3_that(refusing({}, other=denied("kms:GenerateDataKey"))) as (environment, _):
        done = check(environment, DESTINATION)
    put = done.steps["put"]
    assert put["missing"] == ["kms:GenerateDataKey"]
    assert put["statements"][0]["Resource"].startswith("arn:aws:kms:us-east-1:")


@pytest.mark.parametrize(
    ("reason", "policy"),
    [
        ("with an explicit deny in a resource-based policy", "the policy of the bucket"),
        ("with an explicit deny in a service control policy", "a service control policy"),
        ("with an explicit deny in an identity-based policy", "the function's role"),
    ],
)
def test_an_explicit_deny_has_no_statement_that_would_not_help(reason: str, policy: str) -> None:
    """An allowing statement cannot lift a denial, so the remedy is the policy that denies."""
    with s3_that(refusing({}, other=denied("s3:PutObject", reason))) as (environment, _):
        put = check(environment, DESTINATION).steps["put"]
    assert "statements" not in put
    assert put["remedy"].startswith(f"remove or change the statement that denies it in {policy}")


@pytest.mark.parametrize(
    ("reason", "policy"),
    [
        ("because no VPC endpoint policy allows the s3:PutObject action", "the policy of the VPC endpoint"),
        (
            "because no permissions boundary allows the s3:PutObject action",
            "the permissions boundary of the function's role",
        ),
        ("because no resource-based policy allows the s3:PutObject action", "the policy of the bucket or of the key"),
        ("because no session policy allows the s3:PutObject action", "the policy of the session"),
    ],
)
def test_the_policy_that_must_allow_it_is_named(reason: str, policy: str) -> None:
    """A statement in another policy would have no effect."""
    with s3_that(refusing({}, other=denied("s3:PutObject", reason))) as (environment, _):
        put = check(environment, DESTINATION).steps["put"]
    assert put["remedy"] == f"add this statement to {policy}"


def test_another_owner_of_the_bucket_is_named() -> None:
    """S3 denies the request then, with a terse sentence, and no permission is missing."""
    with s3_that(refusing({"x-amz-expected-bucket-owner": denied()})) as (environment, _):
        put = check(environment | TAGS | OWNER, DESTINATION).steps["put"]
    assert "missing" not in put
    assert "LOGFERRY_S3_EXPECTED_OWNER" in put["remedy"]
    assert "another account" in put["remedy"]


def test_a_setting_that_the_store_does_not_support_is_named() -> None:
    """Compatible stores answer 501 for headers that they do not implement."""
    refused = s3_error("501 Not Implemented", "NotImplemented", message="A header is not implemented")
    with s3_that(refusing({"x-amz-storage-class": refused})) as (environment, _):
        done = check(environment | TAGS | {"LOGFERRY_S3_STORAGE_CLASS": "STANDARD_IA"}, DESTINATION)
    put = done.steps["put"]
    assert done.status == 1
    assert put["remedy"] == "remove or correct LOGFERRY_S3_STORAGE_CLASS: this bucket does not accept it"


def test_a_policy_that_covers_only_the_objects_is_sufficient() -> None:
    """The canary is then stored next to the objects, under a name that readers ignore."""

    def respond(head: str) -> bytes:
        is_denied = head.startswith("PUT ") and "/logs/function%3Dpay/" not in head
        return denied() if is_denied else refusing({})(head)

    with s3_that(respond) as (environment, requests):
        done = check(environment | {"AWS_LAMBDA_FUNCTION_NAME": "pay"}, DESTINATION)
    assert done.status == 0, done.output
    assert "/_logferry_check/_canary" in put_requests(requests.texts)[-1].partition(" HTTP/")[0]
    assert "policy covers the objects" in done.steps["put"]["notes"][0]


def test_the_canary_remains_without_a_permission_to_delete_and_that_is_no_fault() -> None:
    """The extension deletes nothing, so its role need not allow it."""

    def respond(head: str) -> bytes:
        return denied("s3:DeleteObject") if head.startswith("DELETE ") else refusing({})(head)

    with s3_that(respond) as (environment, _):
        done = check(environment, DESTINATION)
    assert (done.status, done.steps["delete"]["status"]) == (0, "skipped")
    assert CANARY in done.steps["delete"]["detail"]
    assert "lifecycle" in done.steps["delete"]["remedy"]


def test_no_output_contains_a_secret() -> None:
    """Key IDs are shortened, and secrets and tokens are absent, also if S3 repeats them."""
    secrets = {
        "AWS_ACCESS_KEY_ID": "ASIAQWERTYUIOPASDFGH",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-secret",
        "AWS_SESSION_TOKEN": "token-of-the-session",
    }
    body = s3_error("403 Forbidden", "InvalidAccessKeyId", message=f"{secrets['AWS_ACCESS_KEY_ID']} is unknown")
    with s3_that(refusing({}, other=body)) as (environment, _):
        done = check(environment | secrets, DESTINATION)
    assert done.status == 1
    assert not [value for value in secrets.values() if value in done.output]
    assert "ASIA…DFGH" in done.steps["credentials"]["detail"]
    assert "check AWS_ACCESS_KEY_ID" in done.steps["put"]["remedy"]


@pytest.mark.parametrize("client", ["auto", "sdk"])
def test_the_canary_has_the_headers_of_the_extension(client: str) -> None:
    """Both clients send what the settings request."""
    settings = TAGS | ACL | KMS | OWNER | {"LOGFERRY_S3_STORAGE_CLASS": "STANDARD_IA", "LOGFERRY_S3_CLIENT": client}
    with s3_that(refusing({}, other=OK)) as (environment, requests):
        done = check(environment | settings, DESTINATION)
    assert done.status == 0, done.output
    (head,) = put_requests(requests.texts)
    assert head.startswith(f"PUT /my-log-bucket/{CANARY} ")
    for header in ("tagging: team=x", "acl: bucket-owner-full-control", "storage-class: STANDARD_IA"):
        assert f"x-amz-{header}".lower() in head.lower()
    assert f"x-amz-server-side-encryption-aws-kms-key-id: {KEY}" in head
