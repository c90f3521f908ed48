"""S3's error responses as errors with the remedy."""

from __future__ import annotations

import pytest

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.failures import bounded
from logferry.sinks.s3.errors import classify, parse_error, region_of

ROLE = "User: arn:aws:sts::123456789012:assumed-role/pay-role/pay is not authorized to perform: "
PUT = ROLE + 's3:PutObject on resource: "arn:aws:s3:::logs/x" '


@pytest.mark.parametrize(
    ("status", "code", "sentence", "remedy"),
    [
        (403, "AccessDenied", "Access Denied", "allow s3:PutObject on it in the function's role"),
        (
            403,
            "AccessDenied",
            ROLE + "kms:GenerateDataKey on resource: arn:aws:kms:eu-central-1:123456789012:key/1f2e because no "
            "identity-based policy allows the kms:GenerateDataKey action",
            "allow kms:GenerateDataKey on the bucket's KMS key",
        ),
        (403, "AccessDenied", PUT + "with an explicit deny in a resource-based policy", "the bucket policy denies it"),
        (403, "AccessDenied", PUT + "because no VPC endpoint policy allows the s3:PutObject action", "VPC endpoint"),
        (403, "AccessDenied", PUT + "with an explicit deny in a service control policy", "service control policy"),
        (403, "AccessDenied", PUT + "with an explicit deny in a permissions boundary", "permissions boundary"),
        (403, "AccessDenied", PUT + "with an explicit deny in a resource control policy", "resource control policy"),
        (
            400,
            "KMS.DisabledException",
            "arn:aws:kms:eu-central-1:1:key/1f2e is disabled.",
            "enable the bucket's KMS key",
        ),
        (400, "InvalidToken", "The provided token is malformed or otherwise invalid.", "another partition"),
        (400, "InvalidRegionName", "The region name 'eu-central-1' is not valid.", "set AWS_REGION"),
        (400, "KeyTooLongError", "Your key is too long", "shorten LOGFERRY_KEY"),
        (405, "MethodNotAllowed", "The specified method is not allowed.", "does not accept PUT"),
        (405, "", "", "does not accept PUT"),
        (403, "", "", "allow s3:PutObject"),
        (400, "ExpiredToken", "The provided token has expired.", "credentials of this environment have expired"),
        (301, "PermanentRedirect", "", "the bucket is in another region"),
        (404, "NoSuchBucket", "The specified bucket does not exist", "create the bucket"),
        (413, "", "", "lower LOGFERRY_OBJECT_BYTES"),
        (400, "EntityTooLarge", "Your proposed upload exceeds the maximum", "lower LOGFERRY_OBJECT_BYTES"),
        (418, "Teapot", "", "see S3's error codes"),
    ],
)
def test_classify_rejects_with_s3s_sentence_and_the_remedy(status: int, code: str, sentence: str, remedy: str) -> None:
    """The sentence precedes the remedy, which depends on the policy that the sentence names."""
    error = classify("put s3://logs/x", status, code, bounded(sentence))
    assert isinstance(error, SinkRejected)
    event, _, advice = str(error).rpartition("; ")
    assert event.startswith(f"put s3://logs/x: {status}")
    assert code in event
    assert sentence.rstrip(".") in event
    assert remedy in advice


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (502, ""),
        (429, ""),
        (408, ""),
        (409, "OperationAborted"),
        (307, "TemporaryRedirect"),
        (400, "RequestTimeout"),
        (403, "RequestTimeTooSkewed"),
        (400, "KMS.ThrottlingException"),
    ],
)
def test_classify_reports_a_transient_response_as_unavailable(status: int, code: str) -> None:
    """A later request may succeed without a change."""
    assert isinstance(classify("put x", status, code), SinkUnavailable)


@pytest.mark.parametrize(
    ("status", "code", "is_of_object"),
    [(413, "", True), (400, "EntityTooLarge", True), (400, "KeyTooLongError", True), (403, "AccessDenied", False)],
)
def test_rejection_of_one_object_leaves_others(status: int, code: str, *, is_of_object: bool) -> None:
    """A proxy with a limit for requests does not stop the smaller objects."""
    error = classify("put s3://logs/x", status, code)
    assert isinstance(error, SinkRejected)
    assert error.is_of_object == is_of_object


def test_parse_error_reads_code_and_sentence() -> None:
    """Entities are decoded, and line breaks and the full stop at the end are removed."""
    message = b"<Message>on &quot;a&quot; &amp;amp;\n b.</Message>"
    body = b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code>\n" + message + b"</Error>"
    assert parse_error(body) == ("AccessDenied", 'on "a" &amp; b')


@pytest.mark.parametrize("body", [b"", b"<html><title>Sign in<br></html>", b"\x00\xff", b"<Code></Code>", b"{}"])
def test_parse_error_finds_nothing_in_other_documents(body: bytes) -> None:
    """The page of a proxy is not an error of S3."""
    assert parse_error(body) == ("", "")


def test_region_of_prefers_the_header_to_the_body() -> None:
    """S3 sends both; compatible stores send only the body."""
    assert region_of({"x-amz-bucket-region": "eu-west-1"}, b"<Region>us-west-2</Region>") == "eu-west-1"
    assert region_of({}, b"<Region>us-west-2</Region>") == "us-west-2"
    assert region_of({}, b"<html>") == ""
