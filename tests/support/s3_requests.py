"""The PutObject request of each S3 client for the same object and moment, without sending it."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.session
from botocore.config import Config
from botocore.handlers import add_expect_header, add_retry_headers

from logferry.http_client.response import Response
from logferry.sinks.s3.sdk import PARAMETERS
from logferry.sinks.s3.sink import S3Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.records.model import StoredObject

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
UNSIGNED = frozenset({"user-agent", "accept-encoding"})
"""Headers that name the client, in which the requests differ."""


@dataclass(frozen=True)
class PutRequest:
    """A request as it would be sent."""

    url: str
    headers: Mapping[str, str]


async def own_request(
    stored: StoredObject,
    *,
    bucket: str,
    region: str,
    environ: Mapping[str, str],
    moment: int,
    object_headers: Mapping[str, str] | None = None,
) -> PutRequest:
    """Return the request of logferry's own client."""
    sink = S3Sink(
        bucket=bucket,
        prefix="",
        region=region,
        environ=environ,
        timeout_seconds=1,
        object_headers=object_headers,
        wall_clock=lambda: float(moment),
    )
    sent: list[PutRequest] = []
    scheme, host = "https" if sink._endpoint.tls else "http", sink._endpoint.host_header

    async def capture(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        assert (method, body) == ("PUT", stored.body)
        sent.append(PutRequest(f"{scheme}://{host}{path}", headers))
        return Response(200, {"etag": '"0"'}, b"")

    with mock.patch.object(sink._client, "request", capture):
        await sink.put(stored)
    (request,) = sent
    assert request.headers["host"] == host
    return PutRequest(request.url, {k: v for k, v in request.headers.items() if k not in UNSIGNED | {"host"}})


def botocore_request(
    stored: StoredObject,
    *,
    bucket: str,
    region: str,
    environ: Mapping[str, str],
    moment: int,
    object_headers: Mapping[str, str] | None = None,
) -> PutRequest:
    """Return the request that botocore prepares with the configuration of the SDK sink."""
    client, sent = _client(region, tuple(sorted(environ.items())))
    sent.clear()
    parameters = {
        "Bucket": bucket,
        "Key": stored.key,
        "Body": stored.body,
        "Metadata": stored.metadata,
        "ContentType": stored.content_type,
        "ChecksumCRC32": base64.b64encode(zlib.crc32(stored.body).to_bytes(4, "big")).decode(),
        **{PARAMETERS[name]: value for name, value in (object_headers or {}).items()},
    }
    now = dt.datetime.fromtimestamp(moment, dt.UTC).replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=now):
        client.put_object(**parameters)
    (request,) = sent
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    return PutRequest(request.url, {name: value for name, value in headers.items() if name not in UNSIGNED})


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@functools.lru_cache(maxsize=64)
def _client(region: str, environ: tuple[tuple[str, str], ...]) -> tuple[Any, list[Any]]:
    """Make a client that keeps its requests instead of sending them."""
    with mock.patch.dict(os.environ, dict(environ), clear=True):
        client = _session().create_client(
            "s3",
            region_name=region,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 1},
                defaults_mode="legacy",
                parameter_validation=False,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "auto"},
            ),
        )
        client._request_signer._credentials.get_frozen_credentials()
    client.meta.events.unregister("before-call.s3", add_expect_header)
    client.meta.events.unregister("request-created", add_retry_headers)
    sent: list[Any] = []

    def capture(request: Any, **_: object) -> Any:
        sent.append(request)
        return botocore.awsrequest.AWSResponse(request.url, 200, {"etag": '"0"'}, _Empty())

    client.meta.events.register("before-send", capture)
    return client, sent


def _session() -> Any:
    """Return a session that reads the environment at hand and shares botocore's loaded data with all others."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    return session


@functools.cache
def _loader() -> Any:
    return botocore.session.Session().get_component("data_loader")


class _Empty:
    """The body of a response that was not received."""

    def stream(self, **_: object) -> list[bytes]:
        """Return no parts."""
        return []
