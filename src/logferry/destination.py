"""The destination of the objects: a bucket and a prefix, a stream, a directory, or a receiver on the web.

Guarantees:
- The shipper and all commands parse a destination with `parse`, so that one URL always names one
  place.
- The text after `s3://bucket/` is the prefix of the keys, without decoding: `%2F`, `+`, `?` and `#`
  have no meaning.
- After `s3://`, the ARN of an access point can replace the bucket. ARNs that no S3 client of logferry
  can use are rejected.
- A prefix that readers cannot address is rejected: empty parts, `.` and `..`, control characters.
- Records leave the environment over plain HTTP only to a loopback address.
- No message contains the user, the path or the query of a receiver, because they can be a secret.

Design: other tools replace `%Y` or `{function}` in a prefix. logferry does not, and would store the
literal text. The message names LOGFERRY_KEY, which has placeholders. `SCHEMES` has one row for each
kind of destination. Each row names the settings that have no effect there.

References: RFC 3986, sections 3.2 and 3.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

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
_AUTHORITY = (
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_URL_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})"
_PATH = rf"(?:[/?]{_URL_CHARACTER}*)?"
"""Path and query of a URL, which are sent as they are."""
_STREAM = r"[A-Za-z0-9_.-]{1,64}"
_STREAM_QUERY = r"(?:region=([a-z0-9-]+))?"
_S3_HOST = r"(?:.+\.)?s3[.-](?:.+\.)?amazonaws\.com(?:\.cn)?|s3\.console\.aws\.amazon\.com"
_LOOPBACK = r"localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]"
_PORTS = {"https": 443, "http": 80}
_MIB = 1024 * 1024


class Destination(NamedTuple):
    """A bucket with a prefix (`s3`), a stream (`firehose`), a directory (`file`), or a receiver (`https`, `http`)."""

    scheme: str
    authority: str
    """The bucket or access point, the name of the stream, or host and port of a receiver."""
    path: str
    """The prefix without slashes at its ends, the absolute path of the directory, path and query of the URL, or the
    region of the stream, if the URL names it."""

    def __repr__(self) -> str:
        return f"<Destination {shown(f'{self.scheme}://{self.authority}/{self.path}')}>"

    @property
    def bucket(self) -> str:
        """The bucket, or the alias or the ARN of an access point."""
        return self.authority

    @property
    def address(self) -> tuple[str, int]:
        """Host name or IP address, and port of a receiver."""
        match = re.fullmatch(_AUTHORITY, self.authority, re.ASCII)
        if not match:
            raise ValueError(f"{self.scheme} has no host")
        return match["host"].strip("[]").lower(), int(match["port"] or _PORTS[self.scheme])


class Scheme(NamedTuple):
    """A kind of destination."""

    parse: Callable[[str, str], Destination]
    """Return the destination of a scheme and the text behind `://`. Raise ValueError with the remedy."""
    unused: tuple[str, ...] = ()
    """Settings that have no effect. `S3_*` stands for all whose name begins with `S3_`."""
    readable: bool = True
    """Whether the commands can read the stored objects."""
    object_bytes: int | None = None
    """Default of LOGFERRY_OBJECT_BYTES, for a receiver that limits the size of a request."""


UNRESOLVED = Destination("", "", "")
"""Stands for a destination that is a reference, until its value is known."""


def parse(text: str) -> Destination:
    """Return the destination of a URL. Raise ValueError with the remedy."""
    scheme, _, place = text.partition("://")
    if scheme not in SCHEMES:
        raise ValueError(REMEDY)
    return SCHEMES[scheme].parse(scheme, place)


def parse_readable(text: str) -> Destination:
    """Return a destination whose objects can be read. Raise ValueError with the remedy."""
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ValueError("use s3://bucket/prefix or file:///directory")
    place = parse(text)
    if not SCHEMES[place.scheme].readable:
        raise ValueError(f"the receiver of {place.scheme}:// has the records: read them there")
    return place


def shown(text: str) -> str:
    """Return the text of a destination for a message: of a receiver, only scheme, host and port."""
    scheme, _, place = text.partition("://")
    if scheme.lower() not in _PORTS:
        return text
    authority = re.split(r"[/?#]", place, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{authority}" + ("/…" if not place.endswith(authority) else "")


def object_bytes(place: Destination) -> int | None:
    """Return the default of LOGFERRY_OBJECT_BYTES, or None without a limit.

    A destination that is not known yet has the lowest limit.
    """
    if place != UNRESOLVED:
        return SCHEMES[place.scheme].object_bytes
    return min(each.object_bytes for each in SCHEMES.values() if each.object_bytes)


def unused_settings(destinations: Collection[Destination], given: Iterable[str]) -> list[str]:
    """Return the names among `given` that have an effect with none of the destinations.

    A setting may have an effect with a destination that is not known yet.
    """
    if UNRESOLVED in destinations:
        return []
    unused = [SCHEMES[each.scheme].unused for each in destinations]
    return sorted(name for name in given if unused and all(_matches(name, patterns) for patterns in unused))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns)


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


def url_of(destination: Destination) -> str:
    """Return the URL of a destination for a message: of a receiver or a stream, without path and query."""
    has_prefix = destination.scheme in ("s3", "file")
    parts = (destination.authority, destination.path.rstrip("/")) if has_prefix else (destination.authority,)
    return f"{destination.scheme}://{'/'.join(filter(None, parts))}"


def directive_in(text: str) -> str:
    """Return the first strftime directive of a text, such as `%Y`, or an empty string."""
    match = re.search(_DIRECTIVE, text) if "%" in text else None
    return match[0] if match else ""


def _parse_directory(scheme: str, place: str) -> Destination:
    if not place.startswith("/"):
        raise ValueError(REMEDY)
    _check_placeholders(place)
    return Destination(scheme, "", place)


def _parse_bucket(scheme: str, place: str) -> Destination:
    bucket, prefix = _split_arn(place) if place.startswith("arn:") else _split(place)
    prefix = prefix.strip("/")
    _check_placeholders(prefix)
    _check_parts(prefix)
    return Destination(scheme, bucket, prefix)


def _parse_stream(scheme: str, place: str) -> Destination:
    name, _, query = place.partition("?")
    if place.startswith("arn:"):
        raise ValueError("use the name of the stream instead of its ARN, and ?region=… if its region is another one")
    if not re.fullmatch(_STREAM, name, re.ASCII):
        raise ValueError("use firehose://name with a name of 1 to 64 letters, digits, dots, hyphens or underscores")
    region = re.fullmatch(_STREAM_QUERY, query, re.ASCII)
    if not region:
        raise ValueError("use firehose://name, or firehose://name?region=eu-central-1 for a stream in another region")
    return Destination(scheme, name, region[1] or "")


def _parse_receiver(scheme: str, place: str) -> Destination:
    authority = re.split(r"[/?#]", place, maxsplit=1)[0]
    path = place.removeprefix(authority)
    if "@" in authority:
        raise ValueError("the URL has a user: send credentials with LOGFERRY_HTTPS_TOKEN or LOGFERRY_HTTPS_HEADERS")
    match = re.fullmatch(_AUTHORITY, authority, re.ASCII)
    if not match or not 0 < int(match["port"] or 1) <= 65_535:  # noqa: PLR2004 - the highest port
        raise ValueError("use https://host/path or https://host:port/path, with an ASCII host name")
    if re.fullmatch(_S3_HOST, match["host"].lower()):
        raise ValueError("this is the address of S3: use s3://bucket/prefix")
    if scheme == "http" and not re.fullmatch(_LOOPBACK, match["host"].lower()):
        raise ValueError("use https://, because http:// sends records in plain text; only loopback addresses allow it")
    if not re.fullmatch(_PATH, path, re.ASCII):
        raise ValueError("escape other characters of the path with %XX, and remove a fragment (#)")
    return Destination(scheme, authority, path if path.startswith("/") else f"/{path}")


SCHEMES = {
    "s3": Scheme(_parse_bucket, unused=("FIREHOSE_*", "HTTPS_*")),
    "firehose": Scheme(_parse_stream, unused=("COMPRESSION", "HTTPS_*", "KEY", "S3_*"), readable=False),
    "file": Scheme(_parse_directory, unused=("FIREHOSE_*", "HTTPS_*", "S3_*")),
    "https": Scheme(_parse_receiver, unused=("FIREHOSE_*", "KEY", "S3_*"), readable=False, object_bytes=2 * _MIB),
    "http": Scheme(_parse_receiver, unused=("FIREHOSE_*", "KEY", "S3_*"), readable=False, object_bytes=2 * _MIB),
}
"""All kinds of destinations.

The OTLP receiver of the OpenTelemetry Collector accepts 20 MiB after decompression. Short lines are seven times larger
in OTLP/JSON than in a batch, so 2 MiB of batches fit.
"""
REMEDY = "use s3://bucket/prefix, firehose://stream, https://host/path, or file:///directory for a test without S3"


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
