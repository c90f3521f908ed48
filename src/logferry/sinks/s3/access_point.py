"""ARNs of access points. Pure.

Guarantees:
- `region_and_label` gives the region and the host label that botocore 1.40 uses. A contract test
  compares them (tests/sinks/s3/test_request_equals_botocore.py).
- ARNs of S3 on Outposts and of Object Lambda have a reason in `needs_sdk`.

Design: the region of the ARN is used, whatever the region of the function is. The AWS SDKs do the
same unless AWS_S3_USE_ARN_REGION is false.

References: S3 User Guide, "Referencing access points"; botocore, `endpoint-rule-set-1.json` of S3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.aws.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCESS_POINT = (
    r"arn:(?P<partition>[a-z-]+):s3:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):"
    r"accesspoint[/:](?P<name>[a-z0-9][a-z0-9-]{0,48}[a-z0-9])"
)


def region_and_label(arn: str) -> tuple[str, str]:
    """Return the region of an access point, and the first label of its host name; ValueError for other ARNs."""
    match = re.fullmatch(_ACCESS_POINT, arn, re.ASCII)
    if not match:
        raise ValueError(f"{arn} is not the ARN of an access point")
    return match["region"], f"{match['name']}-{match['account']}"


def needs_sdk(arn: str, region: str, environ: Mapping[str, str], *, has_endpoint_url: bool) -> str | None:
    """Return the reason why an ARN needs the AWS SDK, or None for the own client."""
    match = re.fullmatch(_ACCESS_POINT, arn, re.ASCII)
    # 1. S3 on Outposts and Object Lambda: other services with other host names.
    if not match:
        return "the destination is an ARN, but not that of an access point of a bucket"
    # 2. The host name is made of the access point and the configured endpoint.
    if has_endpoint_url:
        return "the destination is the ARN of an access point, and an endpoint URL is set"
    # 3. The SDK rejects the combination.
    if environ.get("AWS_S3_USE_ARN_REGION", "").lower() not in {"", "true"} and match["region"] != region:
        return "AWS_S3_USE_ARN_REGION forbids the region of the ARN"
    # 4. Credentials of one partition are unknown in another. The SDK rejects the combination.
    if not partition_of(match["region"]) == partition_of(region) == match["partition"]:
        return f"the ARN is in another partition than {region}, or in an unknown one"
    return None
