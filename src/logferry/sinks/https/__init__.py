"""A receiver on the web that takes log records as NDJSON or OTLP/JSON, such as the OpenTelemetry Collector."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logferry.errors import SinkRejected
from logferry.http_client.client import HttpClient
from logferry.http_client.proxies import proxy_variable
from logferry.http_client.tls import TlsContexts
from logferry.sinks.https.responses import CONNECTION_REMEDIES
from logferry.sinks.https.sink import HttpsSink
from logferry.sinks.unusable import UnusableSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.http_client.proxy_tunnel import ProxyTunnel
    from logferry.sinks.base import Sink

MAX_RESPONSE_BYTES = 1024 * 1024
"""Limit of a response. A receiver can name each record that it rejects."""
_LOOPBACK = r"localhost|127(?:\.\d{1,3}){3}|::1"


def open_sink(
    *,
    scheme: str,
    authority: str,
    address: tuple[str, int],
    path: str,
    form: str,
    compression: str,
    headers: Mapping[str, str],
    environ: Mapping[str, str],
    timeout_seconds: float,
) -> Sink:
    """Return the sink for a receiver.

    `authority` and `path` are parts of its URL, and `address` is the host and port of `authority`. `form` is the format
    of the objects, and `headers` are further headers of each request.
    """
    host, port = address
    try:
        tunnel = _tunnel(scheme, host, port, environ)
    except SinkRejected as error:
        return UnusableSink(str(error))
    client = HttpClient(
        host,
        port,
        TlsContexts(host, environ) if scheme == "https" else None,
        timeout_seconds=timeout_seconds,
        remedies=CONNECTION_REMEDIES,
        idempotent=False,
        max_response_bytes=MAX_RESPONSE_BYTES,
        tunnel=tunnel,
    )
    return HttpsSink(
        client=client,
        origin=f"{scheme}://{authority}",
        path=path,
        form=form,
        compression=compression,
        headers=headers,
    )


def _tunnel(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> ProxyTunnel | None:
    """Return the proxy for a host, or None without one. A loopback address has none. Raises SinkRejected."""
    if re.fullmatch(_LOOPBACK, host, re.ASCII):
        return None
    variable = proxy_variable(scheme, host, str(port), environ)
    if variable is None:
        return None
    from logferry.http_client.proxy_tunnel import ProxyTunnel  # noqa: PLC0415 - most functions have no proxy

    return ProxyTunnel(variable, environ[variable])
