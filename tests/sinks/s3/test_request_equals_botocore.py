"""logferry's own PutObject request equals botocore's: URL, signed headers and Authorization, for the same moment."""

from __future__ import annotations

import asyncio
import string
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logferry.records.model import StoredObject
from logferry.settings import Settings
from logferry.sinks.s3.endpoint import needs_sdk
from support.s3_requests import KEYS, botocore_request, own_request

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.timeout(300)

MOMENT = 1_795_000_000
BUCKETS = [
    "logs",
    "abc",
    "my-logs-2026",
    "logs.with.dots",
    "Legacy_Bucket",
    "CAPITALS",
    "1numeric",
    "a" * 63,
    "a" * 64,
    "double--hyphen",
    "x-s3alias",
]
REGIONS = [
    "us-east-1",
    "us-east-2",
    "eu-central-1",
    "eu-south-2",
    "ap-southeast-7",
    "il-central-1",
    "mx-central-1",
    "us-gov-west-1",
    "cn-north-1",
    "cn-northwest-1",
]
ENDPOINTS = [
    "",
    "http://127.0.0.1:9000",
    "http://localhost:4566/",
    "http://minio:80",
    "https://minio.example:443",
    "https://s3.example.com",
    "https://S3.Example.COM",
    "https://s3.example.com:8443/base/path",
    "https://s3.example.com/base/",
    "https://s3.eu-central-1.amazonaws.com",
    "https://s3.amazonaws.com",
    "https://bucket.vpce-0123-abcd.s3.eu-west-1.vpce.amazonaws.com",
    "https://abc123.r2.cloudflarestorage.com",
    "http://10.0.0.1",
    "http://host-with-hyphen:1",
]
OBJECT = StoredObject("function=f/dt=2026-11-21/x.gz", b"body", {"records": "1"}, "application/x-ndjson")
header_text = st.text(st.sampled_from(string.printable[:95]), max_size=40).map(str.strip)
objects = st.builds(
    StoredObject,
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map(
        lambda key: key.lstrip("/") or "k"
    ),
    body=st.binary(max_size=2000),
    metadata=st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True), header_text, max_size=5),
    content_type=header_text.filter(bool),
)


def environ_with(endpoint: str, token: str = "") -> dict[str, str]:
    """Return the variables of an environment with that endpoint URL."""
    return (
        KEYS | ({"AWS_ENDPOINT_URL_S3": endpoint} if endpoint else {}) | ({"AWS_SESSION_TOKEN": token} if token else {})
    )


