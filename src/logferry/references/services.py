"""SSM and Secrets Manager as HTTP services: names, addresses, and what their client does not support. Pure.

Guarantees:
- `address_of` gives the address that botocore 1.40 gives, with FIPS and dual-stack endpoints and configured URLs. A
  contract test compares them (tests/references/test_services.py).
- A configuration that the client does not support is an error with the remedy, before anything is sent.

References: AWS SDKs and Tools Reference Guide, "Service-specific endpoints" and "Dual-stack and FIPS endpoints".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logferry.aws.partitions import dns_suffix, dual_stack_suffix
from logferry.aws.service_endpoint import is_on
from logferry.http_client.address import HTTPS_PORT, Address, parse_url
from logferry.http_client.proxies import proxy_variable
from logferry.references.grammar import SECRETS_MANAGER, SSM

if TYPE_CHECKING:
    from collections.abc import Mapping


class Service(NamedTuple):
    """One of the two services."""

    name: str
    """Name in signatures and host names."""
    title: str
    """Name in messages."""
    target: str
    """First part of the header X-Amz-Target."""
    variable: str
    """Last part of the variable with the endpoint URL."""
    action: str
    """Operation that returns values. IAM has the permission under the same name."""

    @property
    def permission(self) -> str:
        """Permission that the function's role needs."""
        return f"{self.name}:{self.action}"


SERVICES = {
    SSM: Service(SSM, "SSM", "AmazonSSM", "SSM", "GetParameters"),
    SECRETS_MANAGER: Service(SECRETS_MANAGER, "Secrets Manager", SECRETS_MANAGER, "SECRETS_MANAGER", "GetSecretValue"),
}


def region_of(region: str, environ: Mapping[str, str]) -> str:
    """Return the region of a reference: that of its ARN, or else that of the function."""
    return region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""


def address_of(service: Service, region: str, environ: Mapping[str, str]) -> Address:
    """Return the address of a service in a region. Raise ValueError with the remedy."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", region, re.ASCII):
        raise ValueError(f"AWS_REGION is {region!a}, but {service.title} needs a region: use one such as eu-central-1")
    address = _configured(service, environ) or _usual(service, region, environ)
    port = str(address.port) if address.host_header != address.host else None
    if proxy := proxy_variable("https" if address.tls else "http", address.host, port, environ):
        raise ValueError(
            f"{proxy} applies to {address.host}, but references are not resolved through a proxy: use a VPC endpoint "
            f"for {service.title} and add {address.host} to NO_PROXY, or set the value itself"
        )
    return address


def _configured(service: Service, environ: Mapping[str, str]) -> Address | None:
    if is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", environ):
        return None
    names = (f"AWS_ENDPOINT_URL_{service.variable}", "AWS_ENDPOINT_URL")
    name = next((name for name in names if environ.get(name)), None)
    if not name:
        return None
    address = parse_url(environ[name])
    if not address:
        raise ValueError(f"{name} is not a plain http or https URL: use one such as https://{service.name}.example.com")
    return address


def _usual(service: Service, region: str, environ: Mapping[str, str]) -> Address:
    fips, dual_stack = is_on("AWS_USE_FIPS_ENDPOINT", environ), is_on("AWS_USE_DUALSTACK_ENDPOINT", environ)
    # The usual endpoints of Secrets Manager are dual-stack endpoints.
    suffix = dual_stack_suffix(region) if dual_stack and service.name == SSM else dns_suffix(region)
    if not suffix:
        raise ValueError(f"the region {region} is in no known partition: set AWS_ENDPOINT_URL_{service.variable}")
    # The usual endpoints of SSM in AWS GovCloud (US) are FIPS endpoints.
    is_usual = service.name == SSM and region.startswith("us-gov-") and not dual_stack
    name = f"{service.name}-fips" if fips and not is_usual else service.name
    return Address(host=f"{name}.{region}.{suffix}", port=HTTPS_PORT, base_path="", tls=True)
