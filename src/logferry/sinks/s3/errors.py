"""Classification of S3's error responses.

Guarantees:
- The functions are pure.
- Responses that later requests may not get (throttling, 5xx, clock) are SinkUnavailable; all others
  are SinkRejected.
- A rejection for the size or the key of one object is marked, because others may be stored.
- A message contains S3's code and sentence, bounded and on one line, and then the remedy.

Design: a regular expression finds `<Code>` and `<Message>`, because importing an XML library costs
CPU time and S3's error documents are flat. S3 reports every missing permission as AccessDenied. Its
sentence names the policy that is responsible, so the remedy is chosen by the sentence (`access_denied`).

References: S3 API Reference, "Error responses"; IAM User Guide, "Troubleshoot access denied error
messages".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.failures import Remedies, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.errors import SinkError

_CODE = rb"<Code>\s*([A-Za-z0-9._-]{1,80})\s*</Code>"
_MESSAGE = rb"(?s)<Message>(.*?)</Message>"
_REGION = rb"<Region>\s*([a-z0-9-]{1,63})\s*</Region>"
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
"""Codes for credentials that were valid; reading them again may help."""
_TRANSIENT_CODES = frozenset(
    {
        "InternalError",
        "KMS.ThrottlingException",
        "OperationAborted",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottlingException",
    }
)
_TRANSIENT_STATUS = frozenset({307, 408, 409, 425, 429})
_SERVER_ERROR = 500
_FORBIDDEN = 403
_TOO_LARGE = 413
"""Status of a proxy or a compatible store that limits the size of a request."""
_OBJECT_CODES = frozenset({"EntityTooLarge", "KeyTooLongError", "MaxMessageLengthExceeded", "MetadataTooLarge"})
"""Codes of a rejection that other objects may not get."""
_SMALLER = "the object is too large: lower LOGFERRY_OBJECT_BYTES, or raise the limit of the store or the proxy"
_OTHER_REGION = "use a bucket in this region, or set AWS_ENDPOINT_URL_S3 to the bucket's regional endpoint"
_ALLOW = "allow s3:PutObject on it in the function's role"
_REMEDIES = {
    "AccessDenied": _ALLOW,
    "AccountProblem": "contact AWS Support about the account",
    "AllAccessDisabled": "AWS has closed the bucket",
    "AuthorizationHeaderMalformed": f"the bucket is in another region: {_OTHER_REGION}",
    "ExpiredToken": "the credentials of this environment have expired",
    "EntityTooLarge": _SMALLER,
    "IllegalLocationConstraintException": f"the bucket is in another region: {_OTHER_REGION}",
    "InvalidAccessKeyId": "the access key is unknown here: check AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL_S3",
    "InvalidBucketName": "correct LOGFERRY_DESTINATION",
    "InvalidRegionName": "set AWS_REGION to a region of the service at AWS_ENDPOINT_URL_S3",
    "InvalidToken": "the credentials belong to another partition or service: check AWS_REGION and AWS_ENDPOINT_URL_S3",
    "KMS.DisabledException": "enable the bucket's KMS key, or choose another encryption key for the bucket",
    "KMS.KMSInvalidStateException": "the bucket's KMS key is being deleted: restore it, or choose another key",
    "KMS.NotFoundException": "the bucket's KMS key does not exist: choose another encryption key for the bucket",
    "KeyTooLongError": "shorten LOGFERRY_KEY or the prefix: S3 keys have at most 1,024 bytes",
    "MethodNotAllowed": "the endpoint does not accept PUT: check AWS_ENDPOINT_URL_S3 and proxies",
    "NoSuchBucket": "create the bucket or correct LOGFERRY_DESTINATION",
    "PermanentRedirect": f"the bucket is in another region: {_OTHER_REGION}",
    "SignatureDoesNotMatch": "the secret key is wrong, or a proxy has changed the request",
}
_DEFAULT_REMEDIES = {
    403: _ALLOW,
    405: _REMEDIES["MethodNotAllowed"],
    407: "the proxy requires authentication",
    413: _SMALLER,
}
CONNECTION_REMEDIES = Remedies(
    resolve="check AWS_REGION, AWS_ENDPOINT_URL_S3 and the DNS of the VPC",
    reach="check AWS_ENDPOINT_URL_S3 and the route of the VPC to S3",
    respond="a function in a VPC needs an S3 gateway endpoint or another route to S3",
)
_CLOCK = "the clock of this environment differs from S3's"
_NOT_S3 = "not a response of S3: check AWS_ENDPOINT_URL_S3 and proxies"


def parse_error(body: bytes) -> tuple[str, str]:
    """Return code and sentence of an error document, both empty if the body is none."""
    code, message = re.search(_CODE, body), re.search(_MESSAGE, body)
    if not code:
        return "", ""
    return code[1].decode(), bounded(message[1].decode(errors="replace")) if message else ""


def region_of(headers: Mapping[str, str], body: bytes) -> str:
    """Return the region in which the bucket is, if the response names it, else an empty string."""
    if region := headers.get("x-amz-bucket-region"):
        return region
    match = re.search(_REGION, body)
    return match[1].decode() if match else ""


def classify(where: str, status: int, code: str, sentence: str = "") -> SinkError:
    """Return SinkUnavailable (wait) or SinkRejected (change something) for a failed request."""
    event = f"{where}: {status} {code}".rstrip() + (f": {sentence}" if sentence else "")
    error: SinkError
    if code in _TRANSIENT_CODES or status in _TRANSIENT_STATUS or status >= _SERVER_ERROR:
        error = SinkUnavailable(f"{event}; {_CLOCK}" if code == "RequestTimeTooSkewed" else event)
    else:
        error = SinkRejected(f"{event}; {_remedy(status, code, sentence)}")
        error.is_of_object = code in _OBJECT_CODES or status == _TOO_LARGE
    error.status, error.code, error.sentence = status, code, sentence
    return error


def retry_after(headers: Mapping[str, str], *, now: float) -> float:
    """Return the seconds that a response requests until the next attempt, or 0. S3 rarely sends the header."""
    if "retry-after" not in headers:
        return 0.0
    from logferry.sinks import retry_after as header  # noqa: PLC0415 - most starts do not need it

    return header.retry_after(headers, now=now)


def not_stored(where: str) -> SinkUnavailable:
    """Return the error for a 200 without an ETag, which a proxy or a captive portal sent."""
    return SinkUnavailable(f"{where}: 200 without an ETag; {_NOT_S3}")


def _remedy(status: int, code: str, sentence: str) -> str:
    if code in {"AccessDenied", ""} and status == _FORBIDDEN:
        from logferry.aws import access_denied  # noqa: PLC0415 - only a refusal needs it

        if found := access_denied.remedy(sentence, action="s3:PutObject", resource="the bucket"):
            return found
    return _REMEDIES.get(code) or _DEFAULT_REMEDIES.get(status) or "see S3's error codes"