def address(url: str) -> tuple[str, str | None, int, str, str]:
    """Return the parts of a URL, with the host name in lower case and the default port added."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme], parts.path, parts.query


def assert_equal(
    stored: StoredObject,
    *,
    bucket: str,
    region: str,
    environ: Mapping[str, str],
    moment: int = MOMENT,
    object_headers: Mapping[str, str] | None = None,
) -> None:
    """Fail unless both clients make the same request."""
    given = {"bucket": bucket, "region": region, "environ": environ, "moment": moment, "object_headers": object_headers}
    own = asyncio.run(own_request(stored, **given))  # type: ignore[arg-type]
    reference = botocore_request(stored, **given)  # type: ignore[arg-type]
    assert address(own.url) == address(reference.url)
    assert own.headers == reference.headers


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [(region, "") for region in REGIONS]
    + [(region, endpoint) for endpoint in ENDPOINTS if endpoint for region in ("us-east-1", "eu-south-2")],
)
def test_request_equals_botocores_for_every_address(region: str, endpoint: str) -> None:
    """Each bucket name, region and endpoint URL of the table is covered by the own client, with the same request."""
    environ = environ_with(endpoint)
    for bucket in BUCKETS:
        assert needs_sdk(bucket, region, environ) is None
        assert_equal(OBJECT, bucket=bucket, region=region, environ=environ)


VARIANTS = [
    {"AWS_USE_FIPS_ENDPOINT": fips, "AWS_USE_DUALSTACK_ENDPOINT": dual_stack}
    for fips in ("", "true")
    for dual_stack in ("", "true")
]
ARNS = [
    "arn:aws:s3:{region}:123456789012:accesspoint/logs",
    "arn:aws:s3:{region}:123456789012:accesspoint:my-access-point",
    "arn:aws:s3:{region}:123456789012:accesspoint/" + 50 * "a",
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(variant.values()) or "plain")
def test_request_equals_botocores_for_every_fips_and_dual_stack_endpoint(variant: dict[str, str]) -> None:
    """Each bucket name and region has the address of botocore; China has no FIPS endpoints."""
    environ = environ_with("") | variant
    for region in REGIONS:
        for bucket in BUCKETS:
            if region.startswith("cn-") and variant["AWS_USE_FIPS_ENDPOINT"]:
                assert "no FIPS endpoint" in str(needs_sdk(bucket, region, environ))
                continue
            assert needs_sdk(bucket, region, environ) is None
            assert_equal(OBJECT, bucket=bucket, region=region, environ=environ)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(variant.values()) or "plain")
def test_request_equals_botocores_for_every_access_point(variant: dict[str, str]) -> None:
    """The region of the ARN decides, whatever the region of the function is."""
    environ = environ_with("") | variant
    compared = 0
    for region in REGIONS:
        for arn in ARNS:
            bucket = arn.format(region=region)
            if region.startswith("cn-"):
                bucket = bucket.replace("arn:aws:", "arn:aws-cn:")
            if region.startswith("us-gov-"):
                bucket = bucket.replace("arn:aws:", "arn:aws-us-gov:")
            for own_region in (region, "eu-north-1", "us-east-1"):
                if needs_sdk(bucket, own_region, environ) is None:
                    assert_equal(OBJECT, bucket=bucket, region=own_region, environ=environ)
                    compared += 1
    assert compared == (66 if variant["AWS_USE_FIPS_ENDPOINT"] else 72), "regions of China have no FIPS endpoint"


@pytest.mark.parametrize(
    ("arn", "host", "service"),
    [
        (
            "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-01ac5d28a6a232904/accesspoint/logs",
            "logs-123456789012.op-01ac5d28a6a232904.s3-outposts.eu-west-1.amazonaws.com",
            "s3-outposts",
        ),
        (
            "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/logs",
            "logs-123456789012.s3-object-lambda.eu-west-1.amazonaws.com",
            "s3-object-lambda",
        ),
    ],
)
def test_sdk_covers_the_arns_that_the_own_client_does_not_cover(arn: str, host: str, service: str) -> None:
    """The configuration of the SDK sink gives an address and a signature for them."""
    environ = environ_with("")
    assert "ARN" in str(needs_sdk(arn, "eu-west-1", environ))
    request = botocore_request(OBJECT, bucket=arn, region="eu-west-1", environ=environ, moment=MOMENT)
    assert urlsplit(request.url).hostname == host
    assert f"/eu-west-1/{service}/aws4_request" in request.headers["authorization"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stored=objects,
    bucket=st.sampled_from(BUCKETS) | st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True),
    region=st.sampled_from(REGIONS),
    endpoint=st.sampled_from(ENDPOINTS),
    token=st.sampled_from(["", "token/with+signs=="]),
    moment=st.integers(0, 4_000_000_000),
)
def test_request_equals_botocores_for_any_object(
    *, stored: StoredObject, bucket: str, region: str, endpoint: str, token: str, moment: int
) -> None:
    """Any key, body, metadata, token and moment give the same request, unless the SDK is used anyway."""
    environ = environ_with(endpoint, token)
    if needs_sdk(bucket, region, environ) is None:
        assert_equal(stored, bucket=bucket, region=region, environ=environ, moment=moment)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    scheme=st.sampled_from(["http", "https"]),
    host=st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,20}[a-zA-Z0-9]", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
    path=st.from_regex(r"(/[A-Za-z0-9_.~-]{1,8}){0,3}/?", fullmatch=True),
)
def test_request_equals_botocores_for_any_endpoint_url(scheme: str, host: str, port: int | None, path: str) -> None:
    """An endpoint URL that the own client accepts leads to botocore's address."""
    environ = environ_with(f"{scheme}://{host}{f':{port}' if port else ''}{path}")
    if needs_sdk("logs", "eu-west-1", environ) is None:
        assert_equal(OBJECT, bucket="logs", region="eu-west-1", environ=environ)


pairs = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9 .:/+@_-]{1,20}", fullmatch=True)
    .map(str.strip)
    .filter(lambda n: n and "aws:" not in n.lower()),
    st.from_regex(r"[A-Za-z0-9 .:/+@_-]{0,20}", fullmatch=True).map(str.strip),
    max_size=5,
).map(lambda found: ",".join(f"{name}={value}" for name, value in found.items()))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    encryption=st.sampled_from(["", "AES256", "aws:kms", "aws:kms:dsse"]),
    key=st.sampled_from(
        ["", "alias/logs", "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
    ),
    context=pairs,
    bucket_key=st.booleans(),
    storage_class=st.sampled_from(["", "standard_ia", "INTELLIGENT_TIERING"]),
    tags=pairs,
    owner=st.sampled_from(["", "123456789012"]),
    acl=st.sampled_from(["", "bucket-owner-full-control"]),
    payer=st.booleans(),
    if_none_match=st.booleans(),
)
def test_request_equals_botocores_for_any_options(
    *,
    encryption: str,
    key: str,
    context: str,
    bucket_key: bool,
    storage_class: str,
    tags: str,
    owner: str,
    acl: str,
    payer: bool,
    if_none_match: bool,
) -> None:
    """Each valid combination gives the same headers, and the same signature over them."""
    is_kms = encryption.startswith("aws:kms")
    environ = {
        "LOGFERRY_DESTINATION": "s3://my-log-bucket/logs",
        "AWS_REGION": "eu-central-1",
        "LOGFERRY_S3_ENCRYPTION": encryption,
        "LOGFERRY_S3_KMS_KEY": key if is_kms else "",
        "LOGFERRY_S3_KMS_CONTEXT": context if is_kms else "",
        "LOGFERRY_S3_BUCKET_KEY": str(bucket_key and encryption == "aws:kms"),
        "LOGFERRY_S3_STORAGE_CLASS": storage_class,
        "LOGFERRY_S3_TAGS": tags,
        "LOGFERRY_S3_EXPECTED_OWNER": owner,
        "LOGFERRY_S3_ACL": acl,
        "LOGFERRY_S3_REQUEST_PAYER": str(payer),
        "LOGFERRY_S3_IF_NONE_MATCH": str(if_none_match),
    }
    options = Settings.from_environ(environ).s3
    assert options is not None
    assert_equal(OBJECT, bucket="logs", region="eu-central-1", environ=environ_with(""), object_headers=options.headers)
