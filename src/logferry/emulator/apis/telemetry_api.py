"""Subscriptions: the Telemetry API `2022-07-01` and the Logs API `2020-08-15`.

Guarantees:
- An extension uses one of the two APIs, as AWS documents.
- A second subscription through the Telemetry API is a 500, as in AWS's Managed Instances emulator.
  The Logs API documents that a subscription may be repeated.

Design: TelemetryBehaviour sets the status of both APIs. Tests use it for a client's fallback from one
API to the other and from both.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.apis.extensions_api import IDENTIFIER_HEADER
from logferry.emulator.telemetry.subscription import LOGS_API, TELEMETRY_API, parse_subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.processes.extensions import Extension
    from logferry.emulator.sandbox import Sandbox

TELEMETRY_PATH = "/2022-07-01/telemetry"
LOGS_PATH = "/2020-08-15/logs"
MAX_BODY_BYTES = 1024 * 1024
"""Size limit of a subscription, in bytes, as in AWS's Managed Instances emulator."""


class TelemetryApi:
    """The request handlers; `sandbox` returns the current sandbox at the time of a request."""

    def __init__(self, sandbox: Callable[[], Sandbox]) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the server."""
        return [web.put(TELEMETRY_PATH, self.telemetry), web.put(LOGS_PATH, self.logs)]

    async def telemetry(self, request: web.Request) -> web.Response:
        """Subscribe through the Telemetry API."""
        return await self._subscribe(request, TELEMETRY_API, self._sandbox().config.telemetry.telemetry_status)

    async def logs(self, request: web.Request) -> web.Response:
        """Subscribe through the Logs API, which does not exist on Managed Instances."""
        config = self._sandbox().config
        status = HTTPStatus.NOT_FOUND if config.managed_instances else config.telemetry.logs_status
        return await self._subscribe(request, LOGS_API, status)

    async def _subscribe(self, request: web.Request, api: str, status: int) -> web.Response:
        body = await request.read()
        sandbox = self._sandbox()
        try:
            if status != HTTPStatus.OK:
                return _configured_failure(api, status)
            extension = sandbox.registry.identify(request.headers.get(IDENTIFIER_HEADER))
            schema = self._accept(sandbox, extension, api, body)
        except ApiError as error:
            sandbox.timeline.add("subscribe", api, status=error.status, error_type=error.error_type)
            raise
        sandbox.timeline.add("subscribe", extension.name, api=api, schema=schema, status=int(HTTPStatus.OK))
        return web.json_response("OK")

    def _accept(self, sandbox: Sandbox, extension: Extension, api: str, body: bytes) -> str:
        sandbox.relay.raise_if_closed(api)
        if len(body) > MAX_BODY_BYTES:
            raise ApiError("ValidationError", "Failed to read request body", status=HTTPStatus.BAD_REQUEST)
        subscription = parse_subscription(
            body,
            name=extension.name,
            api=api,
            managed_instances=sandbox.config.managed_instances,
            rejected_schemas=sandbox.config.telemetry.rejected_schemas,
        )
        # An extension that has subscribed before:
        # 1. through the other API: a validation error;
        # 2. through the Logs API again: accepted without a second subscription;
        # 3. through the Telemetry API again: a server error.
        if extension.subscribed_to is not None and extension.subscribed_to != api:
            raise ApiError(
                "ValidationError",
                f"{extension.name} has subscribed by {extension.subscribed_to} API; only one may be used",
                status=HTTPStatus.BAD_REQUEST,
            )
        if extension.subscribed_to == LOGS_API:
            return subscription.schema
        if extension.subscribed_to == TELEMETRY_API:
            raise ApiError("InternalServerError", "subscriber already exists", status=HTTPStatus.INTERNAL_SERVER_ERROR)
        sandbox.relay.subscribe(subscription)
        extension.subscribed_to = api
        return subscription.schema


def _configured_failure(api: str, status: int) -> web.Response:
    """Return the response of a platform without telemetry; raise ApiError for a server error."""
    if status == HTTPStatus.ACCEPTED:
        body = {"errorMessage": f"{api} API is not supported", "errorType": f"{api}.NotSupported"}
        return web.Response(text=json.dumps(body), status=status, content_type="application/json")
    if status == HTTPStatus.NOT_FOUND:
        return web.Response(text="404 page not found\n", status=status)
    raise ApiError("InternalServerError", "Internal Server Error", status=status)
