"""Messages for failed requests of the reading commands: cause and remedy in one sentence. Pure.

Guarantees:
- Each message names the destination, S3's error code or the error, and a remedy.
- A failure of one object (missing, archived) is separated from one of the destination (permission,
  region, credentials, clock), which affects all objects.

References: S3 API Reference, "Error responses".
"""

from __future__ import annotations

import re

CLOCK_REMEDY = "the clock of this machine is wrong: set it, for example with NTP"
READ_REMEDY = "reading requires s3:ListBucket on the bucket and s3:GetObject on its objects"
CREDENTIALS_REMEDY = "configure them with `aws configure`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
REGION_REMEDY = "set AWS_REGION to the region of the bucket"

REMEDIES = {
    "AccessDenied": READ_REMEDY,
    "AllAccessDisabled": "the bucket is disabled: ask its owner",
    "AuthorizationHeaderMalformed": REGION_REMEDY,
    "ExpiredToken": "the credentials have expired: renew them, for example with `aws sso login`",
    "ExpiredTokenException": "the credentials have expired: renew them, for example with `aws sso login`",
    "IllegalLocationConstraintException": REGION_REMEDY,
    "InvalidAccessKeyId": f"S3 has no such access key: {CREDENTIALS_REMEDY}",
    "InvalidBucketName": "check the name of the bucket",
    "InvalidToken": f"the session token is invalid: {CREDENTIALS_REMEDY}",
    "KMS.DisabledException": "the KMS key of the objects is disabled: enable it",
    "NoSuchBucket": "check the name of the bucket, and the region and account of the credentials",
    "PermanentRedirect": REGION_REMEDY,
    "RequestTimeTooSkewed": CLOCK_REMEDY,
    "SignatureDoesNotMatch": f"the secret key does not belong to the access key: {CREDENTIALS_REMEDY}",
    "SlowDown": "S3 throttles the requests: repeat the command later, or limit it with --function and --since",
}
"""Remedy of each error code that affects the complete destination."""
OBJECT_CODES = {
    "AccessDenied": f"AccessDenied; {READ_REMEDY}, and kms:Decrypt on their key",
    "InvalidObjectState": "it is archived: restore it first",
    "NoSuchKey": "it was deleted after the list",
}
"""Reason of each error code that affects one object."""

TRANSIENT_CODES = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "503", "500"})
"""Codes of requests that can succeed later, after the SDK has repeated them."""

_CODE = re.compile(r"<Code>\s*([A-Za-z0-9._-]{1,80})\s*</Code>")
_CERTIFICATE = re.compile("SSL|certificate", re.IGNORECASE)
_SHOWN = 200
"""Maximum number of characters of an error without a code."""


def code_in(text: str) -> str:
    """Return the error code in an S3 error document, or an empty string."""
    match = _CODE.search(text)
    if match:
        return match[1]
    return "PermanentRedirect" if "redirect without LOCATION" in text else ""


def failure(place: str, code: str, text: str) -> str:
    """Return the message for a request that failed with this code, or with this text without a code."""
    if code in REMEDIES:
        return f"cannot read {place}: {code}; {REMEDIES[code]}"
    detail = " ".join(text.split())[:_SHOWN]
    if code:
        return f"cannot read {place}: {code} ({detail}); {READ_REMEDY}"
    remedy = "check the network, AWS_ENDPOINT_URL_S3 and HTTPS_PROXY"
    if _CERTIFICATE.search(text):
        remedy = "set AWS_CA_BUNDLE to the file of the certificate authority"
    return f"cannot read {place}: {detail}; {remedy}"


def no_credentials(place: str) -> str:
    """Return the message for missing credentials."""
    return f"cannot read {place}: no AWS credentials were found; {CREDENTIALS_REMEDY}"


def no_region(place: str) -> str:
    """Return the message for a missing region."""
    return f"cannot read {place}: no region is configured; {REGION_REMEDY}"
