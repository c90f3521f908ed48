"""The permission that a refused request lacks, and the policy that refuses it, according to S3's sentence. Pure.

Guarantees:
- A permission is taken from the sentence only if the sentence names it.
- `advice` separates a missing permission from an explicit deny, which no allowing statement can lift.

References: IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ACTION = re.compile(r"not authorized to perform: ((?:s3|s3express|kms|sts|firehose):\w+)")
_ANY_ACTION = re.compile(r"\b((?:s3|kms|s3express|firehose):[A-Z]\w+)")
_ROLE = "the function's role"
_POLICIES = (
    ("identity-based policy", _ROLE),
    ("resource-based policy", "the policy of the bucket or of the key"),
    ("VPC endpoint policy", "the policy of the VPC endpoint"),
    ("permissions boundary", f"the permissions boundary of {_ROLE}"),
    ("session policy", "the policy of the session"),
    ("service control policy", "a service control policy of the organization"),
    ("resource control policy", "a resource control policy of the organization"),
)
"""Policies as S3's sentence names them, and where they are changed."""


class Advice(NamedTuple):
    """The policy that must change, and how."""

    policy: str
    """Policy that must change."""
    is_addition: bool
    """Whether an allowing statement lifts the refusal. An explicit deny must be removed instead."""


def action_in(sentence: str) -> str:
    """Return the permission that the sentence names, or an empty string."""
    match = _ACTION.search(sentence) or _ANY_ACTION.search(sentence)
    return match[1] if match else ""


def advice(sentence: str) -> Advice:
    """Return the policy that must change. Without a policy in the sentence, it is that of the role."""
    found = next((place for name, place in _POLICIES if name in sentence), _ROLE)
    return Advice(found, is_addition="explicit deny" not in sentence)
