"""The AssumeRole request of AWS STS: address, body, credentials in the response, and classification of errors.

Guarantees:
- The functions are pure.
- Address, body and signed headers are those of botocore 1.40. A contract test compares them
  (tests/aws/test_sts.py).
- An error of the trust policy, the permissions or the external ID names the setting to change.
- No message contains a credential.

Design: the regional endpoint is used, because the global one is in us-east-1 and a VPC endpoint
exists for the region only. A regular expression finds the values of the response, because importing
an XML library costs CPU time and the document is flat.

References: STS API Reference, "AssumeRole" and "Common Errors"; AWS SDKs and Tools Reference Guide,
"AWS STS Regional endpoints"; IAM User Guide, "Access to AWS accounts owned by third parties".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logferry.aws.credentials import checked
from logferry.aws.partitions import partition_of
from logferry.aws.service_endpoint import regional_host
from logferry.aws.sigv4 import quote
from logferry.aws.timestamps import parse_iso
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.address import Address, host_of, parse_url
from logferry.http_client.failures import Remedies, bounded
from logferry.http_client.proxies import proxy_of_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.aws.role import Role
    from logferry.aws.sigv4 import Credentials
    from logferry.errors import SinkError

CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
"""Codes for source credentials that were valid; reading them again may help."""
CONNECTION_REMEDIES = Remedies(
    resolve="check AWS_ENDPOINT_URL_STS and the DNS of the VPC",
    reach="check AWS_ENDPOINT_URL_STS and the route of the VPC to STS",
    respond="a function in a VPC needs an interface endpoint for STS or another route to it",
)
_VERSION = "2011-06-15"
_SECONDS = 3600
"""Requested lifetime, in seconds. It is the maximum for a role that another role assumes."""
_VALUES = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
_SERVER_ERROR = 500
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
_TRANSIENT_CODES = frozenset(
    {"InternalFailure", "RequestExpired", "ServiceUnavailable", "Throttling", "ThrottlingException"}
)
_SKEWED = r"Signature (?:expired|not yet current)"
"""Beginning of the sentence that STS sends, with the code SignatureDoesNotMatch, if the clocks differ."""
_CALLER_POLICIES = (
    "identity-based policy|session policy|service control policy|resource control policy|VPC endpoint policy"
    "|permissions boundary"
)
_SENTENCES = (
    (r"explicit deny in (?:an?|the) ([A-Za-z -]+? (?:policy|boundary))", "change the deny statement of the {0}"),
    (rf"no ({_CALLER_POLICIES}) allows", "allow sts:AssumeRole on the role in the {0}"),
)
"""Cause of a refusal in the sentence of STS, and its remedy. Most cross-account sentences state no cause."""
_REFUSED = (
    "the trust policy of the role must allow the caller{0}, and a policy of the caller must allow sts:AssumeRole on "
    "the role"
)
_WITH_EXTERNAL_ID = " with the external ID of LOGFERRY_S3_ROLE_EXTERNAL_ID"
_WITHOUT_EXTERNAL_ID = " (if it requires an external ID, set LOGFERRY_S3_ROLE_EXTERNAL_ID)"
_REMEDIES = {
    "InvalidClientTokenId": "the access key of the caller is unknown: check AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the credentials of the caller have expired",
    "ExpiredTokenException": "the credentials of the caller have expired",
    "RegionDisabledException": "activate STS for this region in the account of the role, or set AWS_ENDPOINT_URL_STS",
    "SignatureDoesNotMatch": "the secret key of the caller is wrong, or a proxy has changed the request",
    "ValidationError": "correct LOGFERRY_S3_ROLE_ARN, LOGFERRY_S3_ROLE_SESSION_NAME or LOGFERRY_S3_ROLE_EXTERNAL_ID",
}
NOT_STS = "not a response of STS: check AWS_ENDPOINT_URL_STS and proxies"


class StsError(NamedTuple):
    """An error response: status, code and sentence. Code and sentence are empty if it is not from STS."""

    status: int
    code: str
    sentence: str

    @property
    def is_skewed(self) -> bool:
        """Whether the clock of the caller differs from that of STS."""
        return self.code == "RequestExpired" or bool(re.search(_SKEWED, self.sentence))


def url_of(role: Role) -> str:
    """Return the URL of STS, or an empty string if the region is in no known partition."""
    if role.sts_url:
        return role.sts_url
    region, partition = role.region, partition_of(role.region)
    if not partition or (role.fips and partition == "aws-cn"):
        return ""
    return f"https://{regional_host('sts', region, fips=role.fips, dual_stack=role.dualstack)}"


def address_of(role: Role) -> Address:
    """Return the address of STS with the path of a request; ValueError if `needs_sdk` gives a reason."""
    url = url_of(role)
    address = parse_url(url)
    if not address:
        raise ValueError(f"no plain endpoint of STS is known for {role.region}")
    if url.endswith("/") or not address.base_path:
        address.base_path += "/"
    return address


def needs_sdk(role: Role, environ: Mapping[str, str]) -> str | None:
    """Return the reason why assuming a role needs the AWS SDK, or None for the own client."""
    url = url_of(role)
    if not url or not parse_url(url):
        return f"no plain endpoint of STS is known for the region {role.region}"
    if variable := proxy_of_url(url, environ):
        return f"{variable} applies to {host_of(url)}"
    return None


def parameters(role: Role) -> dict[str, str | int]:
    """Return the parameters of AssumeRole."""
    found: dict[str, str | int] = {"RoleArn": role.arn, "RoleSessionName": role.session_name}
    if role.external_id:
        found["ExternalId"] = role.external_id
    return found | {"DurationSeconds": _SECONDS}


def body_of(role: Role) -> bytes:
    """Return the body of the request."""
    pairs = {"Action": "AssumeRole", "Version": _VERSION, **parameters(role)}
    return "&".join([f"{name}={quote(str(value))}" for name, value in pairs.items()]).encode()


def parse_credentials(body: bytes) -> tuple[Credentials, float]:
    """Return the credentials of a 200 and their expiration, in seconds since the epoch. Raise SinkUnavailable."""
    text = body.decode(errors="replace")
    found = {name: re.search(rf"<{name}>\s*([^<>\s]+)\s*</{name}>", text) for name in _VALUES}
    missing = [name for name, match in found.items() if not match]
    if missing:
        raise SinkUnavailable(f"STS gave no credentials: no {' and no '.join(missing)}; {NOT_STS}")
    access_key, secret_key, token, expiration = (match[1] for match in found.values() if match)
    return credentials_of(access_key, secret_key, token), expiration_of(expiration)


def credentials_of(access_key: str, secret_key: str, token: str) -> Credentials:
    """Return the credentials of a response. Raise SinkRejected for a value that no header can carry."""
    return checked(access_key, secret_key, token, source="STS")


def expiration_of(text: str) -> float:
    """Return an expiration in seconds since the epoch. Raise SinkUnavailable if it is not a timestamp."""
    expires_at = parse_iso(text)
    if expires_at is None:
        raise SinkUnavailable(f"STS gave no valid expiration: {bounded(text)}")
    return expires_at


def parse_error(status: int, body: bytes) -> StsError:
    """Return the error of a response that is not a 200."""
    code = re.search(rb"<Code>\s*([A-Za-z0-9._-]{1,80})\s*</Code>", body)
    sentence = re.search(rb"(?s)<Message>(.*?)</Message>", body)
    if not code:
        return StsError(status, "", "")
    return StsError(status, code[1].decode(), bounded(sentence[1].decode(errors="replace")) if sentence else "")


def classify(role: Role, error: StsError) -> SinkError:
    """Return SinkUnavailable (wait) or SinkRejected (change something) for a failed request."""
    event = event_of(role, f"{error.status} {error.code}".rstrip())
    if error.sentence:
        event += f": {error.sentence}"
    if error.is_skewed:
        return SinkUnavailable(f"{event}; the clock of this environment differs from that of STS")
    if error.code in _TRANSIENT_CODES or error.status in _TRANSIENT_STATUS or error.status >= _SERVER_ERROR:
        return SinkUnavailable(event)
    return SinkRejected(f"{event}; {_remedy(role, error)}")


def event_of(role: Role, cause: object) -> str:
    """Return the beginning of a message about a role that cannot be assumed."""
    return f"assume {role.arn} (LOGFERRY_S3_ROLE_ARN): {cause}"


def _remedy(role: Role, error: StsError) -> str:
    # 1. Not a document of STS.
    if not error.code:
        return NOT_STS
    # 2. Another error than a missing permission.
    if error.code != "AccessDenied":
        return _REMEDIES.get(error.code) or "see the errors of AssumeRole"
    # 3. The sentence names the policy that is responsible.
    for pattern, remedy in _SENTENCES:
        if match := re.search(pattern, error.sentence):
            return remedy.format(match[1])
    # 4. The trust policy, its condition on the external ID, or the policy of the caller.
    return _REFUSED.format(_WITH_EXTERNAL_ID if role.external_id else _WITHOUT_EXTERNAL_ID)
