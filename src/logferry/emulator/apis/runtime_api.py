"""The Runtime API `2018-06-01`: invocations for the function's process, and its responses.

References: "Using the Lambda runtime API for custom runtimes" (paths, headers, statuses); `rapi/handler`
in aws-lambda-runtime-interface-emulator (error responses).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.invocation import FunctionResponse
from logferry.emulator.sandbox import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.sandbox import Sandbox

PREFIX = "/2018-06-01/runtime"
ERROR_TYPE_HEADER = "Lambda-Runtime-Function-Error-Type"
ACCEPTED = {"status": "OK"}
UNKNOWN_ERROR = "Runtime.Unknown"


class RuntimeApi:
    """The request handlers; `sandbox` returns the current sandbox at the time of a request."""

    def __init__(self, sandbox: Callable[[], Sandbox]) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the server."""
        return [
            web.get(f"{PREFIX}/invocation/next", self.next),
            web.post(PREFIX + "/invocation/{request_id}/response", self.response),
            web.post(PREFIX + "/invocation/{request_id}/error", self.error),
            web.post(f"{PREFIX}/init/error", self.init_error),
            web.get(f"{PREFIX}/restore/next", self.restore_next),
            web.post(f"{PREFIX}/restore/error", self.restore_error),
        ]

    async def next(self, _: web.Request) -> web.Response:
        """Wait for an invocation. Lines that the runtime printed before the request precede it."""
        sandbox = self._sandbox()
        sandbox.drain(RUNTIME)
        future = sandbox.runtime.next()
        sandbox.timeline.add("next", RUNTIME)
        sandbox.conditions.recheck()
        invocation = await future
        return web.Response(
            body=invocation.payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": sandbox.config.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace_id,
            },
        )

    async def response(self, request: web.Request) -> web.Response:
        """Accept the return value of the function."""
        return self._respond(request, FunctionResponse("success", await request.read()))

    async def error(self, request: web.Request) -> web.Response:
        """Accept an error of the function, which leaves the environment intact."""
        body = await request.read()
        return self._respond(request, FunctionResponse("error", body, _error_type(request, body)))

    def _respond(self, request: web.Request, response: FunctionResponse) -> web.Response:
        sandbox = self._sandbox()
        sandbox.drain(RUNTIME)
        request_id = request.match_info["request_id"]
        try:
            sandbox.runtime.respond(request_id, response)
        finally:
            sandbox.conditions.recheck()
        sandbox.timeline.add("response", request_id, status=response.status, bytes=len(response.payload))
        return web.json_response(ACCEPTED, status=HTTPStatus.ACCEPTED)

    async def init_error(self, request: web.Request) -> web.Response:
        """Accept the report that the function cannot be loaded, which is fatal to the environment."""
        body = await request.read()
        sandbox = self._sandbox()
        sandbox.drain(RUNTIME)
        sandbox.fail(_error_type(request, body), "the runtime reported an init error", payload=body or None)
        return web.json_response(ACCEPTED, status=HTTPStatus.ACCEPTED)

    async def restore_next(self, _: web.Request) -> web.Response:
        """Wait for the restore of the snapshot (SnapStart)."""
        sandbox = self._sandbox()
        sandbox.drain(RUNTIME)
        future = sandbox.runtime.restore_next()
        sandbox.conditions.recheck()
        await future
        return web.Response(content_type="application/json")

    async def restore_error(self, request: web.Request) -> web.Response:
        """Accept the report that an after-restore hook failed, which is fatal to the environment."""
        body = await request.read()
        sandbox = self._sandbox()
        sandbox.drain(RUNTIME)
        sandbox.fail(_error_type(request, body), "the runtime reported a restore error", payload=body or None)
        return web.json_response(ACCEPTED, status=HTTPStatus.ACCEPTED)


def _error_type(request: web.Request, body: bytes) -> str:
    named = request.headers.get(ERROR_TYPE_HEADER)
    if named:
        return named
    try:
        return str(json.loads(body)["errorType"])
    except (ValueError, KeyError, TypeError):
        return UNKNOWN_ERROR
