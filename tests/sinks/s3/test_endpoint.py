"""The decision which client a configuration needs; `test_request_equals_botocore` covers the addresses."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock
from urllib.request import getproxies

import botocore
import pytest
from botocore.utils import should_bypass_proxies
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.aws.partitions import PARTITIONS, dns_suffix, dual_stack_suffix, partition_of
from logferry.http_client.proxies import proxy_variable
from logferry.sinks.s3.endpoint import needs_sdk, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
ACCESS_POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/logs"
OUTPOST = "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-01ac5d28a6a232904/accesspoint/logs"
OBJECT_LAMBDA = "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/logs"
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/credentials"}


@pytest.mark.parametrize(
    "environ",
    [
        KEYS,
        KEYS | {"AWS_SESSION_TOKEN": "t", "AWS_CA_BUNDLE": "/ca.pem"},
        CONTAINER,
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials"},
        KEYS | {"AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": ""},
        KEYS | {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "True"},
        KEYS | {"HTTP_PROXY": "http://proxy:3128"},
        KEYS | {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".amazonaws.com"},
        KEYS | {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "*"},
        KEYS | {"HTTPS_PROXY": "http://proxy:3128", "https_proxy": ""},
        KEYS | {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"},
    ],
    ids=str,
)
def test_needs_sdk_gives_no_reason_for_the_common_configuration(environ: Mapping[str, str]) -> None:
    """Static keys or the container endpoint, and no proxy for S3's host."""
    assert needs_sdk("logs", "eu-west-1", environ) is None


@pytest.mark.parametrize(
    ("bucket", "region", "environ", "reason"),
    [
        ("arn:aws:s3:eu-west-1:1:accesspoint/p", "eu-west-1", {}, "an ARN, but not that of an access point"),
        (OUTPOST, "eu-west-1", {}, "an ARN, but not that of an access point"),
        (OBJECT_LAMBDA, "eu-west-1", {}, "an ARN, but not that of an access point"),
        (ACCESS_POINT, "eu-west-1", {"AWS_ENDPOINT_URL": "https://x.example"}, "ARN .* and an endpoint URL is set"),
        (ACCESS_POINT, "eu-west-2", {"AWS_S3_USE_ARN_REGION": "false"}, "AWS_S3_USE_ARN_REGION"),
        (ACCESS_POINT, "cn-north-1", {}, "another partition than cn-north-1"),
        (ACCESS_POINT.replace("eu-west-1", "us-iso-east-1"), "us-iso-east-1", {}, "an unknown one"),
        ("logs--euc1-az1--x-s3", "eu-west-1", {}, "--x-s3 .S3 Express"),
        ("point--xa-s3", "eu-west-1", {}, "--xa-s3"),
        ("a/b", "eu-west-1", {}, "bucket name"),
        ("logs", None, {}, "AWS_REGION is not set"),
        ("logs", "eu-west", {}, "eu-west is in no known partition"),
        ("logs", "us-iso-east-1", {}, "no known partition"),
        ("logs", "eusc-de-east-1", {}, "no known partition"),
        ("logs", "aws-global", {}, "not the name of one region"),
        ("logs", "us-east-1-fips", {}, "not the name of one region"),
        ("logs", "eu-west-1", {"AWS_USE_FIPS_ENDPOINT": "yes"}, "AWS_USE_FIPS_ENDPOINT is neither true nor false"),
        ("logs", "cn-north-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "cn-north-1 has no FIPS endpoint"),
        ("logs", "eu-west-1", {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_ENDPOINT_URL": "https://x"}, "endpoint URL"),
        ("logs", "eu-west-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_ENDPOINT_URL": "https://x"}, "endpoint URL"),
        ("logs", "eu-west-1", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, "AWS_IGNORE_CONFIGURED"),
        ("logs", "eu-west-1", {"AWS_SIGV4A_SIGNING_REGION_SET": "*"}, "AWS_SIGV4A_SIGNING_REGION_SET"),
        ("logs", "eu-west-1", {"HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY applies to s3.eu-west-1.amazonaws.com"),
        ("logs", "eu-west-1", {"https_proxy": "http://p:1", "NO_PROXY": "example.com"}, "https_proxy applies"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL": "http://s3.example", "http_proxy": "x"}, "http_proxy applies"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "https://user:secret@s3.example"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "https://s3.example?x=y"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "https://s3_host"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "https://[::1]:9000"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "s3.example"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "http://s3.example:99999"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "http://s3.example/a/../b"}, "not a plain"),
        ("logs", "eu-west-1", {"AWS_SECRET_ACCESS_KEY": ""}, "not both set"),
        ("logs", "eu-west-1", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "neither static nor container"),
    ],
)  # fmt: skip
def test_needs_sdk_names_the_reason(bucket: str, region: str | None, environ: dict[str, str], reason: str) -> None:
    """Each configuration that the own client does not cover; a secret in a URL is not repeated."""
    found = needs_sdk(bucket, region, KEYS | environ)
    assert found is not None
    assert re.search(reason, found)
    assert "secret" not in found


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn"}, "assumed role"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://169.254.170.23/v1"}, "https"),
        ({}, "neither"),
    ],
)
def test_needs_sdk_names_the_source_of_credentials(environ: dict[str, str], reason: str) -> None:
    """Only static keys and the local container endpoint are covered."""
    assert reason in str(needs_sdk("logs", "eu-west-1", environ))


