"""The one HTTP server at AWS_LAMBDA_RUNTIME_API. It serves every life of an environment at the same address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.apis.extensions_api import ExtensionsApi
from logferry.emulator.apis.runtime_api import RuntimeApi
from logferry.emulator.apis.telemetry_api import TelemetryApi
from logferry.emulator.processes.runtime import LARGEST_RESPONSE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from logferry.emulator.sandbox import Life

LARGEST_REQUEST = 2 * LARGEST_RESPONSE
"""Bytes. Past the documented limit, so that it is the API and not the server that refuses what is too large."""

KEEP_ALIVE_SECONDS = 24 * 60 * 60.0
"""A frozen process finds its idle connection as it left it: AWS's server does not close those."""

STOP_SECONDS = 1.0
"""For requests of processes that are dead by then."""


class Server:
    """Listens on a free port of the loopback address."""

    def __init__(self, life: Callable[[], Life]) -> None:
        application = web.Application(middlewares=[_refusals(life)], client_max_size=LARGEST_REQUEST)
        for api in (RuntimeApi(life), ExtensionsApi(life), TelemetryApi(life)):
            application.add_routes(api.routes())
        self._runner = web.AppRunner(
            application, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, shutdown_timeout=STOP_SECONDS
        )

    async def start(self) -> str:
        """Bind, listen; returns `host:port`."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def stop(self) -> None:
        """Close the socket and every connection."""
        await self._runner.cleanup()


def _refusals(life: Callable[[], Life]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Turn a RefusalError into the answer AWS would give, and write it down."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusalError as refusal:
            life().timeline.add(
                "refuse",
                request.path,
                status=refusal.status,
                error_type=refusal.error_type,
                message=refusal.message,
            )
            body = {"errorMessage": refusal.message, "errorType": refusal.error_type}
            return web.json_response(body, status=refusal.status)

    return middleware
