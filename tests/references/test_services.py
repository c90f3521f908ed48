"""Addresses of SSM and Secrets Manager, compared with botocore, and the configurations that are refused."""

from __future__ import annotations

import itertools

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider

from logferry.references.services import SERVICES, address_of, region_of

REGIONS = ("us-east-1", "eu-central-1", "mx-central-1", "us-gov-west-1", "us-gov-east-1", "cn-north-1")


@pytest.mark.parametrize("name", SERVICES)
def test_the_address_is_that_of_botocore(name: str) -> None:
    """Every combination of region, FIPS and dual-stack endpoint has the host name of botocore's rules."""
    loader = botocore.session.get_session().get_component("data_loader")
    rules = loader.load_service_model(name, "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))
    for region, fips, dual_stack in itertools.product(REGIONS, (False, True), (False, True)):
        if fips and region.startswith("cn-"):
            continue  # there are no FIPS endpoints in China
        theirs = provider.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual_stack)
        environ = {
            "AWS_USE_FIPS_ENDPOINT": str(fips).lower(),
            "AWS_USE_DUALSTACK_ENDPOINT": str(dual_stack),
        }
        ours = address_of(SERVICES[name], region, environ)
        assert f"https://{ours.host_header}" == theirs.url, (region, fips, dual_stack)
        assert (ours.port, ours.base_path, ours.tls) == (443, "/", True)


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://localhost:4566"}, ("localhost", 4566, "/", False)),
        ({"AWS_ENDPOINT_URL": "https://vpce.example.com/base"}, ("vpce.example.com", 443, "/base", True)),
        ({"AWS_ENDPOINT_URL": "https://vpce.example.com/base/"}, ("vpce.example.com", 443, "/base/", True)),
        (
            {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://one"},
            ("one", 443, "/", True),
        ),
        (
            {"AWS_ENDPOINT_URL": "http://all", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            ("secretsmanager.eu-central-1.amazonaws.com", 443, "/", True),
        ),
    ],
)
def test_a_configured_url_replaces_the_usual_address(
    environ: dict[str, str], address: tuple[str, int, str, bool]
) -> None:
    """The variable of the service takes precedence over that of all services."""
    found = address_of(SERVICES["secretsmanager"], "eu-central-1", environ)
    assert (found.host, found.port, found.base_path, found.tls) == address


def test_the_region_of_an_arn_takes_precedence() -> None:
    """A secret can be in another region than the function."""
    assert region_of("eu-west-1", {"AWS_REGION": "eu-central-1"}) == "eu-west-1"
    assert region_of("", {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-central-1"}) == "eu-central-1"


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AWS_REGION": ""}, "AWS_REGION is '', but SSM needs a region"),
        ({"AWS_REGION": "eu central"}, "AWS_REGION is 'eu central', but SSM needs a region"),
        ({"AWS_REGION": "moon-1"}, "the region moon-1 is in no known partition: set AWS_ENDPOINT_URL_SSM"),
        ({"AWS_ENDPOINT_URL_SSM": "ftp://user:hidden@x"}, "AWS_ENDPOINT_URL_SSM is not a plain http or https URL"),
        ({"AWS_ENDPOINT_URL": "http://x:99999"}, "AWS_ENDPOINT_URL is not a plain http or https URL"),
        (
            {"HTTPS_PROXY": "http://user:hidden@proxy:3128"},
            "HTTPS_PROXY applies to ssm.eu-central-1.amazonaws.com, but references are not resolved through a proxy",
        ),
        ({"AWS_ENDPOINT_URL_SSM": "http://x", "http_proxy": "http://proxy"}, "http_proxy applies to x"),
    ],
)
def test_a_configuration_that_is_not_supported_has_a_remedy(environ: dict[str, str], reason: str) -> None:
    """The mistake is found before a request, and a password in a URL is not shown."""
    with pytest.raises(ValueError, match=r": |, but") as caught:
        address_of(SERVICES["ssm"], environ.get("AWS_REGION", "eu-central-1"), environ)
    assert reason in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_no_proxy_exempts_the_service() -> None:
    """A VPC endpoint is reached without the proxy."""
    environ = {"HTTPS_PROXY": "http://proxy", "NO_PROXY": ".amazonaws.com"}
    assert address_of(SERVICES["ssm"], "eu-central-1", environ).host == "ssm.eu-central-1.amazonaws.com"
