"""Settings of the objects in S3: the headers that they give, and mistakes with remedies."""

from __future__ import annotations

import base64
import json

import pytest

from logferry.errors import SettingsError
from logferry.settings import Settings

DESTINATION = {"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs", "AWS_REGION": "eu-central-1"}


def headers(**options: str) -> dict[str, str]:
    """Return the headers of these settings, without their prefix."""
    settings = Settings.from_environ(DESTINATION | {f"LOGFERRY_S3_{name}": value for name, value in options.items()})
    assert settings.s3 is not None
    return dict(settings.s3.headers)


def mistakes(**options: str) -> list[str]:
    """Return the mistakes in these settings."""
    with pytest.raises(SettingsError) as raised:
        headers(**options)
    return list(raised.value.mistakes)


def test_without_a_setting_there_is_no_header() -> None:
    """The defaults of the bucket apply."""
    assert Settings.from_environ(DESTINATION).s3 is None
    assert headers(BUCKET_KEY="false") == {}


def test_each_setting_gives_its_header() -> None:
    """The names are those of the S3 API Reference."""
    found = headers(
        ENCRYPTION="aws:kms",
        KMS_KEY="alias/logs",
        KMS_CONTEXT="team=a,stage=prod",
        BUCKET_KEY="true",
        STORAGE_CLASS="standard_ia",
        TAGS="team=a b,cost center=1/2",
        EXPECTED_OWNER="123456789012",
        ACL="bucket-owner-full-control",
        REQUEST_PAYER="true",
    )
    context = found.pop("x-amz-server-side-encryption-context")
    assert json.loads(base64.b64decode(context)) == {"team": "a", "stage": "prod"}
    assert found == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/logs",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-tagging": "team=a%20b&cost%20center=1%2F2",
        "x-amz-expected-bucket-owner": "123456789012",
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-request-payer": "requester",
    }


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"ENCRYPTION": "kms"}, "choose one of AES256, aws:kms"),
        ({"ENCRYPTION": "aws:kms", "KMS_KEY": "my key"}, "use the ID, the ARN or the alias"),
        ({"STORAGE_CLASS": "COLD"}, "choose one of STANDARD"),
        ({"ACL": "public"}, "choose one of private"),
        ({"EXPECTED_OWNER": "12345"}, "12 digits"),
        ({"TAGS": "team"}, "use name=value"),
        ({"TAGS": "team=a,team=b"}, "twice"),
        ({"TAGS": "a=1;rm"}, "not allowed"),
        ({"TAGS": "aws:x=1"}, "without the prefix aws:"),
        ({"TAGS": ",".join(f"t{n}=1" for n in range(11))}, "at most 10"),
        ({"TAGS": f"t={'x' * 257}"}, "too long"),
        ({"ENCRYPTION": "aws:kms", "KMS_CONTEXT": "team=ä"}, "ASCII"),
        ({"ENCRYPTION": "AES256", "KMS_KEY": "alias/logs"}, "set LOGFERRY_S3_ENCRYPTION=aws:kms"),
        ({"BUCKET_KEY": "true"}, "set LOGFERRY_S3_ENCRYPTION=aws:kms"),
        ({"ENCRYPTION": "aws:kms:dsse", "BUCKET_KEY": "true"}, "cannot be used with aws:kms:dsse"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_its_remedy(options: dict[str, str], remedy: str) -> None:
    """S3 would reject every object."""
    (mistake,) = mistakes(**options)
    assert mistake.startswith("LOGFERRY_S3_")
    assert remedy in mistake


def test_an_option_of_s3_needs_a_destination_in_s3() -> None:
    """A directory has no storage class."""
    with pytest.raises(SettingsError, match="LOGFERRY_S3_STORAGE_CLASS has no effect with a destination file://"):
        Settings.from_environ({"LOGFERRY_DESTINATION": "file:///tmp/out", "LOGFERRY_S3_STORAGE_CLASS": "STANDARD_IA"})
