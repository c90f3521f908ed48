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

from logferry.aws.partitions import dns_suffix
from logferry.http_client.address import HTTP_PORT, HTTPS_PORT, authority
from logferry.http_client.proxies import proxy_variable
from logferry.references.grammar import SECRETS_MANAGER, SSM

if TYPE_CHECKING:
    from collections.abc import Mapping

_DUAL_STACK_SUFFIXES = {"amazonaws.com": "api.aws", "amazonaws.com.cn": "api.amazonwebservices.com.cn"}
_URL = r"(https?)://([A-Za-z0-9.-]+)(?::(\d{1,5}))?((?:/[A-Za-z0-9._~-]+)*)/?"


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


class Address(NamedTuple):
    """Where requests are sent, and the region that they are signed for."""

    host: str
    port: int
    base_path: str
    tls: bool
    region: str

    @property
    def host_header(self) -> str:
        """The value of the Host header: the port is omitted if it is the scheme's default."""
        return authority(self.host, self.port, HTTPS_PORT if self.tls else HTTP_PORT)


def address_of(service: Service, region: str, environ: Mapping[str, str]) -> Address:
    """Return the address of a service. Without `region`, the region of the function counts.

    Raise ValueError with the remedy.
    """
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", region, re.ASCII):
        raise ValueError(f"AWS_REGION is {region!a}, but {service.title} needs a region: use one such as eu-central-1")
    address = _configured(service, region, environ) or _usual(service, region, environ)
    port = str(address.port) if address.host_header != address.host else None
    if proxy := proxy_variable("https" if address.tls else "http", address.host, port, environ):
        raise ValueError(
            f"{proxy} applies to {address.host}, but references are not resolved through a proxy: use a VPC endpoint "
            f"for {service.title} and add {address.host} to NO_PROXY, or set the value itself"
        )
    return address


def _configured(service: Service, region: str, environ: Mapping[str, str]) -> Address | None:
    if _is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", environ):
        return None
    names = (f"AWS_ENDPOINT_URL_{service.variable}", "AWS_ENDPOINT_URL")
    name = next((name for name in names if environ.get(name)), None)
    if not name:
        return None
    match = re.fullmatch(_URL, environ[name], re.ASCII)
    if not match or not 0 < int(match[3] or 1) <= 65_535:  # noqa: PLR2004 - the highest port
        raise ValueError(f"{name} is not a plain http or https URL: use one such as https://{service.name}.example.com")
    tls = match[1] == "https"
    port = int(match[3] or (HTTPS_PORT if tls else HTTP_PORT))
    return Address(match[2].lower(), port, match[4], tls, region)


def _usual(service: Service, region: str, environ: Mapping[str, str]) -> Address:
    suffix = dns_suffix(region)
    if not suffix:
        raise ValueError(f"the region {region} is in no known partition: set AWS_ENDPOINT_URL_{service.variable}")
    fips, dual_stack = _is_on("AWS_USE_FIPS_ENDPOINT", environ), _is_on("AWS_USE_DUALSTACK_ENDPOINT", environ)
    # The usual endpoints of SSM in AWS GovCloud (US) are FIPS endpoints.
    is_usual = service.name == SSM and region.startswith("us-gov-") and not dual_stack
    name = f"{service.name}-fips" if fips and not is_usual else service.name
    # The usual endpoints of Secrets Manager are dual-stack endpoints.
    host = f"{name}.{region}.{_DUAL_STACK_SUFFIXES[suffix] if dual_stack and service.name == SSM else suffix}"
    return Address(host, HTTPS_PORT, "", tls=True, region=region)


def _is_on(name: str, environ: Mapping[str, str]) -> bool:
    return environ.get(name, "").lower() == "true"
