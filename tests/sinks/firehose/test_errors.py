"""Classification of Firehose's responses: wait, or change something, and what to change."""

from __future__ import annotations

import json

import pytest

from logferry.aws.json_errors import parse_error
from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.sinks.firehose.errors import classify, results

DENIED = "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform: firehose:PutRecordBatch on resource: arn "


@pytest.mark.parametrize(
    ("status", "code", "sentence", "error", "remedy"),
    [
        (503, "ServiceUnavailableException", "Slow down.", SinkUnavailable, ""),
        (400, "ThrottlingException", "Rate exceeded", SinkUnavailable, ""),
        (400, "LimitExceededException", "", SinkUnavailable, ""),
        (500, "InternalFailure", "", SinkUnavailable, ""),
        (502, "", "", SinkUnavailable, ""),
        (429, "", "", SinkUnavailable, ""),
        (408, "RequestTimeoutException", "", SinkUnavailable, ""),
        (
            400,
            "InvalidSignatureException",
            "Signature expired: 1 is now earlier than 2",
            SinkUnavailable,
            "the clock of",
        ),
        (400, "RequestExpired", "", SinkUnavailable, "the clock of this environment"),
        (302, "", "", SinkUnavailable, "not a response of Firehose"),
        (400, "ResourceNotFoundException", "Firehose x not found", SinkRejected, "create the stream, or correct"),
        (400, "AccessDeniedException", DENIED, SinkRejected, "allow firehose:PutRecordBatch on the stream in the func"),
        (
            400,
            "AccessDeniedException",
            DENIED + "because no VPC endpoint policy allows the firehose:PutRecordBatch action",
            SinkRejected,
            "allow firehose:PutRecordBatch on the stream in the policy of the VPC endpoint",
        ),
        (
            400,
            "AccessDeniedException",
            DENIED + "with an explicit deny in a service control policy",
            SinkRejected,
            "the service control policy of the AWS organization",
        ),
        (403, "", "", SinkRejected, "allow firehose:PutRecordBatch"),
        (400, "InvalidKMSResourceException", "KMS key is disabled", SinkRejected, "enable the key"),
        (400, "InvalidSourceException", "Only DirectPut is allowed", SinkRejected, "source Direct PUT"),
        (400, "UnrecognizedClientException", "token invalid", SinkRejected, "check AWS_ACCESS_KEY_ID"),
        (400, "InvalidSignatureException", "does not match", SinkRejected, "the secret key is wrong"),
        (400, "ExpiredTokenException", "", SinkRejected, "credentials of this environment have expired"),
        (400, "InvalidArgumentException", "1 validation error", SinkRejected, "see the error codes"),
        (404, "UnknownOperationException", "", SinkRejected, "check AWS_ENDPOINT_URL_FIREHOSE"),
        (404, "", "", SinkRejected, "check AWS_ENDPOINT_URL_FIREHOSE"),
        (407, "", "", SinkRejected, "the proxy requires authentication"),
    ],
)
def test_class_and_remedy_follow_from_status_code_and_sentence(
    *, status: int, code: str, sentence: str, error: type[SinkError], remedy: str
) -> None:
    """The message has the place, the status, Firehose's code and sentence, and the remedy at its end."""
    found = classify("put firehose://x", status, code, sentence)
    assert type(found) is error
    text = str(found)
    assert text.startswith(f"put firehose://x: {status} {code}".rstrip())
    assert remedy in text.rpartition("; ")[2] if remedy else ";" not in text


@pytest.mark.parametrize(
    ("status", "code", "is_of_object"),
    [
        (400, "InvalidArgumentException", True),
        (400, "SerializationException", True),
        (413, "", True),
        (400, "ResourceNotFoundException", False),
        (403, "AccessDeniedException", False),
    ],
)
def test_rejection_of_one_object_leaves_others(status: int, code: str, *, is_of_object: bool) -> None:
    """Data that Firehose does not accept does not stop the other objects."""
    error = classify("put firehose://logs", status, code)
    assert isinstance(error, SinkRejected)
    assert error.is_of_object == is_of_object


def test_message_contains_no_secret_and_is_bounded() -> None:
    """Firehose repeats the canonical request with the access key in some sentences."""
    code, sentence = parse_error(
        {}, json.dumps({"__type": "X" * 999, "message": "key AKIAIOSFODNN7EXAMPLE\n" * 99}).encode()
    )
    text = str(classify("put", 400, code, sentence))
    assert "AKIA" not in text
    assert "\n" not in text
    assert len(text) < 1000


def test_record_counts_as_accepted_only_with_an_id() -> None:
    """`FailedPutCount` is not used, because only the single results show which records must be sent again."""
    entries = [
        {"RecordId": "a"},
        {"ErrorCode": "InternalFailure", "ErrorMessage": "try\nagain"},
        {"RecordId": "a", "ErrorCode": "ServiceUnavailableException"},
        {},
    ]
    body = json.dumps({"FailedPutCount": 0, "RequestResponses": entries}).encode()
    assert results("put", body, 4) == ["", "InternalFailure: try again", "ServiceUnavailableException", "no RecordId"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        b'{"RequestResponses":[]}',
        b'{"RequestResponses":[1]}',
        b'{"RequestResponses":7}',
    ],
)
def test_response_without_one_result_for_each_record_is_unavailable(body: bytes) -> None:
    """A proxy or a captive portal responds 200, too."""
    with pytest.raises(SinkUnavailable, match="not a response of Firehose"):
        results("put", body, 1)
