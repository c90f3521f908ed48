"""logferry's own PutRecordBatch request equals botocore's: URL, signed headers, body and Authorization."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.session
import pytest
from botocore.config import Config
from botocore.handlers import add_retry_headers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logferry.aws.service_endpoint import not_covered, resolve
from logferry.http_client.response import Response
from logferry.records.model import StoredObject
from support.firehose_stub import STREAM, firehose_sink
from support.s3_requests import KEYS, UNSIGNED

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.timeout(300)

MOMENT = 1_795_000_000
REGIONS = ["us-east-1", "eu-central-1", "il-central-1", "us-gov-west-1", "us-gov-east-1", "cn-north-1", "mx-central-1"]
ENDPOINTS = [
    "http://127.0.0.1:9000",
    "http://localhost:4566/",
    "https://Firehose.Example.COM",
    "https://firehose.example.com:8443/base/path",
    "https://firehose.example.com/base/",
    "https://vpce-0123-abcd.firehose.eu-west-1.vpce.amazonaws.com",
]
SWITCHES = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
BODY = b'{"line":1}\n{"line":2}\n'


async def own_request(body: bytes, *, environ: Mapping[str, str], stream: str, moment: int) -> dict[str, Any]:
    """Return the request of the sink for an object that fits into one record."""
    sink = firehose_sink(environ, stream=stream, wall_clock=lambda: float(moment))
    sent: list[dict[str, Any]] = []
    address = sink._address

    async def capture(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        url = f"{'https' if address.tls else 'http'}://{address.host_header}{path}"
        sent.append({"method": method, "url": url, "headers": headers, "body": body})
        return Response(200, {}, b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"a"}]}')

    with mock.patch.object(sink._client, "request", capture):
        await sink.put(StoredObject("key", body, {}, "application/x-ndjson"))
    (request,) = sent
    assert request["headers"]["host"] == address.host_header
    return request | {"headers": {k: v for k, v in request["headers"].items() if k not in UNSIGNED | {"host"}}}


def botocore_request(body: bytes, *, environ: Mapping[str, str], stream: str, moment: int) -> dict[str, Any]:
    """Return the request that botocore prepares for the same record."""
    client, sent = _client(tuple(sorted(environ.items())))
    sent.clear()
    now = dt.datetime.fromtimestamp(moment, dt.UTC).replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=now):
        client.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": body}])
    (request,) = sent
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    return {
        "method": request.method,
        "url": request.url,
        "headers": {name: value for name, value in headers.items() if name not in UNSIGNED},
        "body": request.body,
    }


@functools.lru_cache(maxsize=128)
def _client(environ: tuple[tuple[str, str], ...]) -> tuple[Any, list[Any]]:
    """Make a client that keeps its requests instead of sending them."""
    with mock.patch.dict(os.environ, dict(environ), clear=True):
        session = botocore.session.Session()
        config = Config(retries={"mode": "standard", "total_max_attempts": 1})
        client = session.create_client("firehose", region_name=dict(environ)["AWS_REGION"], config=config)
        client._request_signer._credentials.get_frozen_credentials()
    client.meta.events.unregister("request-created", add_retry_headers)
    sent: list[Any] = []

    def capture(request: Any, **_: object) -> Any:
        sent.append(request)
        raw = mock.Mock()
        raw.stream.return_value = [b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"a"}]}']
        return botocore.awsrequest.AWSResponse(request.url, 200, {}, raw)

    client.meta.events.register("before-send", capture)
    return client, sent


def assert_equal(environ: Mapping[str, str], *, body: bytes = BODY, stream: str = STREAM, moment: int = MOMENT) -> None:
    """Fail unless both clients make the same request."""
    own = asyncio.run(own_request(body, environ=environ, stream=stream, moment=moment))
    reference = botocore_request(body, environ=environ, stream=stream, moment=moment)
    # botocore keeps the case of a host name, which has no meaning.
    assert own["url"].lower() == reference["url"].lower()
    assert own | {"url": ""} == reference | {"url": ""}


@pytest.mark.parametrize("switches", [*itertools.product((False, True), repeat=2)])
def test_request_equals_botocores_in_every_partition(switches: tuple[bool, bool]) -> None:
    """FIPS and dual-stack endpoints have their own host names."""
    chosen = {name: "true" for name, is_on in zip(SWITCHES, switches, strict=False) if is_on}
    for region in REGIONS:
        environ = KEYS | chosen | {"AWS_REGION": region}
        assert not not_covered("firehose", region, environ)
        assert_equal(environ)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_FIREHOSE", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("is_ignored", [False, True])
def test_request_equals_botocores_for_every_endpoint_url(*, variable: str, endpoint: str, is_ignored: bool) -> None:
    """The variable of the service precedes the general one, and both can be switched off."""
    environ = KEYS | {"AWS_REGION": "eu-west-1", variable: endpoint}
    environ |= {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"} if is_ignored else {}
    environ |= {"AWS_ENDPOINT_URL": "http://other:1"} if variable == "AWS_ENDPOINT_URL_FIREHOSE" else {}
    assert not not_covered("firehose", "eu-west-1", environ)
    assert_equal(environ)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=st.binary(min_size=1, max_size=2000).map(lambda body: body.replace(b"\n", b" ")),
    stream=st.from_regex(r"[a-zA-Z0-9_.-]{1,64}", fullmatch=True),
    token=st.sampled_from(["", "token/with+signs=="]),
    moment=st.integers(0, 4_000_000_000),
)
def test_request_equals_botocores_for_any_record(*, body: bytes, stream: str, token: str, moment: int) -> None:
    """Any bytes, any stream, any moment, and credentials with and without a token."""
    environ = KEYS | {"AWS_REGION": "eu-west-1"} | ({"AWS_SESSION_TOKEN": token} if token else {})
    assert_equal(environ, body=body, stream=stream, moment=moment)


def test_address_equals_botocores_for_every_region() -> None:
    """A region of AWS that botocore knows has the same host name here, or none."""
    document = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())
    known = {"aws", "aws-us-gov", "aws-cn"}
    for partition in document["partitions"]:
        for region in partition["regions"]:
            environ = KEYS | {"AWS_REGION": region}
            if region.endswith("-global") or partition["id"] not in known:
                assert not_covered("firehose", region, environ), region
                continue
            with pytest.MonkeyPatch.context():
                assert resolve("firehose", region, environ).host == (
                    f"firehose.{region}.{partition['outputs']['dnsSuffix']}"
                )
