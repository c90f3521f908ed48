"""Rules that need several settings, the environment, or the readers of the objects.

Guarantees:
- Each function returns all mistakes that it finds, and each mistake has a remedy.
- Nothing is sent or resolved, and no library is imported. Only the file of AWS_CA_BUNDLE is looked
  up.

Design: S3 accepts these combinations. The fault appears later, when a query engine
skips a file, reads compressed bytes as text, or finds two values for a column. AWS variables are
checked only for S3 destinations, because the AWS SDKs ignore or misread most invalid values
silently.

References: Amazon S3 User Guide, "Creating object key names"; Apache Spark and Hive, hidden files;
AWS SDKs and Tools Reference Guide, "Environment variables".
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from logferry.destination import directive_in, unused_settings
from logferry.flush.policy import Flush
from logferry.records import object_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logferry.destination import Destination

COLUMNS = frozenset(
    {"time", "type", "message", "record", "event", "requestid", "requestidsource", "environment", "segment", "line"}
)
"""Columns of the stored lines in lower case, because engines do not distinguish case."""
COMPRESSED_SUFFIXES = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".lz4", ".snappy", ".deflate", ".zip", ".z")
"""Suffixes from which readers infer compression."""
MAX_KEY_BYTES = 1024
"""Maximum length of an object key in S3, in bytes of UTF-8."""
MAX_FIELD_BYTES = {
    "function": 64,
    "version": 20,
    "region": 20,
    "environment": 20,
    "segment": 12,
    "request_id": 36,
    "account": 12,
    "date": 10,
    "time": 8,
    "year": 4,
    "month": 2,
    "day": 2,
    "hour": 2,
}
"""Maximum length of the value of each key field, in bytes. Lambda limits a function name to 64
characters."""
_UNKNOWN_FIELD_BYTES = 64
# These patterns are compiled when a variable is set, because the compilation would delay every start.
_ENDPOINT = r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?((?:/[^\s?#]*)?)"
_PROXY = r"(?:[Hh][Tt][Tt][Pp][Ss]?://)?(?:[^@/\s]+@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?/?"
_REGION_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_AWS_SCHEMES = frozenset({"firehose", "s3"})
"""Schemes of destinations that are AWS services, and the names of these services."""
_FIPS = "AWS_USE_FIPS_ENDPOINT"
_VARIANTS = (_FIPS, "AWS_USE_DUALSTACK_ENDPOINT")
"""Variables that choose an endpoint of AWS."""
_SWITCHES = (*_VARIANTS, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
_R2_REGION = "auto"
_LABELS_OF_A_SERVICE = 3
"""Labels of a host name after the bucket, such as `nyc3.example.com`. Fewer are the name of a
server."""


def contradictions(values: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    """Yield the mistakes in combinations of thresholds, spool and key."""
    if "FLUSH_BYTES" in given and values.get("FLUSH_BYTES", 0) >= values.get("SPOOL_BYTES", float("inf")):
        yield "LOGFERRY_FLUSH_BYTES must be smaller than LOGFERRY_SPOOL_BYTES, because pending records are in the spool"
    one_each = (
        values.get("FLUSH") == Flush.INVOCATION.value
        and values.get("FLUSH_INVOCATIONS") == 1
        and not given & {"FLUSH_SECONDS", "FLUSH_BYTES"}
    )
    if "{request_id}" in values.get("KEY", "") and not one_each:
        yield (
            "LOGFERRY_KEY has {request_id}, but an object can have several invocations: "
            "set LOGFERRY_FLUSH=invocation and no other threshold, or remove {request_id}"
        )


def unused_mistakes(values: Mapping[str, Any], changed: set[str]) -> Iterator[str]:
    """Yield the settings that have no effect with the destinations, among those that are changed from their default."""
    names = [name for name in ("DESTINATION", "FALLBACK_DESTINATION") if name == "DESTINATION" or name in changed]
    destinations = [values[name] for name in names] if all(values.get(name) for name in names) else []
    schemes = " and ".join(dict.fromkeys(f"{each.scheme}://" for each in destinations))
    for name in unused_settings(destinations, changed):
        yield f"LOGFERRY_{name} has no effect with a destination {schemes}: remove it"


def key_mistakes(
    destination: Destination,
    key: str,
    *,
    compression: str,
    environ: Mapping[str, str],
    setting: str = "LOGFERRY_DESTINATION",
) -> Iterator[str]:
    """Yield the mistakes in names that query engines misread or skip, or that S3 rejects.

    `setting` is the variable of the destination.
    """
    suffix = object_key.COMPRESSED[compression]
    if not key.endswith(suffix):
        yield (
            f"LOGFERRY_KEY does not end with {suffix}, but the objects are compressed with {compression}, and readers "
            f"infer this from the name: append {suffix}, or set LOGFERRY_COMPRESSION=none"
        )
    if not suffix and key.lower().endswith(COMPRESSED_SUFFIXES):
        yield (
            f"LOGFERRY_KEY ends with .{key.rpartition('.')[2]}, but LOGFERRY_COMPRESSION is none, and readers would "
            "decompress the objects: remove the suffix, or set LOGFERRY_COMPRESSION=gzip"
        )
    if found := directive_in(key):
        yield f"LOGFERRY_KEY has {found}, which is not replaced: use fields such as {{year}}, {{month}} or {{hour}}"
    prefix = destination.path.split("/") if destination.scheme == "s3" and destination.path else []
    parts = key.split("/")
    yield from _part_mistakes(setting, prefix, prefix, environ)
    yield from _part_mistakes("LOGFERRY_KEY", parts, parts[:-1], environ)
    size = _key_bytes("/".join([*prefix, key]), environ)
    if destination.scheme == "s3" and size > MAX_KEY_BYTES:
        yield (
            f"LOGFERRY_KEY makes keys of up to {size} bytes with the prefix of {setting}, but S3 allows "
            f"{MAX_KEY_BYTES}: shorten one of them"
        )


def _part_mistakes(setting: str, parts: list[str], directories: list[str], environ: Mapping[str, str]) -> Iterator[str]:
    function = environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    for part in parts:
        if part.replace("{function}", function).startswith(("_", ".")):
            yield (
                f"{setting} has the part {part!r}, which begins with '_' or '.' and is hidden for Spark, Hive and "
                "Athena: rename it"
            )
        elif not part or part.isspace() or not part.isprintable():
            yield f"{setting} has the empty or unprintable part {part!r}: remove it"
    for part in directories:
        column, equals, _ = part.partition("=")
        if equals and column.lower() in COLUMNS:
            yield (
                f"{setting} has the partition {column!r}, which is also a column of the stored lines: "
                "choose another name"
            )


def _key_bytes(template: str, environ: Mapping[str, str]) -> int:
    """Return the maximum length of a key, with the real names of function and region if known."""
    known = {
        "function": environ.get("AWS_LAMBDA_FUNCTION_NAME"),
        "version": environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
        "region": environ.get("AWS_REGION"),
    }
    for name in object_key.KEY_FIELDS:
        value = known.get(name) or "x" * MAX_FIELD_BYTES.get(name, _UNKNOWN_FIELD_BYTES)
        template = template.replace(f"{{{name}}}", value)
    return len(template.encode(errors="replace"))


def aws_mistakes(destination: Destination, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the mistakes in the AWS and proxy variables that decide how the destination is reached."""
    if destination.scheme == "https":
        yield from _bundle_mistakes(environ)
        yield from _proxy_mistakes("https_proxy", environ)
    if destination.scheme not in _AWS_SCHEMES:
        return
    for name in _SWITCHES:
        if environ.get(name, "").lower() not in {"", "true", "false"}:
            yield f"{name} is {environ[name]!r}: use true or false"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if environ.get(name) and not set(environ[name]) <= _REGION_CHARACTERS:
            yield f"{name} is {environ[name]!r}, which is not a region: use a name such as eu-central-1"
    variables = (f"AWS_ENDPOINT_URL_{destination.scheme.upper()}", "AWS_ENDPOINT_URL")
    endpoint = next((name for name in variables if environ.get(name)), None)
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        endpoint = None
    yield from _endpoint_mistakes(endpoint, destination, environ)
    tls = not (endpoint and environ[endpoint].startswith("http://"))
    if tls:
        yield from _bundle_mistakes(environ)
    yield from _proxy_mistakes("https_proxy" if tls else "http_proxy", environ)


