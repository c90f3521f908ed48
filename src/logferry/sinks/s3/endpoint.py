"""Address of a bucket, and the decision which S3 client a configuration needs.

Guarantees:
- The functions are pure: bucket, region and environment variables decide, and nothing is imported
  or sent.
- `resolve` gives the address that botocore 1.40 gives. A contract test compares them.
- Each configuration that `resolve` does not cover has a reason in `needs_sdk`, and the AWS SDK
  handles it.

Design: without a configured endpoint the bucket is part of the host name (virtual-hosted style).
Buckets whose name does not match a TLS wildcard, and all configured endpoints, have the bucket in
the path. us-east-1 has the global host name, unless the endpoint is a dual-stack or FIPS one.
Regions of the partitions aws, aws-cn and aws-us-gov are known; the host names of others are not.
`access_point` has the rules for ARNs.

References: Amazon S3 User Guide, "Virtual hosting of buckets"; AWS SDKs and Tools Reference Guide,
"Service-specific endpoints"; botocore, `partitions.json`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.aws.credentials import reason_in_source
from logferry.aws.partitions import dns_suffix, partition_of
from logferry.http_client.address import HTTPS_PORT, Address, host_of, parse_url
from logferry.http_client.proxies import proxy_of_url

if TYPE_CHECKING:
    from collections.abc import Mapping

GLOBAL_REGION = "us-east-1"

# Patterns are compiled on use, because compiling one costs 0.1 ms of CPU time.
_REGION = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PSEUDO_REGION = r"aws-global|s3-external-1|fips-.*|.*-fips"
_BUCKET = r"[a-zA-Z0-9._-]{3,255}"
_HOST_STYLE_BUCKET = r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])"
_FIPS, _DUAL_STACK = "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"
_SWITCHES = (
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignored endpoint URL"),
    ("AWS_SIGV4A_SIGNING_REGION_SET", "signature for several regions"),
)
_WITHOUT_FIPS = "aws-cn"
"""Partition without FIPS endpoints."""


class Endpoint(Address):
    """The address of a bucket and the region that a request is signed for."""

    __slots__ = ("region",)

    def __init__(self, *, host: str, port: int, base_path: str, tls: bool, region: str) -> None:
        super().__init__(host=host, port=port, base_path=base_path, tls=tls)
        self.region = region


def resolve(bucket: str, region: str, environ: Mapping[str, str]) -> Endpoint:
    """Return the address of a bucket; ValueError if `needs_sdk` gives a reason."""
    url = endpoint_url(environ)
    if url:
        address = parse_url(url)
        if not address:
            raise ValueError(f"the endpoint URL {url} is not a plain http or https URL")
        return Endpoint(
            host=address.host,
            port=address.port,
            base_path=f"{address.base_path}/{bucket}",
            tls=address.tls,
            region=region,
        )
    base_path = ""
    if is_arn(bucket):
        from logferry.sinks.s3 import access_point  # noqa: PLC0415 - most destinations are buckets

        region, label = access_point.region_and_label(bucket)
        host = _host("s3-accesspoint", region, environ)
    else:
        label, host = bucket, service_host(region, environ)
    if not host:
        raise ValueError(f"the region {region} is in no known partition")
    if is_arn(bucket) or re.fullmatch(_HOST_STYLE_BUCKET, bucket, re.ASCII):
        host = f"{label}.{host}"
    else:
        base_path = f"/{bucket}"
    return Endpoint(host=host, port=HTTPS_PORT, base_path=base_path, tls=True, region=region)


def is_arn(bucket: str) -> bool:
    """Return whether a destination is the ARN of an access point."""
    return bucket.startswith("arn:")


def endpoint_url(environ: Mapping[str, str]) -> str:
    """Return the configured endpoint URL, or an empty string."""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""


def needs_sdk(bucket: str, region: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the reason why a configuration needs the AWS SDK, or None for the own client."""
    if reason := _reason_in_bucket(bucket, region or "", environ):
        return reason
    for name, feature in _SWITCHES:
        if environ.get(name, "").lower() not in {"", "false"}:
            return f"{name} is set ({feature})"
    return (
        _reason_in_address(region, endpoint_url(environ))
        or _reason_in_variants(region or "", environ)
        or _reason_in_proxy(region or "", environ)
        or reason_in_source(environ)
    )


def _reason_in_bucket(bucket: str, region: str, environ: Mapping[str, str]) -> str | None:
    if is_arn(bucket):
        from logferry.sinks.s3 import access_point  # noqa: PLC0415 - most destinations are buckets

        return access_point.needs_sdk(bucket, region, environ, has_endpoint_url=bool(endpoint_url(environ)))
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
    if not url and not dns_suffix(region):
        return f"the region {region} is in no known partition"
    if url and not parse_url(url):
        return "the endpoint URL is not a plain http or https URL"
    return None


def _reason_in_variants(region: str, environ: Mapping[str, str]) -> str | None:
    """Return why the FIPS or dual-stack endpoint is not covered. The SDK has no address for it either."""
    for name in (_FIPS, _DUAL_STACK):
        if environ.get(name, "").lower() not in {"", "true", "false"}:
            return f"{name} is neither true nor false"
        if is_on(name, environ) and endpoint_url(environ):
            return f"{name} is set, and so is an endpoint URL"
    if is_on(_FIPS, environ) and partition_of(region) == _WITHOUT_FIPS:
        return f"{_FIPS} is set, but {region} has no FIPS endpoint"
    return None


def _reason_in_proxy(region: str, environ: Mapping[str, str]) -> str | None:
    """Apply the proxy variables to the host name of the service, as botocore does."""
    url = endpoint_url(environ) or f"https://{service_host(region, environ)}"
    variable = proxy_of_url(url, environ)
    return f"{variable} applies to {host_of(url)}" if variable else None


def service_host(region: str, environ: Mapping[str, str]) -> str:
    """Return the host name of S3 in a region, or an empty string if the partition is unknown."""
    if region == GLOBAL_REGION and not is_on(_FIPS, environ) and not is_on(_DUAL_STACK, environ):
        return f"s3.{dns_suffix(region)}"
    return _host("s3", region, environ)


def is_on(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether a variable such as AWS_USE_FIPS_ENDPOINT is true."""
    return environ.get(name, "").lower() == "true"


def _host(service: str, region: str, environ: Mapping[str, str]) -> str:
    """Return `service[-fips][.dualstack].region.suffix`, or an empty string if the partition is unknown."""
    suffix = dns_suffix(region)
    fips = "-fips" if is_on(_FIPS, environ) else ""
    dual_stack = ".dualstack" if is_on(_DUAL_STACK, environ) else ""
    return f"{service}{fips}{dual_stack}.{region}.{suffix}" if suffix else ""
