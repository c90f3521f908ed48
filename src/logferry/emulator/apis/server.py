"""The HTTP server at AWS_LAMBDA_RUNTIME_API. All sandboxes of an environment share its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.apis.credentials_api import CredentialsApi
from logferry.emulator.apis.extensions_api import ExtensionsApi
from logferry.emulator.apis.runtime_api import RuntimeApi
from logferry.emulator.apis.telemetry_api import TelemetryApi
from logferry.emulator.processes.runtime import MAX_RESPONSE_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from logferry.emulator.sandbox import Sandbox

MAX_REQUEST_BYTES = 2 * MAX_RESPONSE_BYTES
"""Request size limit of the server, in bytes. It exceeds the documented limit, so that the API rejects first."""

KEEP_ALIVE_SECONDS = 24 * 60 * 60.0
"""Idle time of a connection, in seconds. AWS's server keeps the connections of a frozen process open."""

STOP_SECONDS = 1.0
"""Time limit for requests of dead processes while the server stops, in seconds."""


class Server:
    """An HTTP server on a free port of the loopback address."""

    def __init__(self, sandbox: Callable[[], Sandbox]) -> None:
        application = web.Application(middlewares=[_error_middleware(sandbox)], client_max_size=MAX_REQUEST_BYTES)
        for api in (RuntimeApi(sandbox), ExtensionsApi(sandbox), TelemetryApi(sandbox), CredentialsApi(sandbox)):
            application.add_routes(api.routes())
        self._runner = web.AppRunner(
            application, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, shutdown_timeout=STOP_SECONDS
        )

    async def start(self) -> str:
        """Bind, listen, and return `host:port`."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def stop(self) -> None:
        """Close the socket and every connection."""
        await self._runner.cleanup()


def _error_middleware(sandbox: Callable[[], Sandbox]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return a middleware that converts an ApiError to AWS's error response and records it."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            sandbox().timeline.add(
                "error", request.path, status=error.status, error_type=error.error_type, message=error.message
            )
            body = {"errorMessage": error.message, "errorType": error.error_type}
            return web.json_response(body, status=error.status)

    return middleware
