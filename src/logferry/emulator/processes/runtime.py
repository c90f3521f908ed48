"""State of the runtime in the Runtime API: pending `/next` requests and invocations in progress.

Guarantees:
- Outside Managed Instances one invocation is in progress at a time. A runtime that requests the next
  invocation before it has responded is rejected.
- On Managed Instances any number of `/next` requests may be pending, from one process or many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.invocation import FunctionResponse

if TYPE_CHECKING:
    from logferry.emulator.invocation import Invocation

MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100
"""Payload limit, in bytes: `interop.MaxPayloadSize` of aws-lambda-runtime-interface-emulator."""


class Runtime:
    """The runtime of one sandbox, which consists of one or more processes."""

    def __init__(self, *, concurrent: bool) -> None:
        self._concurrent = concurrent
        self._pending_next: deque[asyncio.Future[Invocation]] = deque()
        self._in_progress: dict[str, Invocation] = {}
        self._pending_restore: asyncio.Future[None] | None = None
        self.is_initialized = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<Runtime {len(self._pending_next)} ready, {len(self._in_progress)} in progress>"

    @property
    def is_ready(self) -> bool:
        """Whether an invocation can be dispatched now."""
        return bool(self._pending_next)

    def next(self) -> asyncio.Future[Invocation]:
        """Return a future of the next invocation. The first call ends the runtime's part of the Init phase."""
        if self._closed:  # sent before the process was killed and read afterwards
            raise _invalid_transition("Exited", "Ready")
        if not self._concurrent and (self._in_progress or self._pending_next):
            state = "InvocationResponse" if self._in_progress else "Ready"
            raise _invalid_transition(state, "Ready")
        future: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._pending_next.append(future)
        self.is_initialized = True
        return future

    def restore_next(self) -> asyncio.Future[None]:
        """Return a future of the restore, and end the runtime's part of the Init phase."""
        if self._closed or self._pending_restore is not None:
            raise _invalid_transition("RestoreReady", "RestoreReady")
        self._pending_restore = asyncio.get_running_loop().create_future()
        self.is_initialized = True
        return self._pending_restore

    def restore(self) -> None:
        """Answer a pending `/restore/next`; a runtime without hooks has none."""
        if self._pending_restore is not None and not self._pending_restore.done():
            self._pending_restore.set_result(None)

    def dispatch(self, invocation: Invocation) -> None:
        """Answer the oldest pending `/next` with an invocation; there has to be one."""
        self._in_progress[invocation.request_id] = invocation
        self._pending_next.popleft().set_result(invocation)

    def respond(self, request_id: str, response: FunctionResponse) -> Invocation:
        """Accept the function's response or error; raise ApiError if the request is not in progress."""
        invocation = self._in_progress.get(request_id)
        if invocation is None:
            if not self._in_progress and not self._concurrent:
                raise _invalid_transition("Ready", "InvocationResponse")
            raise ApiError("InvalidRequestID", "Invalid request ID", status=HTTPStatus.BAD_REQUEST)
        del self._in_progress[request_id]
        if len(response.payload) > MAX_RESPONSE_BYTES:
            invocation.respond(_too_large(len(response.payload)))
            raise ApiError(
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        invocation.respond(response)
        return invocation

    def abandon(self, invocation: Invocation) -> None:
        """Reject a later response to an invocation that has timed out."""
        self._in_progress.pop(invocation.request_id, None)

    def close(self) -> None:
        """Fail every pending `/next` after the processes have ended."""
        self._closed = True
        if self._pending_restore is not None and not self._pending_restore.done():
            self._pending_restore.set_exception(_invalid_transition("RestoreReady", "Exited"))
        while self._pending_next:
            pending = self._pending_next.popleft()
            if not pending.done():
                pending.set_exception(_invalid_transition("Ready", "Exited"))


def _invalid_transition(before: str, after: str) -> ApiError:
    return ApiError(
        "InvalidStateTransition",
        f"State transition from {before} to {after} failed for runtime. Error: State transition is not allowed",
    )


def _too_large(size: int) -> FunctionResponse:
    message = (
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
    )
    error_type = "Function.ResponseSizeTooLarge"
    body = f'{{"errorMessage":"{message}","errorType":"{error_type}"}}'
    return FunctionResponse("error", body.encode(), error_type)
