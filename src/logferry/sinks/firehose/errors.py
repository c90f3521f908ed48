"""Classification of Firehose's error responses, and the result of each record of a request. Pure.

Guarantees:
- Responses that later requests may not get (throttling, 5xx, clock) are SinkUnavailable; all others are SinkRejected.
- A rejection of the data of one request is marked, because other objects may be stored.
- A record counts as accepted only if the response has a RecordId for it, and no error. A response that has not exactly
  one result for each record is an error, because a proxy may have sent it.
- A message contains Firehose's code and sentence, bounded and on one line, and then the remedy.

References: Firehose API Reference, "PutRecordBatch" and "Common errors"; AWS JSON 1.1 protocol, "Operation error
serialization".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.aws import access_denied, json_errors
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.failures import Remedies, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logferry.errors import SinkError

ACTION = "firehose:PutRecordBatch"
_FIRST_ERROR, _FORBIDDEN, _TOO_LARGE = 400, 403, 413
_OBJECT_CODES = frozenset({"InvalidArgumentException", "SerializationException", "ValidationException"})
"""Codes of a rejection that other objects may not get."""
_ALLOW = f"allow {ACTION} on the stream in the function's role"
_DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"})
_NO_STREAM = "create the stream, or correct its name or region in LOGFERRY_DESTINATION"
_KEYS = "the access key is unknown here: check AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL_FIREHOSE"
_KMS = (
    "Firehose cannot use the KMS key of the stream: enable the key, and allow Firehose to use it with a grant "
    "(StartDeliveryStreamEncryption)"
)
_REMEDIES = {
    "ExpiredToken": "the credentials of this environment have expired",
    "ExpiredTokenException": "the credentials of this environment have expired",
    "InvalidClientTokenId": _KEYS,
    "InvalidKMSResourceException": _KMS,
    "InvalidSignatureException": "the secret key is wrong, or a proxy has changed the request",
    "InvalidSourceException": "the stream reads from another source: use a stream with the source Direct PUT",
    "OptInRequired": "enable the region in the account",
    "ResourceNotFoundException": _NO_STREAM,
    "UnknownOperationException": "the endpoint is not that of Firehose: check AWS_ENDPOINT_URL_FIREHOSE",
    "UnrecognizedClientException": _KEYS,
}
_DEFAULT_REMEDIES = {
    403: _ALLOW,
    404: "the endpoint is not that of Firehose: check AWS_ENDPOINT_URL_FIREHOSE",
    407: "the proxy requires authentication",
}
CONNECTION_REMEDIES = Remedies(
    resolve="check the region, AWS_ENDPOINT_URL_FIREHOSE and the DNS of the VPC",
    reach="check AWS_ENDPOINT_URL_FIREHOSE and the route of the VPC to Firehose",
    respond="a function in a VPC needs an interface endpoint for Firehose (kinesis-firehose) or another route to it",
)
_NOT_FIREHOSE = "not a response of Firehose: check AWS_ENDPOINT_URL_FIREHOSE and proxies"


def classify(where: str, status: int, code: str, sentence: str = "") -> SinkError:
    """Return SinkUnavailable (wait) or SinkRejected (change something) for a failed request."""
    error = _classified(where, status, code, sentence)
    error.status, error.code, error.sentence = status, code, sentence
    return error


def _classified(where: str, status: int, code: str, sentence: str) -> SinkError:
    event = f"{where}: {status} {code}".rstrip() + (f": {sentence}" if sentence else "")
    if json_errors.is_clock_error(code, sentence):
        return SinkUnavailable(f"{event}; the clock of this environment differs from Firehose's")
    if json_errors.is_transient(status, code):
        return SinkUnavailable(event)
    if status < _FIRST_ERROR:
        return SinkUnavailable(f"{event}; {_NOT_FIREHOSE}")
    rejected = SinkRejected(f"{event}; {_remedy(status, code, sentence)}")
    rejected.is_of_object = code in _OBJECT_CODES or status == _TOO_LARGE
    return rejected


def _remedy(status: int, code: str, sentence: str) -> str:
    if code in _DENIED_CODES or (not code and status == _FORBIDDEN):
        return access_denied.remedy(sentence, action=ACTION, resource="the stream") or _ALLOW
    return _REMEDIES.get(code) or _DEFAULT_REMEDIES.get(status) or "see the error codes of PutRecordBatch"


def results(where: str, body: bytes, count: int) -> Sequence[str]:
    """Return the error of each record of a request, empty for an accepted one.

    Raises SinkUnavailable if the body is not the response to a request with `count` records.
    """
    try:
        entries = json.loads(body)["RequestResponses"]
        errors = [_error_of(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        errors = []
    if len(errors) != count:
        raise SinkUnavailable(f"{where}: 200 without one result for each record; {_NOT_FIREHOSE}")
    return errors


def _error_of(entry: Mapping[str, Any]) -> str:
    code = entry.get("ErrorCode")
    if entry.get("RecordId") and not code:
        return ""
    return bounded(": ".join(str(text) for text in (code, entry.get("ErrorMessage")) if text)) or "no RecordId"


def not_accepted(where: str, waiting: int, total: int, error: str) -> SinkUnavailable:
    """Return the error for records that Firehose has refused several times."""
    return SinkUnavailable(
        f"{where}: {waiting} of {total} records are not accepted yet: {error}; if this recurs, request a higher quota "
        "of the stream"
    )