def test_resolve_fails_for_a_region_that_needs_the_sdk() -> None:
    """An address is never guessed."""
    with pytest.raises(ValueError, match="no known partition"):
        resolve("logs", "mars-north-1", KEYS)
    with pytest.raises(ValueError, match="not a plain"):
        resolve("logs", "eu-west-1", KEYS | {"AWS_ENDPOINT_URL": "ftp://x"})


def test_partitions_equal_botocores() -> None:
    """A region of AWS that botocore knows has the same DNS suffixes here, or none."""
    document = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())
    known = {"aws", "aws-us-gov", "aws-cn"}
    theirs = set()
    for partition in document["partitions"]:
        name, outputs = partition["id"], partition["outputs"]
        suffixes = outputs["dnsSuffix"], outputs["dualStackDnsSuffix"]
        for region in partition["regions"]:
            if region.endswith("-global"):
                continue
            expected = (name, *suffixes) if name in known else ("", "", "")
            assert (partition_of(region), dns_suffix(region), dual_stack_suffix(region)) == expected, region
        if name in known:
            regex = re.sub(r"^\^|\$$|\\(?=-)", "", partition["regionRegex"]).replace("(us|", "(?:us|")
            theirs.add((regex, name, *suffixes))
    assert set(PARTITIONS) == theirs


names = st.sampled_from(
    [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "Https_Proxy",
        "HTTPS_proxy",
        "all_proxy",
        "REQUEST_METHOD",
    ]
)
values = st.sampled_from(["", "http://p:1"])
no_proxies = st.sampled_from(["no_proxy", "NO_PROXY"])
some_entries = st.sampled_from(["a.example.com", "A.EXAMPLE.COM", ".example.com", "example.com", "a.example.com:9000"])
entries = some_entries | st.sampled_from(["", "*", "com,*", " x , .com ", "ple.com", "."])


@settings(deadline=None)
@given(
    proxies=st.dictionaries(names, values),
    bypass=st.dictionaries(no_proxies, entries),
    scheme=st.sampled_from(["http", "https"]),
    port=st.sampled_from([None, "9000"]),
)
def test_proxy_variable_agrees_with_botocore(
    proxies: dict[str, str], bypass: dict[str, str], scheme: str, port: str | None
) -> None:
    """A proxy applies exactly if botocore would use one."""
    environ = proxies | bypass
    with mock.patch.dict(os.environ, environ, clear=True):
        url = f"{scheme}://a.example.com{f':{port}' if port else ''}"
        theirs = {} if should_bypass_proxies(url) else getproxies()
    assert (proxy_variable(scheme, "a.example.com", port, environ) is not None) == (scheme in theirs)
