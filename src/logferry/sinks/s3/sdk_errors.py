"""Errors of the AWS SDK as errors of a sink.

Guarantees:
- A message names the host that cannot be reached, and whether it is the proxy.
- A message is bounded and contains no password of a proxy or an endpoint URL.

Design: `sdk` has imported the SDK before this module, without its certificates (`sdk_session`).

References: boto3, "Error handling".
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import aiohttp
from botocore import exceptions as boto

from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.http_client.failures import CHECK_PROXY, bounded, connect_failure, remedies
from logferry.sinks.s3 import errors

_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


def translated(where: str, error: Exception) -> SinkError:
    """Return an error of the SDK, of its HTTP client or of the system as SinkUnavailable or SinkRejected."""
    # Six cases: 1. a response of S3, 2. no credentials, 3. an invalid parameter, 4. the proxy cannot be reached,
    # 5. the host cannot be reached, 6. any other failure.
    if isinstance(error, boto.ClientError):
        return _classified(where, error)
    if isinstance(error, _NO_CREDENTIALS):
        return SinkRejected(f"{where}: {_bounded(error)}; the environment has no usable AWS credentials")
    if isinstance(error, boto.ParamValidationError):
        return SinkRejected(f"{where}: {_bounded(error)}; correct LOGFERRY_DESTINATION")
    if isinstance(error, boto.ProxyConnectionError):
        return SinkUnavailable(f"{where}: {_bounded(error)}; {CHECK_PROXY}")
    if isinstance(error, boto.EndpointConnectionError):
        return SinkUnavailable(f"{where}: {_connect_failure(error)}")
    return SinkUnavailable(f"{where}: {_bounded(repr(error))}")


def code_of(error: boto.ClientError) -> str:
    """Return S3's code of a response, or an empty string."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _classified(where: str, error: boto.ClientError) -> SinkError:
    response = error.response
    sentence = bounded(str(response.get("Error", {}).get("Message", "")))
    metadata = response.get("ResponseMetadata", {})
    classified = errors.classify(where, int(metadata.get("HTTPStatusCode", 0)), code_of(error), sentence)
    classified.retry_after = errors.retry_after(metadata.get("HTTPHeaders", {}), now=time.time())
    return classified


def _connect_failure(error: boto.EndpointConnectionError) -> str:
    """Return the message for a host without a connection. It is the proxy's if it is not that of the URL."""
    cause = error.kwargs.get("error")
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return _bounded(repr(error))
    is_proxy = cause.host != urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname
    return connect_failure(
        cause.host,
        cause.port or 0,
        cause.os_error,
        remedies(CHECK_PROXY) if is_proxy else errors.CONNECTION_REMEDIES,
        is_unresolved=isinstance(cause, aiohttp.ClientConnectorDNSError),
    )


def _bounded(error: object) -> str:
    return bounded(str(error))
