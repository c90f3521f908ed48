"""The destination of the objects: a bucket and a prefix, or a directory.

Guarantees:
- The shipper and all commands parse a destination with `parse`, so that one URL always names one
  place.
- The text after `s3://bucket/` is the prefix of the keys, without decoding: `%2F`, `+`, `?` and `#`
  have no meaning.
- After `s3://`, the ARN of an access point can replace the bucket. ARNs that no S3 client of logferry
  can use are rejected.
- A prefix that readers cannot address is rejected: empty parts, `.` and `..`, control characters.

Design: other tools replace `%Y` or `{function}` in a prefix. logferry does not, and would store the
literal text. The message names LOGFERRY_KEY, which has placeholders.
"""

from __future__ import annotations

import re
from typing import NamedTuple

REMEDY = "use s3://bucket/prefix, or file:///directory for a test without S3"
BUCKET_REMEDY = (
    "use s3://bucket/prefix with a bucket name of 3 to 255 letters, digits, dots, hyphens or underscores, "
    "or with the alias of an access point"
)
ARN_REMEDY = (
    "use s3://bucket/prefix with the name of the bucket, or the ARN of an access point, such as "
    "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/name/prefix"
)
MULTI_REGION_REMEDY = (
    "a multi-Region access point needs signatures (SigV4A) that logferry does not make: use the bucket or an "
    "access point in one region"
)

_BUCKET = r"[A-Za-z0-9._-]{3,255}"
"""Bucket name. Those from before March 2018 in us-east-1 can have upper-case letters and
underscores."""
_ACCESS_POINT = (
    r"(arn:aws[a-z-]*:(?:s3|s3-object-lambda):[a-z0-9-]+:\d{12}:accesspoint[/:][a-z0-9-]{3,50}"
    r"|arn:aws[a-z-]*:s3-outposts:[a-z0-9-]+:\d{12}:outpost[/:]op-[a-z0-9]+[/:]accesspoint[/:][a-z0-9-]{3,50})(?:/(.*))?"
)
"""ARN of an access point (of a bucket, of Object Lambda, or of S3 on Outposts), and the prefix behind it."""
_DIRECTIVE = r"%(?:[G-Zg-z]|[A-Fa-f](?![0-9A-Fa-f]))"
"""A directive of strftime. `%2F` and other percent escapes of two hexadecimal digits are literal
text."""


class Destination(NamedTuple):
    """A bucket with a prefix (`s3`), or a directory (`file`)."""

    scheme: str
    bucket: str
    """The name of the bucket, or the alias or the ARN of an access point."""
    path: str
    """The prefix without slashes at its ends, or the absolute path of the directory."""


def parse(text: str) -> Destination:
    """Return the destination of a URL. Raise ValueError with the remedy."""
    scheme, _, place = text.partition("://")
    if scheme == "file" and place.startswith("/"):
        _check_placeholders(place)
        return Destination("file", "", place)
    if scheme != "s3":
        raise ValueError(REMEDY)
    bucket, prefix = _split_arn(place) if place.startswith("arn:") else _split(place)
    prefix = prefix.strip("/")
    _check_placeholders(prefix)
    _check_parts(prefix)
    return Destination("s3", bucket, prefix)


def _split(place: str) -> tuple[str, str]:
    bucket, _, prefix = place.partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise ValueError(BUCKET_REMEDY)
    return bucket, prefix


def _split_arn(place: str) -> tuple[str, str]:
    """Return the ARN of an access point and the prefix."""
    match = re.fullmatch(_ACCESS_POINT, place, re.ASCII | re.DOTALL)
    if match:
        return match[1], match[2] or ""
    if re.match(r"arn:[a-z-]+:s3::\d*:accesspoint", place):
        raise ValueError(MULTI_REGION_REMEDY)
    raise ValueError(ARN_REMEDY)


def directive_in(text: str) -> str:
    """Return the first strftime directive of a text, such as `%Y`, or an empty string."""
    match = re.search(_DIRECTIVE, text) if "%" in text else None
    return match[0] if match else ""


def _check_placeholders(text: str) -> None:
    if found := directive_in(text):
        raise ValueError(f"{found} is not replaced: use the fields of LOGFERRY_KEY, such as {{year}} or {{hour}}")
    if "{" in text or "}" in text:
        raise ValueError("braces are not replaced in the destination: use the fields in LOGFERRY_KEY")


def _check_parts(prefix: str) -> None:
    parts = prefix.split("/") if prefix else []
    if "" in parts or "." in parts or ".." in parts:
        raise ValueError("readers cannot address the parts '', '.' and '..' of a prefix: remove them")
    if not prefix.isprintable():
        raise ValueError("the prefix contains a control character: remove it")
