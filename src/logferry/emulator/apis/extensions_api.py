"""The Extensions API `2020-01-01` over HTTP. The state machine is in `processes.extensions`.

Guarantees:
- Every client error is a 403 with an error type.
- `/event/next` has no time limit, because the process may be frozen inside the call.

References: `rapi/handler` and `rapi/rendering` in aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import json
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.processes.extensions import SHUTDOWN, Extension
from logferry.emulator.telemetry.platform_events import FUNCTION_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.sandbox import Sandbox

PREFIX = "/2020-01-01/extension"
NAME_HEADER = "Lambda-Extension-Name"
FEATURE_HEADER = "Lambda-Extension-Accept-Feature"
IDENTIFIER_HEADER = "Lambda-Extension-Identifier"
EVENT_IDENTIFIER_HEADER = "Lambda-Extension-Event-Identifier"
ERROR_TYPE_HEADER = "Lambda-Extension-Function-Error-Type"
ACCOUNT_ID_FEATURE = "accountId"
MANAGED_INSTANCES_ERROR_TYPE = re.compile(r"Extension\.[A-Z][a-zA-Z]+")


class ExtensionsApi:
    """The request handlers; `sandbox` returns the current sandbox at the time of a request."""

    def __init__(self, sandbox: Callable[[], Sandbox]) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the server."""
        return [
            web.post(f"{PREFIX}/register", self.register),
            web.get(f"{PREFIX}/event/next", self.next),
            web.post(f"{PREFIX}/init/error", self.init_error),
            web.post(f"{PREFIX}/exit/error", self.exit_error),
        ]

    async def register(self, request: web.Request) -> web.Response:
        """Register an extension and return the properties of the function."""
        body = await request.read()
        sandbox = self._sandbox()
        name = request.headers.get(NAME_HEADER, "")
        if not name:
            raise ApiError("Extension.InvalidExtensionName", "Empty extension name")
        extension = sandbox.registry.register(name, _requested_events(body))
        sandbox.timeline.add("register", name, events=sorted(extension.events), external=extension.external)
        sandbox.conditions.recheck()
        response = {
            "functionName": sandbox.config.function_name,
            "functionVersion": FUNCTION_VERSION,
            "handler": sandbox.config.handler,
        }
        features = [feature.strip() for feature in request.headers.get(FEATURE_HEADER, "").split(",")]
        if ACCOUNT_ID_FEATURE in features:
            response["accountId"] = sandbox.config.account_id
        return web.json_response(response, headers={IDENTIFIER_HEADER: extension.identifier})

    async def next(self, request: web.Request) -> web.Response:
        """Wait for an event. Lines that the extension printed before the request precede it."""
        sandbox, extension = self._identify(request)
        future = extension.next()
        sandbox.timeline.add("next", extension.name)
        sandbox.conditions.recheck()
        event = await future
        body = json.dumps(event).encode()
        if event["eventType"] == SHUTDOWN:  # AWS's `ShutdownRenderer` sets neither content type nor identifier
            return web.Response(body=body)
        return web.Response(
            body=body, content_type="application/json", headers={EVENT_IDENTIFIER_HEADER: str(uuid.uuid4())}
        )

    async def init_error(self, request: web.Request) -> web.Response:
        """Accept the report that an extension cannot start, which is fatal to the environment."""
        return await self._error(request, "Extension.InitError", Extension.report_init_error)

    async def exit_error(self, request: web.Request) -> web.Response:
        """Accept the report that an extension cannot continue, which is fatal to the environment."""
        return await self._error(request, "Extension.ExitError", Extension.report_exit_error)

    async def _error(self, request: web.Request, fatal: str, report: Callable[[Extension, str], None]) -> web.Response:
        await request.read()
        sandbox, extension = self._identify(request)
        error_type = request.headers.get(ERROR_TYPE_HEADER, "")
        if not error_type:
            raise ApiError("Extension.MissingHeader", f"{ERROR_TYPE_HEADER} not found")
        if sandbox.config.managed_instances and not MANAGED_INSTANCES_ERROR_TYPE.fullmatch(error_type):
            error_type = "Extension.Unknown"
        report(extension, error_type)
        sandbox.fail(fatal, f"{extension.name} reported {error_type}")
        return web.json_response({"status": "OK"}, status=HTTPStatus.ACCEPTED)

    def _identify(self, request: web.Request) -> tuple[Sandbox, Extension]:
        sandbox = self._sandbox()
        extension = sandbox.registry.identify(request.headers.get(IDENTIFIER_HEADER))
        sandbox.drain(extension.name)
        return sandbox, extension


def _requested_events(body: bytes) -> list[str]:
    """Return the `events` of a registration; they are optional."""
    try:
        document: Any = json.loads(body)
    except ValueError as error:
        raise ApiError("InvalidRequestFormat", str(error)) from None
    if not isinstance(document, dict) or not isinstance(document.get("events") or [], list):
        raise ApiError("InvalidRequestFormat", "the body should be an object with a list of events")
    if document.get("configurationKeys"):
        raise ApiError("InvalidRequestFormat", "configurationKeys are deprecated; use environment variables instead")
    return [str(event) for event in document.get("events") or []]
