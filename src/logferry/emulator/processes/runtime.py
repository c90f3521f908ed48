"""The function's side of the Runtime API: who waits for an invocation, and who owes an answer to one.

Outside Managed Instances there is one invocation at a time, and a runtime that asks for the next before it has
answered is refused; on Managed Instances any number of `/next` calls may be outstanding, from one process or many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.invocation import Answer

if TYPE_CHECKING:
    from logferry.emulator.invocation import Invocation

LARGEST_RESPONSE = 6 * 1024 * 1024 + 100
"""Bytes; the limit of a payload as aws-lambda-runtime-interface-emulator applies it (`interop.MaxPayloadSize`)."""


class Runtime:
    """The runtime of one life of the environment, however many processes it is."""

    def __init__(self, *, many_at_once: bool) -> None:
        self._many_at_once = many_at_once
        self._asking: deque[asyncio.Future[Invocation]] = deque()
        self._unanswered: dict[str, Invocation] = {}
        self.asked_once = False
        self._ended = False

    def __repr__(self) -> str:
        return f"<Runtime {len(self._asking)} waiting, {len(self._unanswered)} at work>"

    @property
    def waits(self) -> bool:
        """Whether an invocation could be handed out now."""
        return bool(self._asking)

    def next(self) -> asyncio.Future[Invocation]:
        """Ask for an invocation. The first time ends the runtime's init."""
        if self._ended:  # sent before it was killed, and read after
            raise _transition("Exited", "Ready")
        if not self._many_at_once and (self._unanswered or self._asking):
            state = "InvocationResponse" if self._unanswered else "Ready"
            raise _transition(state, "Ready")
        future: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        self.asked_once = True
        return future

    def hand_out(self, invocation: Invocation) -> None:
        """Give an invocation to whoever has waited longest; there has to be someone."""
        self._unanswered[invocation.request_id] = invocation
        self._asking.popleft().set_result(invocation)

    def answer(self, request_id: str, answer: Answer) -> Invocation:
        """Take the function's response or error. Raises RefusalError for a request it does not owe an answer to."""
        invocation = self._unanswered.get(request_id)
        if invocation is None:
            if not self._unanswered and not self._many_at_once:
                raise _transition("Ready", "InvocationResponse")
            raise RefusalError("InvalidRequestID", "Invalid request ID", status=HTTPStatus.BAD_REQUEST)
        del self._unanswered[request_id]
        if len(answer.payload) > LARGEST_RESPONSE:
            answer = _too_large(len(answer.payload))
            invocation.settle(answer)
            raise RefusalError(
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({LARGEST_RESPONSE} bytes).",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        invocation.settle(answer)
        return invocation

    def give_up(self, invocation: Invocation) -> None:
        """Stop expecting an answer to an invocation that ran out of time."""
        self._unanswered.pop(invocation.request_id, None)

    def end(self) -> None:
        """The processes are gone: what they asked for will not come."""
        self._ended = True
        while self._asking:
            asking = self._asking.popleft()
            if not asking.done():
                asking.set_exception(_transition("Ready", "Exited"))


def _transition(before: str, after: str) -> RefusalError:
    return RefusalError(
        "InvalidStateTransition",
        f"State transition from {before} to {after} failed for runtime. Error: State transition is not allowed",
    )


def _too_large(size: int) -> Answer:
    message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({LARGEST_RESPONSE} bytes)."
    error_type = "Function.ResponseSizeTooLarge"
    body = f'{{"errorMessage":"{message}","errorType":"{error_type}"}}'
    return Answer("error", body.encode(), error_type)
