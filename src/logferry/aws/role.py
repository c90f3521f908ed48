"""A role to assume, and the address of STS that it is requested from. Pure.

Design: the settings and the clients share these values, so the module imports neither of them.

References: STS API Reference, "AssumeRole"; IAM User Guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_SESSION_NAME = 64
"""Maximum length of the name of a session, in characters."""


class Role(NamedTuple):
    """A role, and the endpoint of STS."""

    arn: str
    session_name: str
    external_id: str
    """The external ID that the trust policy requires, or an empty string."""
    region: str
    """Region of STS. It is that of the function, because a VPC endpoint exists for that region only."""
    sts_url: str = ""
    """Configured URL of STS, or an empty string."""
    fips: bool = False
    dualstack: bool = False


def default_session_name(function: str) -> str:
    """Return a session name that contains the name of the function, for CloudTrail."""
    return re.sub(r"[^\w+=,.@-]", "-", f"logferry-{function}", flags=re.ASCII)[:MAX_SESSION_NAME]
