"""A receiver on the web: the canary has no record, and each fault has its remedy."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from support.check_runs import check
from support.log_receiver import Answer, answering, log_receiver
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "secret-token-of-the-receiver"  # noqa: S105 - known to this test only


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_ndjson_is_the_closing_line_of_an_environment_without_records(compression: str) -> None:
    """The receiver judges method, path and headers as those of the extension."""
    with log_receiver() as receiver:
        done = check({"LOGFERRY_COMPRESSION": compression, "LOGFERRY_HTTPS_TOKEN": SECRET}, receiver.url)
    assert done.status == 0, done.output
    (request,) = receiver.requests
    (line,) = map(json.loads, request.content.splitlines())
    assert (line["type"], json.loads(line["record"])["records"]) == ("logferry.final", 0)
    assert json.loads(line["record"])["function"] == "logferry-check"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert done.steps["headers"]["detail"] == "further headers are authorization"


def test_otlp_is_a_request_without_log_records() -> None:
    """The request is valid, and a backend stores nothing."""
    with log_receiver(path="/v1/logs") as receiver:
        done = check({"LOGFERRY_FORMAT": "otlp"}, receiver.url)
    assert done.status == 0, done.output
    document: Any = json.loads(receiver.requests[0].content)
    assert [scope["logRecords"] for each in document["resourceLogs"] for scope in each["scopeLogs"]] == [[]]


@pytest.mark.parametrize(
    ("answer", "detail", "remedy"),
    [
        (Answer(401, b'{"message":"unknown key"}'), "401 Unauthorized: unknown key", "check LOGFERRY_HTTPS_TOKEN"),
        (Answer(404), "404 Not Found", "check host and path"),
        (Answer(503), "503 Service Unavailable", "repeat the check"),
        (Answer(200, b"<html>Sign in</html>"), "200 with a page of HTML", "not a response of a log receiver"),
    ],
)
def test_a_refusal_has_the_remedy_of_the_sink(answer: Answer, detail: str, remedy: str) -> None:
    """The messages are those of the extension."""
    with log_receiver(answering(answer)) as receiver:
        done = check({"LOGFERRY_HTTPS_TOKEN": SECRET}, receiver.url)
    put = done.steps["put"]
    assert (done.status, put["status"]) == (1, "failed")
    assert put["detail"] == detail
    assert remedy in put["remedy"]


def test_rejected_log_records_are_a_failure() -> None:
    """An OTLP receiver rejects records within a 200, which no repetition would help."""
    body = b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}'
    with log_receiver(answering(Answer(200, body))) as receiver:
        done = check({"LOGFERRY_FORMAT": "otlp"}, receiver.url)
    assert done.status == 1
    assert "1 log records rejected: too old" in done.steps["put"]["detail"]


def test_no_output_contains_a_token_or_the_path_of_the_url() -> None:
    """Some receivers have their key in the path or in the query."""
    answer = Answer(403, json.dumps({"message": f"{SECRET} may not write"}).encode())
    with log_receiver(answering(answer), path="/ingest/key-in-the-path-of-the-url") as receiver:
        done = check({"LOGFERRY_HTTPS_HEADERS": f"x-api-key={SECRET}"}, receiver.url)
    assert done.status == 1
    assert done.steps["headers"]["detail"] == "further headers are x-api-key"
    assert SECRET not in done.output
    assert "key-in-the-path" not in done.output


def test_a_closed_port_and_an_untrusted_certificate_fail_before_anything_is_sent(tmp_path: Path) -> None:
    """The remedies name the destination and the bundle."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = check({}, f"http://127.0.0.1:{port}/logs")
    assert done.steps["connection"]["status"] == "failed"
    assert "LOGFERRY_DESTINATION" in done.steps["connection"]["remedy"]
    certificate = make_certificate(tmp_path)
    with log_receiver(certificate=certificate) as receiver:
        refused = check({}, receiver.url)
        trusted = check({"AWS_CA_BUNDLE": certificate[0]}, receiver.url)
    assert refused.steps["TLS"]["status"] == "failed"
    assert "AWS_CA_BUNDLE" in refused.steps["TLS"]["remedy"]
    assert (trusted.status, trusted.steps["TLS"]["status"]) == (0, "ok")
    assert len(receiver.requests) == 1


def test_the_proxy_of_a_receiver_is_checked() -> None:
    """The receiver itself is behind the proxy, so its name is not resolved here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = check({"HTTPS_PROXY": proxy}, "https://logs.example.com/v1/logs")
    assert done.steps["connection"]["status"] == "failed"
    assert "HTTPS_PROXY" in done.steps["connection"]["remedy"]
