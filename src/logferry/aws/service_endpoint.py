"""Address of a regional AWS service, and the configurations that logferry's own client does not cover. Pure.

Guarantees:
- `resolve` and `regional_host` give what botocore 1.40 gives for Firehose, Secrets Manager, SSM and STS. Contract tests
  compare them (tests/sinks/firehose/test_request_equals_botocore.py, tests/references/test_services.py,
  tests/aws/test_sts.py).
- Each configuration that `resolve` does not cover has a reason in `not_covered`, and nothing is sent then.

Design: S3 has other rules, for buckets and access points (`sinks.s3.endpoint`). Most other services have the host
name `service.region.suffix`.

References: AWS SDKs and Tools Reference Guide, "Service-specific endpoints" and "Dual-stack and FIPS endpoints".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.aws.credentials import reason_in_source
from logferry.aws.partitions import dns_suffix, dual_stack_suffix, partition_of
from logferry.http_client.address import HTTPS_PORT, Address, parse_url
from logferry.http_client.proxies import proxy_of_url

if TYPE_CHECKING:
    from collections.abc import Mapping

FIPS, DUAL_STACK = "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"
IGNORE_URLS = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
_VARIABLES = {"secretsmanager": "SECRETS_MANAGER"}
"""End of the variable with the endpoint URL, where it is not the name of the service."""
_ALWAYS_DUAL_STACK = ("secretsmanager",)
"""Services whose usual endpoints are dual-stack endpoints."""
_FIPS_IN_GOVCLOUD = ("ssm", "sts")
"""Services whose usual endpoints in AWS GovCloud (US) are FIPS endpoints."""
# The patterns are compiled on use, because compiling one costs 0.1 ms of CPU time.
_REGION = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PSEUDO_REGION = r"aws-global|fips-.*|.*-fips"


def endpoint_variable(service: str) -> str:
    """Return the variable with the endpoint URL of a service."""
    return f"AWS_ENDPOINT_URL_{_VARIABLES.get(service, service.upper())}"


def endpoint_url(service: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return name and value of the variable that sets the endpoint of a service, or two empty strings."""
    if is_on(IGNORE_URLS, environ):
        return "", ""
    for name in (endpoint_variable(service), "AWS_ENDPOINT_URL"):
        if url := environ.get(name):
            return name, url
    return "", ""


def resolve(service: str, region: str, environ: Mapping[str, str]) -> Address:
    """Return the address of a service in a region; ValueError if `not_covered` gives a reason.

    The base path is the path of the requests to a service without resources in its paths.
    """
    name, url = endpoint_url(service, environ)
    if url:
        address = parse_url(url)
        if not address:
            raise ValueError(f"{name} is not a plain http or https URL")
        if url.endswith("/") or not address.base_path:
            address.base_path += "/"
        return address
    host = service_host(service, region, environ)
    if not host:
        raise ValueError(f"the region {region} is in no known partition")
    return Address(host=host, port=HTTPS_PORT, base_path="/", tls=True)


def service_host(service: str, region: str, environ: Mapping[str, str]) -> str:
    """Return the usual host of a service, or an empty string if the partition is unknown."""
    return regional_host(service, region, fips=is_on(FIPS, environ), dual_stack=is_on(DUAL_STACK, environ))


def regional_host(service: str, region: str, *, fips: bool, dual_stack: bool) -> str:
    """Return `service[-fips].region.suffix`, or an empty string if the partition is unknown."""
    has_other_suffix = dual_stack and service not in _ALWAYS_DUAL_STACK
    suffix = dual_stack_suffix(region) if has_other_suffix else dns_suffix(region)
    has_other_name = fips and (
        dual_stack or not (service in _FIPS_IN_GOVCLOUD and partition_of(region) == "aws-us-gov")
    )
    return f"{service}{'-fips' if has_other_name else ''}.{region}.{suffix}" if suffix else ""


def proxy_for(service: str, region: str, environ: Mapping[str, str]) -> str:
    """Return the variable whose proxy applies to a service, as botocore finds it, or an empty string."""
    url = endpoint_url(service, environ)[1] or f"https://{service_host(service, region, environ)}"
    return proxy_of_url(url, environ) or ""


def is_on(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether a variable such as AWS_USE_FIPS_ENDPOINT is true."""
    return environ.get(name, "").lower() == "true"


def not_covered(service: str, region: str, environ: Mapping[str, str]) -> str:
    """Return why the own client cannot send requests to a service, with the remedy, or an empty string."""
    return _region_reason(region) or _address_reason(service, region, environ) or _credentials_reason(environ)


def _region_reason(region: str) -> str:
    if not region:
        return "AWS_REGION is not set; set it to the region of the service"
    if not re.fullmatch(_REGION, region, re.ASCII) or re.fullmatch(_PSEUDO_REGION, region, re.ASCII):
        return f"{region} is not the name of one region; use a name such as eu-central-1"
    return ""


def _address_reason(service: str, region: str, environ: Mapping[str, str]) -> str:
    name, url = endpoint_url(service, environ)
    # Three cases: 1. a URL that is not plain, 2. a URL and a choice of endpoints that contradict each other,
    # 3. a region whose host names are unknown.
    if url and not parse_url(url):
        return f"{name} is not a plain http or https URL; use one such as https://{service}.example.com"
    if url:
        for switch in (FIPS, DUAL_STACK):
            if is_on(switch, environ):
                return f"{switch} and {name} are both set; remove one of them"
    if not url and not service_host(service, region, environ):
        return f"the region {region} is in no known partition; set {endpoint_variable(service)}"
    return ""


def _credentials_reason(environ: Mapping[str, str]) -> str:
    reason = reason_in_source(environ)
    return f"{reason}; give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if reason else ""
