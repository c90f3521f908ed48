"""S3's error responses as errors with the remedy."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.sinks.s3.errors import MESSAGE_CHARACTERS, bounded, classify, connect_failure, parse_error, region_of

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


def test_parse_error_reads_code_and_sentence() -> None:
    """Entities are decoded, and line breaks and the full stop at the end are removed."""
    message = b"<Message>on &quot;a&quot; &amp;amp;\n b.</Message>"
    body = b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code>\n" + message + b"</Error>"
    assert parse_error(body) == ("AccessDenied", 'on "a" &amp; b')


@pytest.mark.parametrize("body", [b"", b"<html><title>Sign in<br></html>", b"\x00\xff", b"<Code></Code>", b"{}"])
def test_parse_error_finds_nothing_in_other_documents(body: bytes) -> None:
    """The page of a proxy is not an error of S3."""
    assert parse_error(body) == ("", "")


@given(st.text() | st.just("x" * 5000) | st.just("\n\x1b[31m evil \x07" * 100))
def test_bounded_gives_one_printable_line(sentence: str) -> None:
    """A response cannot write control characters into the log, or fill it."""
    line = bounded(sentence)
    assert len(line) <= MESSAGE_CHARACTERS
    assert line.isprintable()


def test_region_of_prefers_the_header_to_the_body() -> None:
    """S3 sends both; compatible stores send only the body."""
    assert region_of({"x-amz-bucket-region": "eu-west-1"}, b"<Region>us-west-2</Region>") == "eu-west-1"
    assert region_of({}, b"<Region>us-west-2</Region>") == "us-west-2"
    assert region_of({}, b"<html>") == ""


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The key ASIAIOSFODNN7EXAMPLE is unknown", "The key … is unknown"),
        (f"wrong signature {'0a' * 32} for it", "wrong signature … for it"),
        ("407, url='http://user:pass@proxy:3128'", "407, url='http://…@proxy:3128'"),
        ("'Proxy-Authorization': 'Basic dXNlcjpwYXNz'", "'Proxy-Authorization': '…'"),
        ("mail admin@example.com at https://example.com/a", "mail admin@example.com at https://example.com/a"),
    ],
)
def test_bounded_removes_keys_signatures_and_passwords(sentence: str, expected: str) -> None:
    """Some stores and proxies repeat parts of the request in their sentence."""
    assert bounded(sentence) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, "x"), "cannot connect to s3.example:443: Too many open files"),
        (OSError(errno.ENETUNREACH, "x"), "cannot connect to s3.example:443: Network is unreachable; check AWS_"),
        (
            OSError("Multiple exceptions: a\nb"),
            "cannot connect to s3.example:443: Multiple exceptions: a b; check AWS_",
        ),
    ],
)
def test_connect_failure_has_a_remedy_unless_the_environment_is_exhausted(error: OSError, expected: str) -> None:
    """Another address does not help if this process has no descriptor left."""
    message = connect_failure("s3.example", 443, error, is_unresolved=False)
    assert message.startswith(expected)
    assert ("check" in message) is ("check" in expected)


def test_connect_failure_is_bounded() -> None:
    """Host and cause come from variables and from libraries."""
    message = connect_failure("h" * 9999, 443, OSError("x" * 9999), is_unresolved=True)
    assert len(message) < 3 * MESSAGE_CHARACTERS
