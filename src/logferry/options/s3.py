"""Settings of the objects in S3: encryption, storage class, tags, owner, ACL, conditional writes.

Guarantees:
- A valid set of values gives request headers that S3 accepts for the object of a PutObject request. Contradictory
  values are mistakes.
- Both S3 clients send the same headers (tests/sinks/s3/test_request_equals_botocore.py).

References: S3 API Reference, "PutObject".
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from logferry import values
from logferry.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENCRYPTIONS = {"aes256": "AES256", "aws:kms": "aws:kms", "aws:kms:dsse": "aws:kms:dsse"}
STORAGE_CLASSES = (
    *("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"),
    *("REDUCED_REDUNDANCY", "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"),
)
ACLS = (
    *("private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read"),
    *("bucket-owner-read", "bucket-owner-full-control"),
)
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 10, 128, 256
"""Limits of the tags of an object (S3 User Guide, "Categorizing your storage using tags")."""
_KMS_KEY = re.compile(r"(?:arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(?:key|alias)/|alias/)?[A-Za-z0-9/_-]{1,256}")
_TAG_TEXT = re.compile(r"[\w\s.:/=+\-@]*")


def _one_of(names: tuple[str, ...] | Mapping[str, str]) -> Callable[[str], str]:
    given = names if isinstance(names, dict) else {name.lower(): name for name in names}

    def parse(text: str) -> str:
        if text and text.lower() not in given:
            raise ValueError(f"choose one of {', '.join(given.values())}")
        return given[text.lower()] if text else ""

    return parse


def _kms_key(text: str) -> str:
    if text and not _KMS_KEY.fullmatch(text):
        raise ValueError("use the ID, the ARN or the alias (alias/name) of a KMS key")
    return text


def _owner(text: str) -> str:
    if text and not re.fullmatch(r"\d{12}", text, re.ASCII):
        raise ValueError("use the 12 digits of an account ID")
    return text


def _pairs(text: str) -> dict[str, str]:
    """Return `name=value,name=value` as a dictionary. Raise ValueError with the remedy."""
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise ValueError(f"{item!r} is not a pair: use name=value,name=value")
        if name in pairs:
            raise ValueError(f"{name!r} is there twice")
        pairs[name] = value
    return pairs


def _context(text: str) -> dict[str, str]:
    context = _pairs(text)
    if not all(name.isascii() and value.isascii() for name, value in context.items()):
        raise ValueError("use ASCII characters, because KMS compares the context byte by byte")
    return context


def _tags(text: str) -> dict[str, str]:
    tags = _pairs(text)
    if len(tags) > MAX_TAGS:
        raise ValueError(f"an object has at most {MAX_TAGS} tags")
    for name, value in tags.items():
        if len(name) > MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise ValueError(
                f"{name[:20]!r} is too long: a tag has {MAX_TAG_KEY} characters, its value {MAX_TAG_VALUE}"
            )
        if not (_TAG_TEXT.fullmatch(name) and _TAG_TEXT.fullmatch(value)):
            raise ValueError(
                f"{name!r} has a character that is not allowed: use letters, digits, spaces and . : / = + - @ _"
            )
        if name.lower().startswith("aws:"):
            raise ValueError(f"{name!r} is reserved: use a name without the prefix aws:")
    return tags


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("S3_ENCRYPTION", "", "`AES256`, `aws:kms`, `aws:kms:dsse`", "server-side encryption of the objects; without it, the default of the bucket applies", _one_of(ENCRYPTIONS)),
    Setting("S3_KMS_KEY", "", "ID, ARN or alias of a key", "KMS key of the encryption; without it, the key of the bucket or of S3 is used", _kms_key),
    Setting("S3_KMS_CONTEXT", "", "`name=value,name=value`", "encryption context of the KMS key, for its policies and for CloudTrail", _context),
    Setting("S3_BUCKET_KEY", "false", "`true`, `false`", "`true`: an S3 bucket key reduces the requests to KMS; otherwise the default of the bucket applies", values.parse_truth),
    Setting("S3_STORAGE_CLASS", "", "`STANDARD`, `STANDARD_IA`, `GLACIER_IR`, …", "storage class of the objects; most others than `STANDARD` bill at least 128 KB for each object", _one_of(STORAGE_CLASSES)),
    Setting("S3_TAGS", "", "`name=value,name=value`", "tags of the objects; the role needs `s3:PutObjectTagging`", _tags),
    Setting("S3_EXPECTED_OWNER", "", "an account ID", "account that must own the bucket; S3 refuses the object otherwise", _owner),
    Setting("S3_ACL", "", "`bucket-owner-full-control`, `private`, …", "canned ACL of the objects; the role needs `s3:PutObjectAcl`, and the bucket must have ACLs enabled", _one_of(ACLS)),
    Setting("S3_REQUEST_PAYER", "false", "`true`, `false`", "`true`: the function's account pays for requests to a requester-pays bucket", values.parse_truth),
    Setting("S3_IF_NONE_MATCH", "false", "`true`, `false`", "`true`: S3 stores an object only if its key does not exist, so that no object is overwritten", values.parse_truth),
)  # fmt: skip


class S3Options(NamedTuple):
    """The valid settings of this table, as headers of a PutObject request."""

    headers: Mapping[str, str]


def contradictions(parsed: Mapping[str, Any], _given: set[str]) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    encryption = parsed.get("S3_ENCRYPTION", "")
    for name in ("S3_KMS_KEY", "S3_KMS_CONTEXT", "S3_BUCKET_KEY"):
        if parsed.get(name) and "S3_ENCRYPTION" in parsed and not encryption.startswith("aws:kms"):
            yield f"LOGFERRY_{name} has no effect without KMS: set LOGFERRY_S3_ENCRYPTION=aws:kms"
    if parsed.get("S3_BUCKET_KEY") and encryption == "aws:kms:dsse":
        yield "LOGFERRY_S3_BUCKET_KEY cannot be used with aws:kms:dsse: remove it, or set LOGFERRY_S3_ENCRYPTION=aws:kms"


def read(parsed: Mapping[str, Any]) -> S3Options:
    """Return the options of the parsed values."""
    context = json.dumps(parsed["S3_KMS_CONTEXT"], separators=(",", ":")) if parsed["S3_KMS_CONTEXT"] else ""
    headers = {
        "x-amz-server-side-encryption": parsed["S3_ENCRYPTION"],
        "x-amz-server-side-encryption-aws-kms-key-id": parsed["S3_KMS_KEY"],
        "x-amz-server-side-encryption-context": base64.b64encode(context.encode()).decode(),
        "x-amz-server-side-encryption-bucket-key-enabled": "true" if parsed["S3_BUCKET_KEY"] else "",
        "x-amz-storage-class": parsed["S3_STORAGE_CLASS"],
        "x-amz-tagging": urlencode(parsed["S3_TAGS"], quote_via=quote),
        "x-amz-expected-bucket-owner": parsed["S3_EXPECTED_OWNER"],
        "x-amz-acl": parsed["S3_ACL"],
        "x-amz-request-payer": "requester" if parsed["S3_REQUEST_PAYER"] else "",
        "if-none-match": "*" if parsed["S3_IF_NONE_MATCH"] else "",
    }
    return S3Options(headers={name: value for name, value in headers.items() if value})
