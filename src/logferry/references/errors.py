"""Classification of the error responses of SSM and Secrets Manager. Pure.

Guarantees:
- Responses that later requests may not get (throttling, 5xx, clock) are SinkUnavailable; all others are SinkRejected.
- A message contains code and sentence of the service, bounded and on one line, and then the remedy. A missing
  permission is named.
- No message contains a value: an error response has none.

References: IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.aws import json_errors
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.failures import Remedies

if TYPE_CHECKING:
    from logferry.errors import SinkError
    from logferry.references.services import Service

_DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_KMS = r"(?i)\bkms\b|ciphertext|master key"
"""Sentence of a refusal that concerns the KMS key of a parameter or secret."""
_SENTENCES = (
    (r"VPC endpoint policy", "in the policy of the VPC endpoint"),
    (r"service control policy", "in the service control policy of the AWS organization"),
    (r"resource control policy", "in the resource control policy of the AWS organization"),
    (r"permissions boundary", "in the permissions boundary of the function's role"),
    (r"resource-based policy", "in the resource policy of the secret, which denies it now"),
)
"""Cause of a refusal in the sentence, and the place that must allow the action."""
_ROLE = "in the function's role"
_KEYS = "the access key is unknown here: check AWS_ACCESS_KEY_ID and the endpoint URL"
_DECRYPT = "enable the KMS key of it, and allow kms:Decrypt in the function's role and in the key policy"
_REMEDIES = {
    "DecryptionFailure": _DECRYPT,
    "ExpiredToken": "the credentials of this environment have expired",
    "ExpiredTokenException": "the credentials of this environment have expired",
    "InvalidClientTokenId": _KEYS,
    "InvalidKeyId": _DECRYPT,
    "InvalidRequestException": "the secret is scheduled for deletion: restore it, or correct the reference",
    "InvalidSignatureException": "the secret key is wrong, or a proxy has changed the request",
    "ResourceNotFoundException": "create it in this region, or correct the reference",
    "UnrecognizedClientException": _KEYS,
    "ValidationException": "correct the reference",
}


def connection_remedies(service: Service) -> Remedies:
    """Return the remedies for a connection that cannot be opened."""
    variable = service.endpoint_variable
    return Remedies(
        resolve=f"check AWS_REGION, {variable} and the DNS of the VPC",
        reach=f"check {variable} and the route of the VPC to {service.title}",
        respond=f"a function in a VPC needs a VPC endpoint for {service.title} or another route to it",
    )


def classify(service: Service, where: str, status: int, code: str, sentence: str) -> SinkError:
    """Return SinkUnavailable (wait) or SinkRejected (change something) for a failed request.

    `where` names the references and their settings.
    """
    event = f"{where}: {service.title} responded {status} {code}".rstrip() + (f": {sentence}" if sentence else "")
    if json_errors.is_clock_error(code, sentence):
        return SinkUnavailable(f"{event}; the clock of this environment differs from the service's")
    if json_errors.is_transient(status, code):
        return SinkUnavailable(event)
    return SinkRejected(f"{event}; {_remedy(service, code, sentence)}")


def _remedy(service: Service, code: str, sentence: str) -> str:
    if code in _DENIED_CODES:
        if re.search(_KMS, sentence):
            return "allow kms:Decrypt on its KMS key, in the function's role and in the key policy"
        place = next((place for pattern, place in _SENTENCES if re.search(pattern, sentence)), _ROLE)
        return f"allow {service.permission} on it {place}"
    not_the_service = f"not a response of {service.title}: check {service.endpoint_variable} and proxies"
    return _REMEDIES.get(code) or (f"see the error codes of {service.title}" if code else not_the_service)
