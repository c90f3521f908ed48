"""Address of a bucket, and the decision which S3 client a configuration needs.

Guarantees:
- The functions are pure: bucket, region and environment variables decide, and nothing is imported
  or sent.
- `resolve` gives the address that botocore 1.40 gives. A contract test compares them.
- Each configuration that `resolve` does not cover has a reason in `needs_sdk`, and the AWS SDK
  handles it.

Design: without a configured endpoint the bucket is part of the host name (virtual-hosted style).
Buckets whose name does not match a TLS wildcard, and all configured endpoints, have the bucket in
the path. us-east-1 has the global host name. Regions of the partitions aws, aws-cn and aws-us-gov
are known; the host names of others are not.

References: Amazon S3 User Guide, "Virtual hosting of buckets"; AWS SDKs and Tools Reference Guide,
"Service-specific endpoints"; botocore, `partitions.json`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.aws.partitions import dns_suffix
from logferry.http_client.address import HTTP_PORT, HTTPS_PORT, authority
from logferry.http_client.proxies import proxy_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

GLOBAL_REGION = "us-east-1"

# Patterns are compiled on use, because compiling one costs 0.1 ms of CPU time.
_REGION = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PSEUDO_REGION = r"aws-global|s3-external-1|fips-.*|.*-fips"
_BUCKET = r"[a-zA-Z0-9._-]{3,255}"
_HOST_STYLE_BUCKET = r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ENDPOINT_URL = (
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>\d{{1,5}}))?"
    r"(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)/?"
)
_SWITCHES = (
    ("AWS_USE_FIPS_ENDPOINT", "FIPS endpoint"),
    ("AWS_USE_DUALSTACK_ENDPOINT", "dual-stack endpoint"),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignored endpoint URL"),
    ("AWS_SIGV4A_SIGNING_REGION_SET", "signature for several regions"),
)
_CONTAINER_VARIABLES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


class Endpoint:
    """The address of a bucket and the region that a request is signed for."""

    __slots__ = ("base_path", "host", "port", "region", "tls")

    def __init__(self, *, host: str, port: int, base_path: str, tls: bool, region: str) -> None:
        self.host = host
        self.port = port
        self.base_path = base_path
        self.tls = tls
        self.region = region

    @property
    def host_header(self) -> str:
        """The value of the Host header: the port is omitted if it is the scheme's default."""
        return authority(self.host, self.port, HTTPS_PORT if self.tls else HTTP_PORT)


def resolve(bucket: str, region: str, environ: Mapping[str, str]) -> Endpoint:
    """Return the address of a bucket; ValueError if `needs_sdk` gives a reason."""
    url = endpoint_url(environ)
    if url:
        match = re.fullmatch(_ENDPOINT_URL, url, re.ASCII)
        if not match:
            raise ValueError(f"the endpoint URL {url} is not a plain http or https URL")
        tls = match["scheme"] == "https"
        port = int(match["port"] or (HTTPS_PORT if tls else HTTP_PORT))
        base_path = f"{match['path']}/{bucket}"
        return Endpoint(host=match["host"].lower(), port=port, base_path=base_path, tls=tls, region=region)
    regional_host = service_host(region)
    if not regional_host:
        raise ValueError(f"the region {region} is in no known partition")
    in_host = re.fullmatch(_HOST_STYLE_BUCKET, bucket, re.ASCII)
    host, base_path = (f"{bucket}.{regional_host}", "") if in_host else (regional_host, f"/{bucket}")
    return Endpoint(host=host, port=HTTPS_PORT, base_path=base_path, tls=True, region=region)


def endpoint_url(environ: Mapping[str, str]) -> str:
    """Return the configured endpoint URL, or an empty string."""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""


def needs_sdk(bucket: str, region: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the reason why a configuration needs the AWS SDK, or None for the own client."""
    if reason := _reason_in_bucket(bucket):
        return reason
    for name, feature in _SWITCHES:
        if environ.get(name, "").lower() not in {"", "false"}:
            return f"{name} is set ({feature})"
    return (
        _reason_in_address(region, endpoint_url(environ))
        or _reason_in_proxy(region or "", environ)
        or _reason_in_credentials(environ)
    )


def _reason_in_bucket(bucket: str) -> str | None:
    if bucket.startswith("arn:"):
        return "the destination is an ARN"
    if bucket.endswith("-s3") and "--" in bucket:
        return f"the bucket name ends with {bucket[bucket.rindex('--') :]} (S3 Express or another special bucket type)"
    if not re.fullmatch(_BUCKET, bucket, re.ASCII):
        return "the bucket name is not a valid general purpose bucket name"
    return None


def _reason_in_address(region: str | None, url: str) -> str | None:
    if not region:
        return "AWS_REGION is not set"
    if not re.fullmatch(_REGION, region, re.ASCII) or re.fullmatch(_PSEUDO_REGION, region, re.ASCII):
        return f"the region {region} is not the name of one region"
    if not url and not service_host(region):
        return f"the region {region} is in no known partition"
    match = re.fullmatch(_ENDPOINT_URL, url, re.ASCII) if url else None
    if url and not (match and 0 < int(match["port"] or 1) <= 65535):  # noqa: PLR2004 - a port
        return "the endpoint URL is not a plain http or https URL"
    return None


def _reason_in_proxy(region: str, environ: Mapping[str, str]) -> str | None:
    """Apply the proxy variables to the host name of the service, as botocore does."""
    url = endpoint_url(environ)
    match = re.fullmatch(_ENDPOINT_URL, url, re.ASCII) if url else None
    scheme = match["scheme"] if match else "https"
    host = match["host"] if match else service_host(region)
    variable = proxy_variable(scheme, host, match["port"] if match else None, environ)
    return f"{variable} applies to {host}" if variable else None


def _reason_in_credentials(environ: Mapping[str, str]) -> str | None:
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return None
    if environ.get("AWS_ACCESS_KEY_ID") or environ.get("AWS_SECRET_ACCESS_KEY"):
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set"
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "AWS_WEB_IDENTITY_TOKEN_FILE is set (assumed role)"
    if not any(environ.get(name) for name in _CONTAINER_VARIABLES):
        return "neither static nor container credentials are set"
    if environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "").lower().startswith("https:"):
        return "AWS_CONTAINER_CREDENTIALS_FULL_URI is an https URL"
    return None


def service_host(region: str) -> str:
    """Return the host name of S3 in a region, or an empty string if the partition is unknown."""
    suffix = dns_suffix(region)
    if not suffix:
        return ""
    return f"s3.{suffix}" if region == GLOBAL_REGION else f"s3.{region}.{suffix}"
