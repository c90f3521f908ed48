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

from logferry.aws.service_endpoint import endpoint_url, endpoint_variable, proxy_for, resolve, service_host
from logferry.http_client.address import parse_url
from logferry.references.grammar import SECRETS_MANAGER, SSM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.http_client.address import Address


class Service(NamedTuple):
    """One of the two services."""

    name: str
    """Name in signatures and host names."""
    title: str
    """Name in messages."""
    target: str
    """First part of the header X-Amz-Target."""
    action: str
    """Operation that returns values. IAM has the permission under the same name."""

    @property
    def permission(self) -> str:
        """Permission that the function's role needs."""
        return f"{self.name}:{self.action}"

    @property
    def endpoint_variable(self) -> str:
        """Variable with the endpoint URL."""
        return endpoint_variable(self.name)


SERVICES = {
    SSM: Service(SSM, "SSM", "AmazonSSM", "GetParameters"),
    SECRETS_MANAGER: Service(SECRETS_MANAGER, "Secrets Manager", SECRETS_MANAGER, "GetSecretValue"),
}


def region_of(region: str, environ: Mapping[str, str]) -> str:
    """Return the region of a reference: that of its ARN, or else that of the function."""
    return region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""


def address_of(service: Service, region: str, environ: Mapping[str, str]) -> Address:
    """Return the address of a service in a region. Raise ValueError with the remedy."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", region, re.ASCII):
        raise ValueError(f"AWS_REGION is {region!a}, but {service.title} needs a region: use one such as eu-central-1")
    variable, url = endpoint_url(service.name, environ)
    if url and not parse_url(url):
        raise ValueError(
            f"{variable} is not a plain http or https URL: use one such as https://{service.name}.example.com"
        )
    if not url and not service_host(service.name, region, environ):
        raise ValueError(f"the region {region} is in no known partition: set {service.endpoint_variable}")
    address = resolve(service.name, region, environ)
    if proxy := proxy_for(service.name, region, environ):
        raise ValueError(
            f"{proxy} applies to {address.host}, but references are not resolved through a proxy: use a VPC endpoint "
            f"for {service.title} and add {address.host} to NO_PROXY, or set the value itself"
        )
    return address
