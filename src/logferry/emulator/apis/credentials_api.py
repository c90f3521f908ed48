"""The credentials endpoint of SnapStart, `2021-04-23`.

Design: with SnapStart the processes receive no keys in their environment, because keys in a snapshot
expire. They fetch them from `AWS_CONTAINER_CREDENTIALS_FULL_URI`. The keys are those that the user
configured in `EnvironmentConfig.environment`.

References: `rapi/handler/credentials.go` in aws-lambda-runtime-interface-emulator; a wrong token is a 404.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.telemetry.platform_events import iso_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.sandbox import Sandbox

PATH = "/2021-04-23/credentials"
LIFETIME_SECONDS = 15 * 60.0
"""Validity of the keys in the response, in seconds. AWS documents none."""

KEYS = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "Token": "AWS_SESSION_TOKEN",
}


class CredentialsApi:
    """The request handler; `sandbox` returns the current sandbox at the time of a request."""

    def __init__(self, sandbox: Callable[[], Sandbox]) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the server."""
        return [web.get(PATH, self.credentials)]

    async def credentials(self, request: web.Request) -> web.Response:
        """Return the keys of the function's role."""
        sandbox = self._sandbox()
        if not sandbox.config.snap_start or request.headers.get("Authorization") != sandbox.credentials_token:
            return web.Response(text="404 page not found\n", status=HTTPStatus.NOT_FOUND)
        keys = {field: sandbox.config.environment.get(variable, "") for field, variable in KEYS.items()}
        # The clock of the machine: SDKs compare the expiration with their own clock.
        return web.json_response({**keys, "Expiration": iso_time(time.time() + LIFETIME_SECONDS)})
