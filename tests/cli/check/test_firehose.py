"""A Firehose stream: one line is delivered, and a missing permission is named."""

from __future__ import annotations

import json
import socket

import pytest

from support.check_runs import ROLE, check
from support.firehose_stub import STREAM, Reply, firehose_stub, replying
from support.s3_stub import s3_at

DESTINATION = f"firehose://{STREAM}"
ACTION = "firehose:PutRecordBatch"
ARN = f"arn:aws:firehose:eu-central-1:123456789012:deliverystream/{STREAM}"


def test_one_line_without_a_record_is_delivered() -> None:
    """The stub judges the request by the model of botocore."""
    with firehose_stub() as stub:
        done = check(stub.environment, DESTINATION)
    assert done.status == 0, done.output
    (line,) = map(json.loads, stub.lines)
    assert (line["type"], json.loads(line["record"])["records"]) == ("logferry.final", 0)
    assert done.steps["client"]["detail"] == "logferry's own client, region eu-central-1"
    assert done.steps["identity"]["status"] == "skipped"


@pytest.mark.parametrize(
    ("message", "policy", "has_statement"),
    [
        (f"{ROLE}{ACTION} on resource: {ARN} because no identity-based policy allows it", "the function's role", True),
        ("Access denied", "the function's role", True),
        (f"{ROLE}{ACTION} on resource: {ARN} because no VPC endpoint policy allows it", "the VPC endpoint", True),
        (f"{ROLE}{ACTION} on resource: {ARN} with an explicit deny in an identity-based policy", "role", False),
    ],
)
def test_a_missing_permission_is_named_with_its_statement(message: str, policy: str, *, has_statement: bool) -> None:
    """The statement is for this stream."""
    reply = Reply(status=400, code="AccessDeniedException", message=message)
    with firehose_stub(replying(reply)) as stub:
        done = check(stub.environment, DESTINATION)
    put = done.steps["put"]
    assert (done.status, put["missing"]) == (1, [ACTION])
    assert policy in put["notes"][0]
    resource = f"arn:aws:firehose:eu-central-1:*:deliverystream/{STREAM}"
    expected = [{"Effect": "Allow", "Action": ACTION, "Resource": resource}]
    assert put.get("statements", []) == (expected if has_statement else [])
    assert put["remedy"].startswith("add this statement to ") == has_statement


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("ResourceNotFoundException", "create the stream"),
        ("UnrecognizedClientException", "check AWS_ACCESS_KEY_ID"),
        ("ServiceUnavailableException", "repeat the check"),
    ],
)
def test_another_refusal_has_the_remedy_of_the_sink(code: str, remedy: str) -> None:
    """The messages are those of the extension."""
    with firehose_stub(replying(Reply(status=400, code=code, message="The reason"))) as stub:
        done = check(stub.environment, DESTINATION)
    put = done.steps["put"]
    assert put["detail"] == f"400 {code}: The reason"
    assert remedy in put["remedy"]
    assert "missing" not in put


def test_a_record_that_is_not_accepted_fails() -> None:
    """Firehose reports the result of each record within a 200."""
    with firehose_stub(lambda _number, _records: Reply(failed=(0,))) as stub:
        done = check(stub.environment | {"LOGFERRY_UPLOAD_TIMEOUT": "1"}, DESTINATION)
    assert (done.status, done.steps["put"]["status"]) == (1, "failed")


def test_a_configuration_without_support_fails_before_anything_is_sent() -> None:
    """The client for streams has no replacement in the SDK."""
    environment = {name: value for name, value in s3_at(9).items() if "ENDPOINT" not in name}
    done = check(environment | {"AWS_REGION": ""}, DESTINATION)
    assert (done.status, done.steps["client"]["status"]) == (1, "failed")
    assert "AWS_REGION is not set" in done.steps["client"]["detail"]


def test_the_proxy_of_a_stream_is_checked() -> None:
    """The endpoint is behind the proxy, so its name is not resolved here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
    environment = {name: value for name, value in s3_at(9).items() if "ENDPOINT" not in name}
    done = check(environment | {"HTTPS_PROXY": proxy}, DESTINATION)
    assert done.steps["connection"]["status"] == "failed"
    assert "HTTPS_PROXY" in done.steps["connection"]["remedy"]
