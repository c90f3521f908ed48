"""Checks of a receiver on the web: network, headers, and an object without records.

Guarantees:
- The canary is sent by the sink of the extension, in the format and with the headers of the settings.
- No value of a header, and neither path nor query of the URL, is in a step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logferry.cli.check import sink_put
from logferry.cli.check.line_canary import line_canary
from logferry.cli.check.network import network_steps, proxy_steps
from logferry.cli.check.result import Step
from logferry.errors import RecordsRejected
from logferry.http_client.proxies import proxy_variable
from logferry.shipper.upload_target import open_target
from logferry.sinks.https.responses import CONNECTION_REMEDIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from logferry.cli.check.context import Context


async def receiver_steps(context: Context) -> AsyncIterator[Step]:
    """Yield the steps for a receiver."""
    yield _headers(context)
    is_connected = True
    async for step in _network(context):
        is_connected = is_connected and step.status != "failed"
        yield step
    if is_connected:
        yield await _put(context)


def _headers(context: Context) -> Step:
    names = sorted(context.settings.https.headers) if context.settings.https else []
    if not names:
        return Step("headers", "skipped", "neither LOGFERRY_HTTPS_TOKEN nor LOGFERRY_HTTPS_HEADERS is set")
    return Step("headers", "ok", f"further headers are {', '.join(names)}")


async def _network(context: Context) -> AsyncIterator[Step]:
    """Yield the steps for the receiver, or for the proxy in front of it."""
    place, environ = context.settings.destination, context.environ
    host, port = place.address
    is_local = host in {"localhost", "::1"} or host.startswith("127.")
    variable = None if is_local else proxy_variable(place.scheme, host, str(port), environ)
    if not variable:
        async for step in network_steps(host, port, environ, tls=place.scheme == "https", remedies=CONNECTION_REMEDIES):
            yield step
        return
    async for step in proxy_steps(variable, environ):
        yield step


async def _put(context: Context) -> Step:
    target = open_target(context.settings, context.environ)
    stored, started = line_canary(target, context.environ), time.monotonic()
    try:
        error = await sink_put.put_bounded(target.sink, stored, timeout_seconds=context.settings.upload_timeout)
    except RecordsRejected as rejected:
        text = str(rejected).partition(": ")[2]
        return Step(sink_put.NAME, "failed", text, remedy="see the settings of the receiver")
    if error:
        text, remedy = sink_put.text_and_remedy(error)
        return Step(sink_put.NAME, "failed", text, remedy=remedy)
    milliseconds = (time.monotonic() - started) * 1000
    return Step(sink_put.NAME, "ok", f"accepted in {milliseconds:.0f} ms: an object without records, which remains")
