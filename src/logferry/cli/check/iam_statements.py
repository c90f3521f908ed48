"""IAM statements that allow what is missing. Pure.

Guarantees:
- A statement names the bucket, the prefix and the key of this destination, and no wildcard where their name is known.
- The statements are those of a policy of a role. A policy of a bucket or of a key also needs a principal.

References: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3" and "for AWS Key
Management Service"; KMS Developer Guide, "Use aliases to control access to KMS keys".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST = "s3:ListBucket"


class Target(NamedTuple):
    """The destination as IAM names it. `account` may be empty."""

    bucket: str
    """Name of a bucket, alias or ARN of an access point."""
    prefix: str
    region: str
    account: str = ""
    kms_key: str = ""
    """ID, ARN or alias of the key, or an empty string for the default key of the bucket."""


def statements(missing: Iterable[str], target: Target) -> tuple[dict[str, Any], ...]:
    """Return the statements that allow the missing permissions: objects, bucket, key."""
    wanted = list(dict.fromkeys(missing))
    found: list[dict[str, Any]] = []
    if on_objects := [each for each in wanted if each.startswith("s3") and each != LIST]:
        found.append(_allow(on_objects, _objects(target)))
    if LIST in wanted:
        condition = {"StringLike": {"s3:prefix": [f"{target.prefix}/*"]}} if target.prefix else None
        found.append(_allow([LIST], _bucket(target), condition))
    if on_key := [each for each in wanted if each.startswith("kms:")]:
        found.append(_allow(on_key, *_key(target)))
    return tuple(found)


def partition_of(region: str) -> str:
    """Return the partition of a region: `aws`, `aws-cn` or `aws-us-gov`."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _allow(actions: list[str], resource: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": actions[0] if len(actions) == 1 else actions,
        "Resource": resource,
    }
    return statement | ({"Condition": condition} if condition else {})


def _bucket(target: Target) -> str:
    is_arn = target.bucket.startswith("arn:")
    return target.bucket if is_arn else f"arn:{partition_of(target.region)}:s3:::{target.bucket}"


def _objects(target: Target) -> str:
    keys = f"{target.prefix}/*" if target.prefix else "*"
    return f"{_bucket(target)}/object/{keys}" if target.bucket.startswith("arn:") else f"{_bucket(target)}/{keys}"


def _key(target: Target) -> tuple[str, dict[str, Any] | None]:
    """Return the resource of the key and, for an alias, the condition that limits it."""
    key = target.kms_key
    arn_of = f"arn:{partition_of(target.region)}:kms:{target.region}:{target.account or '*'}:key/"
    # 1. The ARN of a key.
    if ":key/" in key:
        return key, None
    # 2. An alias or its ARN. IAM has no resource for it.
    if "alias/" in key:
        name = "alias/" + key.partition("alias/")[2]
        return f"{arn_of}*", {"ForAnyValue:StringEquals": {"kms:ResourceAliases": name}}
    # 3. An ID, or the key of the bucket, whose ID is unknown.
    return f"{arn_of}{key or '*'}", None
