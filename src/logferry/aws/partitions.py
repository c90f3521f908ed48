"""Partitions of AWS: name and DNS suffixes of a region. Pure.

Guarantees:
- Names and suffixes are those of botocore 1.40. A contract test compares them
  (tests/sinks/s3/test_endpoint.py).

Design: regions of the partitions aws, aws-cn and aws-us-gov are known; the host names of others are not.

References: botocore, `partitions.json`.
"""

from __future__ import annotations

import re

PARTITIONS = (
    (r"(?:us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+", "aws", "amazonaws.com", "api.aws"),
    (r"us-gov-\w+-\d+", "aws-us-gov", "amazonaws.com", "api.aws"),
    (r"cn-\w+-\d+", "aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
)
"""Region names, name, DNS suffix and suffix of dual-stack hosts of each known partition."""
_UNKNOWN = ("", "", "", "")
_NAME, _SUFFIX, _DUAL_STACK_SUFFIX = 1, 2, 3


def partition_of(region: str) -> str:
    """Return the name of a region's partition, or an empty string if it is unknown."""
    return _entry(region)[_NAME]


def dns_suffix(region: str) -> str:
    """Return the DNS suffix of a region's hosts, or an empty string if the partition is unknown."""
    return _entry(region)[_SUFFIX]


def dual_stack_suffix(region: str) -> str:
    """Return the DNS suffix of the dual-stack hosts of most services, or an empty string."""
    return _entry(region)[_DUAL_STACK_SUFFIX]


def _entry(region: str) -> tuple[str, str, str, str]:
    return next((entry for entry in PARTITIONS if re.fullmatch(entry[0], region, re.ASCII)), _UNKNOWN)
