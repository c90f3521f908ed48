"""Remedy for a request that AWS denies, from the sentence of the response. Pure.

Design: services report every missing permission with the same code. The sentence names the policy that is responsible.

References: IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import re

_SENTENCES = (
    (r"\bkms:\w+", "allow {found} on {resource}'s KMS key, in the function's role and in the key policy"),
    (r"VPC endpoint policy", "allow {action} on {resource} in the policy of the VPC endpoint"),
    (r"service control policy", "the service control policy of the AWS organization must allow it"),
    (r"resource control policy", "the resource control policy of the AWS organization must allow it"),
    (r"permissions boundary", "allow {action} in the permissions boundary of the function's role"),
    (r"session policy", "allow {action} in the session policy"),
    (
        r"explicit deny in a resource-based policy",
        "{resource} policy denies it: change the statement, or meet its condition (encryption, VPC, TLS, account)",
    ),
)
"""Cause of a refusal in the sentence, and its remedy."""


def remedy(sentence: str, *, action: str, resource: str) -> str:
    """Return the remedy for a denied action on a resource, or an empty string if the sentence names no cause."""
    for pattern, text in _SENTENCES:
        if match := re.search(pattern, sentence):
            return text.format(found=match[0], action=action, resource=resource)
    return ""
