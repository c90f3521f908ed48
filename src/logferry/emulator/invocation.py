"""One invocation: the input of the runtime, the response to the caller, and the times of each step.

Times are seconds on the clock of the event loop. Only `deadline_ms` is a wall-clock time, because it
is sent to the processes.
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
class FunctionResponse:
    """The response to the caller."""

    status: Status
    payload: bytes
    error_type: str | None = None


@dataclass(slots=True)
class Invocation:
    """A request to the function.

    `pending_response` is resolved once: by the response of the runtime, or by the environment if the
    runtime cannot respond.
    """

    payload: bytes
    timeout_seconds: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = field(default_factory=_trace_id)
    pending_response: asyncio.Future[FunctionResponse] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    accepted_at: float = 0.0
    started_at: float = 0.0
    responded_at: float | None = None
    runtime_done_at: float | None = None
    ended_at: float | None = None
    deadline: float = 0.0
    deadline_ms: int = 0
    init_ms: float | None = None
    restore_ms: float | None = None

    def begin(self) -> None:
        """Start the clock of the function timeout."""
        self.started_at = asyncio.get_running_loop().time()
        self.deadline = self.started_at + self.timeout_seconds
        self.deadline_ms = int((time.time() + self.timeout_seconds) * MILLISECONDS)

    def respond(self, response: FunctionResponse) -> bool:
        """Set the response to the caller; return False if an earlier response exists, which is kept."""
        if self.pending_response.done():
            return False
        self.responded_at = asyncio.get_running_loop().time()
        self.pending_response.set_result(response)
        return True

    @property
    def response(self) -> FunctionResponse | None:
        """The response, or None if there is none yet."""
        return self.pending_response.result() if self.pending_response.done() else None


def encode_payload(payload: Mapping[str, Any] | bytes) -> bytes:
    """Return the bytes for the runtime."""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def error_payload(*, request_id: str, error_type: str, message: str) -> bytes:
    """Return the response body for a failure of the environment."""
    return json.dumps({"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}).encode()
