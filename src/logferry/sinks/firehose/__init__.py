"""Amazon Data Firehose, through logferry's own client.

Guarantees:
- A configuration that the client does not cover is decided before anything is sent. Each `put` then reports the reason
  and the remedy.
- A proxy variable that applies to Firehose is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.aws.credentials import CredentialSource
from logferry.aws.service_endpoint import not_covered, proxy_for, resolve
from logferry.errors import SinkRejected
from logferry.sinks.firehose.data_records import MAX_LINES
from logferry.sinks.firehose.sink import SERVICE, FirehoseSink
from logferry.sinks.unusable import UnusableSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.http_client.proxy_tunnel import ProxyTunnel
    from logferry.sinks.base import Sink


def open_sink(
    stream: str, region: str, environ: Mapping[str, str], timeout_seconds: float, *, max_lines: int | None = None
) -> Sink:
    """Return the sink for a stream. Without `region`, the region of the function counts.

    `max_lines` is the maximum number of lines in a record of Firehose; None for Firehose's own limit.
    """
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if reason := not_covered(SERVICE, region, environ):
        return UnusableSink(reason)
    try:
        tunnel = _tunnel(region, environ)
    except SinkRejected as error:
        return UnusableSink(str(error))
    return FirehoseSink(
        stream=stream,
        region=region,
        address=resolve(SERVICE, region, environ),
        credentials=CredentialSource(environ),
        environ=environ,
        timeout_seconds=timeout_seconds,
        max_lines=max_lines or MAX_LINES,
        tunnel=tunnel,
    )


def _tunnel(region: str, environ: Mapping[str, str]) -> ProxyTunnel | None:
    """Return the proxy for Firehose, or None without one. Raises SinkRejected."""
    variable = proxy_for(SERVICE, region, environ)
    if not variable:
        return None
    from logferry.http_client.proxy_tunnel import ProxyTunnel  # noqa: PLC0415 - most functions have no proxy

    return ProxyTunnel(variable, environ[variable])
