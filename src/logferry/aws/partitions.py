"""Partitions of AWS: the DNS suffix of a region. Pure.

Guarantees:
- The suffix is that of botocore 1.40. A contract test compares them (tests/sinks/s3/test_endpoint.py).

Design: regions of the partitions aws, aws-cn and aws-us-gov are known; the host names of others are not.

References: botocore, `partitions.json`.
"""

from __future__ import annotations

import re

PARTITIONS = (
    (r"(?:us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+", "amazonaws.com"),
    (r"us-gov-\w+-\d+", "amazonaws.com"),
    (r"cn-\w+-\d+", "amazonaws.com.cn"),
)
"""Region names and DNS suffix of each known partition."""


def dns_suffix(region: str) -> str:
    """Return the DNS suffix of a region's hosts, or an empty string if the partition is unknown."""
    return next((suffix for name, suffix in PARTITIONS if re.fullmatch(name, region, re.ASCII)), "")
