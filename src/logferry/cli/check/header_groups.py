"""Headers of a PutObject request, grouped by the setting that adds them and the permission that they need. Pure.

Guarantees:
- `without` returns the headers that remain if groups are left out.
- Encryption with S3's own keys needs no permission. Encryption with KMS does.

References: S3 User Guide, "Required permissions for Amazon S3 API operations"; "Specifying server-side encryption
with AWS KMS".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PUT = "s3:PutObject"
DATA_KEY = "kms:GenerateDataKey"
_ENCRYPTION = "x-amz-server-side-encryption"


class HeaderGroup(NamedTuple):
    """Headers of one setting. `permission` is empty if the headers need none."""

    setting: str
    prefix: str
    permission: str = ""


GROUPS = (
    HeaderGroup("LOGFERRY_S3_TAGS", "x-amz-tagging", "s3:PutObjectTagging"),
    HeaderGroup("LOGFERRY_S3_ACL", "x-amz-acl", "s3:PutObjectAcl"),
    HeaderGroup("LOGFERRY_S3_ENCRYPTION", _ENCRYPTION, DATA_KEY),
    HeaderGroup("LOGFERRY_S3_EXPECTED_OWNER", "x-amz-expected-bucket-owner"),
    HeaderGroup("LOGFERRY_S3_STORAGE_CLASS", "x-amz-storage-class"),
    HeaderGroup("LOGFERRY_S3_REQUEST_PAYER", "x-amz-request-payer"),
    HeaderGroup("LOGFERRY_S3_IF_NONE_MATCH", "if-none-match"),
)


def groups_in(headers: Mapping[str, str]) -> list[HeaderGroup]:
    """Return the groups that a request has."""
    return [group for group in GROUPS if any(name.startswith(group.prefix) for name in headers)]


def deniable_groups_in(headers: Mapping[str, str]) -> list[HeaderGroup]:
    """Return the groups for which S3 can deny a request that it otherwise allows.

    The owner of the bucket is one of them, because S3 denies a request with another owner.
    """
    encrypts_with_kms = headers.get(_ENCRYPTION, "").startswith("aws:kms")
    return [
        group
        for group in groups_in(headers)
        if group.setting == "LOGFERRY_S3_EXPECTED_OWNER"
        or (group.permission and (group.permission != DATA_KEY or encrypts_with_kms))
    ]


def without(headers: Mapping[str, str], groups: Iterable[HeaderGroup]) -> dict[str, str]:
    """Return the headers that are in none of the groups."""
    prefixes = tuple(group.prefix for group in groups)
    return {name: value for name, value in headers.items() if not prefixes or not name.startswith(prefixes)}