def _bundle_mistakes(environ: Mapping[str, str]) -> Iterator[str]:
    bundle = environ.get("AWS_CA_BUNDLE")
    if bundle and not os.path.exists(bundle):
        yield f"AWS_CA_BUNDLE is {bundle!r}, but there is no such file: correct the path, or remove the variable"


def _endpoint_mistakes(endpoint: str | None, destination: Destination, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the mistakes in the endpoint: in the variable of its URL, or in the choice of an endpoint of AWS."""
    region = environ.get("AWS_REGION", "")
    chosen = [name for name in _VARIANTS if environ.get(name, "").lower() == "true"]
    if endpoint:
        if mistake := _endpoint_mistake(environ[endpoint], destination):
            yield f"{endpoint} is {_without_user(environ[endpoint])!r}{mistake}"
        for name in chosen:
            yield f"{name} chooses an endpoint of AWS, but {endpoint} is set: remove one of them"
    elif region == _R2_REGION:
        yield "AWS_REGION is auto, which is a region of Cloudflare R2: set LOGFERRY_S3_ENDPOINT_URL to the endpoint"
    elif region.startswith("cn-") and _FIPS in chosen:
        yield f"{_FIPS} is true, but the regions of China have no FIPS endpoints: remove it"


def _without_user(url: str) -> str:
    """Return a URL without user and password, which a message must not contain."""
    return re.sub(r"//.*@", "//", url)


def _endpoint_mistake(url: str, destination: Destination) -> str:
    match = re.fullmatch(_ENDPOINT, url)
    if not match or int(match[2] or 0) > 65_535:  # noqa: PLR2004 - the highest port
        return f": use a URL such as https://{destination.scheme}.example.com, without user and query"
    if destination.scheme != "s3":
        return ""
    bucket = destination.bucket
    host, path = match[1].lower(), match[3].strip("/")
    in_host = host.startswith(f"{bucket.lower()}.") and _is_s3_host(host.removeprefix(f"{bucket.lower()}."))
    if in_host or path.rpartition("/")[2] == bucket:
        return f", which already contains the bucket {bucket}: use the endpoint without the bucket"
    return ""


def _is_s3_host(host: str) -> bool:
    """Return whether the host name after the bucket is that of an S3 service.

    The name of a server can begin with the name of a bucket, such as `minio.local`, and must not be
    rejected.
    """
    return host.startswith("s3") or len(host.split(".")) >= _LABELS_OF_A_SERVICE


def _proxy_mistakes(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    for variable in (name, name.upper()):  # the SDKs prefer the lower-case variable
        if proxy := environ.get(variable):
            if not re.fullmatch(_PROXY, proxy):
                yield f"{variable} is not a proxy address: use a URL such as http://proxy.example.com:3128"
            return
