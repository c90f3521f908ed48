"""The Runtime API, `2018-06-01`: how the function's process gets its invocations and gives its answers.

Paths, headers and statuses: "Using the Lambda runtime API for custom runtimes". A refusal has the form and the words
of aws-lambda-runtime-interface-emulator (`rapi/handler`).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from logferry.emulator.invocation import Answer
from logferry.emulator.sandbox import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.sandbox import Life

PREFIX = "/2018-06-01/runtime"
ERROR_TYPE_HEADER = "Lambda-Runtime-Function-Error-Type"
ACCEPTED = {"status": "OK"}
UNKNOWN_ERROR = "Runtime.Unknown"


class RuntimeApi:
    """The handlers; `life` gives the life that is current when a request comes."""

    def __init__(self, life: Callable[[], Life]) -> None:
        self._life = life

    def routes(self) -> list[web.RouteDef]:
        """What the server has to know."""
        return [
            web.get(f"{PREFIX}/invocation/next", self.next),
            web.post(PREFIX + "/invocation/{request_id}/response", self.response),
            web.post(PREFIX + "/invocation/{request_id}/error", self.error),
            web.post(f"{PREFIX}/init/error", self.init_error),
        ]

    async def next(self, _: web.Request) -> web.Response:
        """Wait for an invocation, however long; whatever was printed before counts as printed before."""
        life = self._life()
        life.drain(RUNTIME)
        future = life.runtime.next()
        life.timeline.add("next", RUNTIME)
        life.gates.changed()
        invocation = await future
        return web.Response(
            body=invocation.payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": life.config.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace_id,
            },
        )

    async def response(self, request: web.Request) -> web.Response:
        """The function has returned."""
        return self._answer(request, Answer("success", await request.read()))

    async def error(self, request: web.Request) -> web.Response:
        """The function has failed; the environment has not."""
        body = await request.read()
        return self._answer(request, Answer("error", body, _error_type(request, body)))

    def _answer(self, request: web.Request, answer: Answer) -> web.Response:
        life = self._life()
        life.drain(RUNTIME)
        request_id = request.match_info["request_id"]
        try:
            life.runtime.answer(request_id, answer)
        finally:
            life.gates.changed()
        life.timeline.add("response", request_id, status=answer.status, bytes=len(answer.payload))
        return web.json_response(ACCEPTED, status=HTTPStatus.ACCEPTED)

    async def init_error(self, request: web.Request) -> web.Response:
        """The function cannot be loaded: fatal."""
        body = await request.read()
        life = self._life()
        life.drain(RUNTIME)
        life.fail(_error_type(request, body), "the runtime reported an init error", payload=body or None)
        return web.json_response(ACCEPTED, status=HTTPStatus.ACCEPTED)


def _error_type(request: web.Request, body: bytes) -> str:
    named = request.headers.get(ERROR_TYPE_HEADER)
    if named:
        return named
    try:
        return str(json.loads(body)["errorType"])
    except (ValueError, KeyError, TypeError):
        return UNKNOWN_ERROR
