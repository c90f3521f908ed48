"""Error responses of services with the AWS JSON protocol, such as SSM, Secrets Manager and Firehose. Pure.

Guarantees:
- A code and a sentence are bounded and on one line.
- Codes and sentences for a wrong clock and for expired credentials are the same for all these services.

References: AWS JSON 1.1 protocol, "Operation error serialization".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from logferry.aws.request_signer import CLOCK, CREDENTIALS
from logferry.http_client.failures import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.http_client.response import Response

_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
"""Codes for credentials that were valid; reading them again may help."""
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_CLOCK_SENTENCES = ("Signature expired", "Signature not yet current")
"""Sentences of InvalidSignatureException for a request whose time is not the service's."""
_TRANSIENT_CODES = frozenset(
    {
        *("InternalFailure", "InternalError", "InternalServerError", "InternalServerException", "InternalServiceError"),
        *("ServiceUnavailable", "ServiceUnavailableException", "SlowDown", "RequestTimeout", "RequestTimeoutException"),
        *("Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"),
        *("LimitExceededException", "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded"),
    }
)  # fmt: skip
_TRANSIENT_STATUS = frozenset({408, 425, 429})
_OK, _SERVER_ERROR = 200, 500


def parse_error(headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """Return code and sentence of an error response, both empty if there are none."""
    code, sentence = "", ""
    try:
        document = json.loads(body)
        code = str(document.get("__type") or document.get("code") or "")
        sentence = str(document.get("message") or document.get("Message") or "")
    except (ValueError, AttributeError, RecursionError):
        pass  # not a response of the service, or an empty one
    code = headers.get("x-amzn-errortype") or code
    # `namespace#Code` in the body, and `Code:http://…` in the header.
    return bounded(code.partition(":")[0].rpartition("#")[2]), bounded(sentence)


def correctable_cause(response: Response) -> str:
    """Return the cause of an error that a signer can correct (`request_signer`), or an empty string."""
    if response.status == _OK:
        return ""
    code, sentence = parse_error(response.headers, response.body)
    if is_clock_error(code, sentence):
        return CLOCK
    return CREDENTIALS if code in _EXPIRED_CODES else ""


def is_clock_error(code: str, sentence: str) -> bool:
    """Return whether the service rejected the time of a request."""
    return code in _CLOCK_CODES or sentence.startswith(_CLOCK_SENTENCES)


def is_transient(status: int, code: str) -> bool:
    """Return whether a later request may get another response."""
    return code in _TRANSIENT_CODES or status in _TRANSIENT_STATUS or status >= _SERVER_ERROR
