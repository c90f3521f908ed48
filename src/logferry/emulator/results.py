"""What a caller of the emulator gets back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.phases import invoke_phase

if TYPE_CHECKING:
    from logferry.emulator.invocation import Invocation, Status


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """The answer to one invocation, as its caller sees it.

    `latency_ms` counts from the moment the environment took the invocation (any earlier one had ended) to the answer,
    init included; `init_ms` is that init, None when there was none. `post_runtime_ms` is known once the invocation has
    ended, which is after its answer: None until then (see `Lambda.wait_idle`).
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
        """From the runtime's `/next` to the last extension's, or to the end of an invocation broken off."""
        return invoke_phase.post_runtime_ms(self._invocation)


def result_of(invocation: Invocation) -> InvokeResult:
    """Wrap up an invocation that has its answer."""
    answer = invocation.answer.result()
    responded_at = invocation.responded_at or invocation.taken_at
    return InvokeResult(
        request_id=invocation.request_id,
        status=answer.status,
        payload=answer.payload,
        error_type=answer.error_type,
        latency_ms=round((responded_at - invocation.taken_at) * MILLISECONDS, 3),
        init_ms=invocation.init_ms,
        _invocation=invocation,
    )


@dataclass(frozen=True, slots=True)
class ShutdownResult:
    """How a life ended: `killed` names those that were told and were late; exit codes are negative for signals."""

    duration_ms: float
    killed: tuple[str, ...]
    exit_codes: dict[str, int | None]
