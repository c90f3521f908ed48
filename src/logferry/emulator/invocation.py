"""One invocation: what the runtime is given, what the caller gets back, and the moments in between.

All moments are seconds on the event loop's clock; `deadline_ms` alone is a wall-clock time: it goes over the wire.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["success", "error", "timeout", "crash"]

MILLISECONDS = 1000.0


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the caller."""

    status: Status
    payload: bytes
    error_type: str | None = None


@dataclass(slots=True)
class Invocation:
    """A request on its way through the environment.

    `answer` is settled once, by the runtime's response or by the environment when the runtime will give none.
    """

    payload: bytes
    timeout_seconds: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = field(default_factory=_trace_id)
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    taken_at: float = 0.0
    started_at: float = 0.0
    responded_at: float | None = None
    runtime_done_at: float | None = None
    ended_at: float | None = None
    deadline: float = 0.0
    deadline_ms: int = 0
    init_ms: float | None = None

    def begin(self) -> None:
        """Start the function's clock."""
        self.started_at = asyncio.get_running_loop().time()
        self.deadline = self.started_at + self.timeout_seconds
        self.deadline_ms = int((time.time() + self.timeout_seconds) * MILLISECONDS)

    def settle(self, answer: Answer) -> bool:
        """Give the caller an answer; False when one was given before, which then stands."""
        if self.answer.done():
            return False
        self.responded_at = asyncio.get_running_loop().time()
        self.answer.set_result(answer)
        return True

    @property
    def settled(self) -> Answer | None:
        """The answer, once there is one."""
        return self.answer.result() if self.answer.done() else None


def encode_payload(payload: Mapping[str, Any] | bytes) -> bytes:
    """The bytes the runtime is given."""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def error_payload(*, request_id: str, error_type: str, message: str) -> bytes:
    """What a caller gets when the environment, and not the function, has failed."""
    return json.dumps({"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}).encode()
