"""Responses of a receiver: which error each means, its remedy, and what no message contains."""

from __future__ import annotations

import json

import pytest

from logferry.errors import RecordsRejected, SinkError, SinkRejected, SinkUnavailable
from logferry.http_client.response import Response
from logferry.sinks.https.responses import Request, error_of, warning_of

WHERE = "post https://logs.example.com"
NOW = 1_795_227_984.0
OTLP = Request(WHERE, is_otlp=True, size=1234, secrets=("secret-of-the-settings",))
NDJSON = OTLP._replace(is_otlp=False)


def response(status: int, body: object = b"", **headers: str) -> Response:
    """Return a response; a body that is not bytes is JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def failed(status: int, body: object = b"", request: Request = NDJSON, **headers: str) -> SinkError:
    """Return the error that a response means."""
    error = error_of(response(status, body, **headers), request, now=NOW)
    assert isinstance(error, SinkError)
    assert str(error).startswith(f"{WHERE}: {status}")
    return error


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 529, 599])
def test_transient_status_is_unavailable(status: int) -> None:
    """A later request may succeed."""
    assert isinstance(failed(status), SinkUnavailable)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (301, "redirects are not followed: set LOGFERRY_DESTINATION"),
        (400, "check LOGFERRY_FORMAT and LOGFERRY_COMPRESSION"),
        (401, "check LOGFERRY_HTTPS_TOKEN and LOGFERRY_HTTPS_HEADERS"),
        (403, "no permission to write: check LOGFERRY_HTTPS_TOKEN"),
        (404, "check host and path of LOGFERRY_DESTINATION"),
        (405, "does not accept POST here"),
        (407, "check HTTPS_PROXY and NO_PROXY"),
        (413, "lower LOGFERRY_OBJECT_BYTES, or raise the limit of the receiver (1234 bytes were sent)"),
        (415, "check LOGFERRY_FORMAT"),
        (422, "check LOGFERRY_FORMAT"),
        (431, "shorten LOGFERRY_HTTPS_HEADERS"),
        (418, "see the documentation of the receiver"),
        (499, "see the documentation of the receiver"),
        (501, "see the documentation of the receiver"),
        (505, "see the documentation of the receiver"),
    ],
)
def test_other_status_is_rejected_with_its_remedy(status: int, remedy: str) -> None:
    """A person has to change something."""
    error = failed(status)
    assert isinstance(error, SinkRejected)
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("status", "is_of_object"), [(400, True), (413, True), (422, True), (401, False), (404, False)]
)
def test_rejection_of_a_body_leaves_others(status: int, *, is_of_object: bool) -> None:
    """The other segments are uploaded meanwhile."""
    error = failed(status)
    assert isinstance(error, SinkRejected)
    assert error.is_of_object == is_of_object


def test_400_for_a_large_body_has_the_remedy_of_413() -> None:
    """This is the response of the OpenTelemetry Collector."""
    text = str(failed(400, {"code": 3, "message": "http: request body too large"}))
    assert text.endswith("lower LOGFERRY_OBJECT_BYTES, or raise the limit of the receiver (1234 bytes were sent)")


@pytest.mark.parametrize("status", [404, 405])
def test_path_of_otlp_is_named(status: int) -> None:
    """The endpoint of an SDK's configuration has no path, and the URL of logferry is complete."""
    assert "usually /v1/logs" in str(failed(status, request=OTLP))
    assert "/v1/logs" not in str(failed(status))


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        ({"code": 3, "message": "invalid <x>"}, "application/json", "invalid <x>"),
        ({"error": {"message": "no stream"}}, "application/json", "no stream"),
        ({"error": "no stream"}, "application/json; charset=utf-8", "no stream"),
        ({"title": "Bad", "detail": "no stream"}, "application/problem+json", "no stream"),
        (b"no\nstream\n", "text/plain; charset=utf-8", "no stream"),
        (b"key secret-of-the-settings is unknown", "text/plain", "key … is unknown"),
        (b"see http://user:password@host/", "text/plain", "see http://…@host/"),
    ],
)
def test_sentence_of_the_receiver_is_in_the_message(body: object, content_type: str, sentence: str) -> None:
    """It is on one line, and without secrets."""
    assert f"400 Bad Request: {sentence}; " in str(failed(400, body, content_type=content_type))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\x00", b"[1]", b'"x"', b"{", b'{"error":{}}', b'{"message":7}', b"<html>x</html>", b"[" * 100_000],
)
def test_body_without_a_sentence_is_not_in_the_message(body: bytes) -> None:
    """Bytes of an unknown kind are no explanation."""
    text = str(failed(400, body))
    assert text.startswith((f"{WHERE}: 400 Bad Request; ", f"{WHERE}: 400 Bad Request: a page of HTML; "))
    assert len(text) < 200


def test_long_sentence_is_cut() -> None:
    """A receiver may return the complete request."""
    assert len(str(failed(400, b"x" * 60_000, content_type="text/plain"))) < 600


def test_target_of_a_redirect_has_no_path() -> None:
    """The path can be a secret."""
    text = str(failed(308, location="https://user:pw@eu.example.com:8443/in/secret?key=1"))
    assert "308 Permanent Redirect to eu.example.com:8443; redirects are not followed" in text
    assert "secret" not in text


def test_retry_after_is_an_attribute_of_every_failure() -> None:
    """A rejection may have one too."""
    assert failed(429, retry_after="30").retry_after == 30
    assert failed(403, retry_after="30").retry_after == 30
    assert failed(503).retry_after == 0


@pytest.mark.parametrize(
    ("partial", "count"),
    [
        ({"rejectedLogRecords": "12", "errorMessage": "too old"}, 12),
        ({"rejectedLogRecords": 12, "errorMessage": "too old"}, 12),
        ({"rejectedLogRecords": "1"}, 1),
    ],
)
def test_partial_success_of_otlp_is_the_number_of_rejected_records(partial: object, count: int) -> None:
    """The number is a text in the JSON mapping, and readers accept a number."""
    error = error_of(response(200, {"partialSuccess": partial}), OTLP, now=NOW)
    assert isinstance(error, RecordsRejected)
    assert error.records == count
    assert ("too old" in str(error)) == ("errorMessage" in str(partial))
    assert error_of(response(200, {"partialSuccess": partial}), NDJSON, now=NOW) is None


@pytest.mark.parametrize("count", ['"12"', "12"])
def test_rejected_records_are_counted_in_a_body_that_was_cut(count: str) -> None:
    """Their loss would not be reported otherwise."""
    body = f'{{"partialSuccess": {{"rejectedLogRecords": {count}, "errorMessage": "record 1: too old, rec'.encode()
    error = error_of(response(200, body), OTLP, now=NOW)
    assert isinstance(error, RecordsRejected)
    assert error.records == 12


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"partialSuccess": {}},
        {"partialSuccess": None},
        {"partialSuccess": {"rejectedLogRecords": "0"}},
        {"partialSuccess": {"rejectedLogRecords": "-3"}},
        {"partialSuccess": {"rejectedLogRecords": "x"}},
        {"partialSuccess": [1]},
        [],
        b"",
        b"ok",
        b"\x0a\x02",
    ],
)
def test_any_other_2xx_of_otlp_is_a_confirmation(body: object) -> None:
    """The specification defines no other content."""
    assert error_of(response(200, body), OTLP, now=NOW) is None


def test_warning_of_a_complete_success_has_no_secret() -> None:
    """The message of the receiver is not trusted."""
    found = response(200, {"partialSuccess": {"errorMessage": "secret-of-the-settings expires"}})
    assert warning_of(found, OTLP) == "… expires"
    assert warning_of(found, NDJSON) == ""
    assert warning_of(response(200, {"partialSuccess": {"errorMessage": None}}), OTLP) == ""
