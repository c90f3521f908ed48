"""The destination of the objects: a bucket and a prefix, or a directory.

Guarantees:
- The shipper and all commands parse a destination with `parse`, so that one URL always names one
  place.
- The text after `s3://bucket/` is the prefix of the keys, without decoding: `%2F`, `+`, `?` and `#`
  have no meaning.
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

_BUCKET = r"[A-Za-z0-9._-]{3,255}"
"""Bucket name. Those from before March 2018 in us-east-1 can have upper-case letters and
underscores."""
_DIRECTIVE = r"%(?:[G-Zg-z]|[A-Fa-f](?![0-9A-Fa-f]))"
"""A directive of strftime. `%2F` and other percent escapes of two hexadecimal digits are literal
text."""


class Destination(NamedTuple):
    """A bucket with a prefix (`s3`), or a directory (`file`)."""

    scheme: str
    bucket: str
    path: str
    """The prefix without slashes at its ends, or the absolute path of the directory."""


UNRESOLVED = Destination("", "", "")
"""Stands for a destination that is a reference, until its value is known."""


def parse(text: str) -> Destination:
    """Return the destination of a URL. Raise ValueError with the remedy."""
    scheme, _, place = text.partition("://")
    if scheme == "file" and place.startswith("/"):
        _check_placeholders(place)
        return Destination("file", "", place)
    if scheme != "s3":
        raise ValueError(REMEDY)
    bucket, _, prefix = place.partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise ValueError(BUCKET_REMEDY)
    prefix = prefix.strip("/")
    _check_placeholders(prefix)
    _check_parts(prefix)
    return Destination("s3", bucket, prefix)


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
