"""Return values of the emulator's public methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.phases import invoke_phase

if TYPE_CHECKING:
    from logferry.emulator.invocation import Invocation, Status


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """The response to one invocation.

    `latency_ms` is the time from acceptance by the environment to the response, including Init.
    `init_ms` is the duration of that Init phase, or None without one.
    """

    request_id: str
    status: Status
    payload: bytes
    error_type: str | None
    latency_ms: float
    init_ms: float | None
    _invocation: Invocation = field(repr=False, compare=False)

    @property
    def post_runtime_ms(self) -> float | None:
        """Time from the runtime's `/next` to the last extension's, or to the abort of the invocation.

        None until the invocation has ended, which is after its response (see `Lambda.wait_idle`).
        """
        return invoke_phase.post_runtime_ms(self._invocation)


def result_of(invocation: Invocation) -> InvokeResult:
    """Return the result of an invocation that has its response."""
    response = invocation.pending_response.result()
    responded_at = invocation.responded_at or invocation.accepted_at
    return InvokeResult(
        request_id=invocation.request_id,
        status=response.status,
        payload=response.payload,
        error_type=response.error_type,
        latency_ms=round((responded_at - invocation.accepted_at) * MILLISECONDS, 3),
        init_ms=invocation.init_ms,
        _invocation=invocation,
    )


@dataclass(frozen=True, slots=True)
class ShutdownResult:
    """The end of a sandbox.

    `killed` names the processes that exceeded their time limit. Negative exit codes are signals.
    """

    duration_ms: float
    killed: tuple[str, ...]
    exit_codes: dict[str, int | None]
