"""The Extensions API, `2020-01-01`, over HTTP; the state machine behind it is `extensions`.

Every mistake of a client is a 403 with an error type, as in aws-lambda-runtime-interface-emulator. `/event/next`
waits without limit: the process may be frozen for any length of time inside the call.
"""

from __future__ import annotations

import json
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.processes.extensions import SHUTDOWN, Extension
from logferry.emulator.telemetry.platform_events import FUNCTION_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.sandbox import Life

PREFIX = "/2020-01-01/extension"
NAME_HEADER = "Lambda-Extension-Name"
FEATURE_HEADER = "Lambda-Extension-Accept-Feature"
IDENTIFIER_HEADER = "Lambda-Extension-Identifier"
EVENT_IDENTIFIER_HEADER = "Lambda-Extension-Event-Identifier"
ERROR_TYPE_HEADER = "Lambda-Extension-Function-Error-Type"
ACCOUNT_ID_FEATURE = "accountId"
MANAGED_INSTANCES_ERROR_TYPE = re.compile(r"Extension\.[A-Z][a-zA-Z]+")


class ExtensionsApi:
    """The handlers; `life` gives the life that is current when a request comes."""

    def __init__(self, life: Callable[[], Life]) -> None:
        self._life = life

    def routes(self) -> list[web.RouteDef]:
        """What the server has to know."""
        return [
            web.post(f"{PREFIX}/register", self.register),
            web.get(f"{PREFIX}/event/next", self.next),
            web.post(f"{PREFIX}/init/error", self.init_error),
            web.post(f"{PREFIX}/exit/error", self.exit_error),
        ]

    async def register(self, request: web.Request) -> web.Response:
        """Make a process known, and say which function it is beside."""
        body = await request.read()
        life = self._life()
        name = request.headers.get(NAME_HEADER, "")
        if not name:
            raise RefusalError("Extension.InvalidExtensionName", "Empty extension name")
        extension = life.registry.register(name, _wanted_events(body))
        life.timeline.add("register", name, events=sorted(extension.events), external=extension.external)
        life.gates.changed()
        answer = {
            "functionName": life.config.function_name,
            "functionVersion": FUNCTION_VERSION,
            "handler": life.config.handler,
        }
        features = [feature.strip() for feature in request.headers.get(FEATURE_HEADER, "").split(",")]
        if ACCOUNT_ID_FEATURE in features:
            answer["accountId"] = life.config.account_id
        return web.json_response(answer, headers={IDENTIFIER_HEADER: extension.identifier})

    async def next(self, request: web.Request) -> web.Response:
        """Wait for an event; what was printed before counts as printed before."""
        life, extension = self._speaker(request)
        future = extension.next()
        life.timeline.add("next", extension.name)
        life.gates.changed()
        event = await future
        body = json.dumps(event).encode()
        if event["eventType"] == SHUTDOWN:  # neither content type nor identifier in AWS's `ShutdownRenderer`
            return web.Response(body=body)
        return web.Response(
            body=body, content_type="application/json", headers={EVENT_IDENTIFIER_HEADER: str(uuid.uuid4())}
        )

    async def init_error(self, request: web.Request) -> web.Response:
        """An extension cannot start: fatal to the environment."""
        return await self._error(request, "Extension.InitError", Extension.report_init_error)

    async def exit_error(self, request: web.Request) -> web.Response:
        """An extension cannot go on: fatal likewise."""
        return await self._error(request, "Extension.ExitError", Extension.report_exit_error)

    async def _error(self, request: web.Request, fatal: str, report: Callable[[Extension, str], None]) -> web.Response:
        await request.read()
        life, extension = self._speaker(request)
        error_type = request.headers.get(ERROR_TYPE_HEADER, "")
        if not error_type:
            raise RefusalError("Extension.MissingHeader", f"{ERROR_TYPE_HEADER} not found")
        if life.config.managed_instances and not MANAGED_INSTANCES_ERROR_TYPE.fullmatch(error_type):
            error_type = "Extension.Unknown"
        report(extension, error_type)
        life.fail(fatal, f"{extension.name} reported {error_type}")
        return web.json_response({"status": "OK"}, status=HTTPStatus.ACCEPTED)

    def _speaker(self, request: web.Request) -> tuple[Life, Extension]:
        life = self._life()
        extension = life.registry.identify(request.headers.get(IDENTIFIER_HEADER))
        life.drain(extension.name)
        return life, extension


def _wanted_events(body: bytes) -> list[str]:
    """The `events` of a registration, none when absent."""
    try:
        wish: Any = json.loads(body)
    except ValueError as error:
        raise RefusalError("InvalidRequestFormat", str(error)) from None
    if not isinstance(wish, dict) or not isinstance(wish.get("events") or [], list):
        raise RefusalError("InvalidRequestFormat", "the body should be an object with a list of events")
    if wish.get("configurationKeys"):
        raise RefusalError(
            "InvalidRequestFormat", "configurationKeys are deprecated; use environment variables instead"
        )
    return [str(event) for event in wish.get("events") or []]
