"""The Telemetry API, `2022-07-01`, and the Logs API, `2020-08-15`: subscription over HTTP.

Both may be told to misbehave (TelemetryBehaviour), which is how a client's retreat from one to the other, and from
both, is tested. An extension uses one of them, once: a second subscription by Telemetry API is a 500, as in AWS's
Managed Instances emulator; the Logs API documents that it may be repeated.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.apis.extensions_api import IDENTIFIER_HEADER
from logferry.emulator.telemetry.subscription import LOGS_API, TELEMETRY_API, parse_subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.processes.extensions import Extension
    from logferry.emulator.sandbox import Life

TELEMETRY_PATH = "/2022-07-01/telemetry"
LOGS_PATH = "/2020-08-15/logs"
LARGEST_BODY = 1024 * 1024
"""Bytes; the limit of AWS's Managed Instances emulator."""


class TelemetryApi:
    """The handlers; `life` gives the life that is current when a request comes."""

    def __init__(self, life: Callable[[], Life]) -> None:
        self._life = life

    def routes(self) -> list[web.RouteDef]:
        """What the server has to know."""
        return [web.put(TELEMETRY_PATH, self.telemetry), web.put(LOGS_PATH, self.logs)]

    async def telemetry(self, request: web.Request) -> web.Response:
        """Subscribe by Telemetry API."""
        return await self._subscribe(request, TELEMETRY_API, self._life().config.telemetry.telemetry_answer)

    async def logs(self, request: web.Request) -> web.Response:
        """Subscribe by Logs API, which does not exist on Managed Instances."""
        config = self._life().config
        answer = HTTPStatus.NOT_FOUND if config.managed_instances else config.telemetry.logs_answer
        return await self._subscribe(request, LOGS_API, answer)

    async def _subscribe(self, request: web.Request, api: str, answer: int) -> web.Response:
        body = await request.read()
        life = self._life()
        try:
            if answer != HTTPStatus.OK:
                return _unwilling(api, answer)
            extension = life.registry.identify(request.headers.get(IDENTIFIER_HEADER))
            schema = self._accept(life, extension, api, body)
        except RefusalError as refusal:
            life.timeline.add("subscribe", api, status=refusal.status, error_type=refusal.error_type)
            raise
        life.timeline.add("subscribe", extension.name, api=api, schema=schema, status=int(HTTPStatus.OK))
        return web.json_response("OK")

    def _accept(self, life: Life, extension: Extension, api: str, body: bytes) -> str:
        life.relay.refuse_if_closed(api)
        if len(body) > LARGEST_BODY:
            raise RefusalError("ValidationError", "Failed to read request body", status=HTTPStatus.BAD_REQUEST)
        subscription = parse_subscription(
            body,
            name=extension.name,
            api=api,
            managed_instances=life.config.managed_instances,
            refused_schemas=life.config.telemetry.refused_schemas,
        )
        if extension.subscribed_to is not None and extension.subscribed_to != api:
            raise RefusalError(
                "ValidationError",
                f"{extension.name} has subscribed by {extension.subscribed_to} API; only one may be used",
                status=HTTPStatus.BAD_REQUEST,
            )
        if extension.subscribed_to == LOGS_API:
            return subscription.schema
        if extension.subscribed_to == TELEMETRY_API:
            raise RefusalError(
                "InternalServerError", "subscriber already exists", status=HTTPStatus.INTERNAL_SERVER_ERROR
            )
        life.relay.subscribe(subscription)
        extension.subscribed_to = api
        return subscription.schema


def _unwilling(api: str, answer: int) -> web.Response:
    """The platform as it is where telemetry does not work."""
    if answer == HTTPStatus.ACCEPTED:
        body = {"errorMessage": f"{api} API is not supported", "errorType": f"{api}.NotSupported"}
        return web.Response(text=json.dumps(body), status=answer, content_type="application/json")
    if answer == HTTPStatus.NOT_FOUND:
        return web.Response(text="404 page not found\n", status=answer)
    raise RefusalError("InternalServerError", "Internal Server Error", status=answer)
