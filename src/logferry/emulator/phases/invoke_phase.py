"""One invocation through a living environment, from `platform.start` to `platform.report`.

Outside Managed Instances it is over when the runtime and every extension registered for INVOKE have asked for the next
event; `platform.report`, which contains the extensions' overhead, is made only then and so reaches a subscriber with
the next invocation or at shutdown. On Managed Instances no extension is told, and it is over with the response.
The caller has its answer as soon as the runtime posts it, whatever follows.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from logferry.emulator.invocation import MILLISECONDS, Answer, error_payload
from logferry.emulator.processes.extensions import INVOKE
from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.platform_events import Outcome, Span

if TYPE_CHECKING:
    from logferry.emulator.conditions import Failure
    from logferry.emulator.invocation import Invocation
    from logferry.emulator.sandbox import Life

TIMED_OUT = "Sandbox.Timedout"


async def run(life: Life, invocation: Invocation) -> None:
    """Carry an invocation through. Raises EnvironmentBrokenError and TimeoutError: then the life has to end."""
    invoked = life.registry.listening_for(INVOKE)
    for extension in invoked:
        extension.deliver(_invoke_event(life, invocation))
        life.timeline.add("event", extension.name, event=INVOKE)
    life.runtime.hand_out(invocation)
    life.timeline.add("invoke", invocation.request_id)
    await life.gates.until(lambda: _runtime_is_done(life, invocation), deadline=invocation.deadline)
    _runtime_done(life, invocation)
    await life.gates.until(lambda: life.runtime.waits and life.registry.all_wait(invoked), deadline=invocation.deadline)
    finish(life, invocation)


async def run_beside_others(life: Life, invocation: Invocation) -> None:
    """Carry an invocation through on Managed Instances. An invocation that times out ends alone, as TimeoutError."""
    while not life.runtime.waits:  # in a loop: another invocation that waited too was quicker
        await life.gates.until(lambda: life.runtime.waits, deadline=invocation.deadline)
    life.runtime.hand_out(invocation)
    life.timeline.add("invoke", invocation.request_id)
    try:
        await life.gates.until(invocation.answer.done, deadline=invocation.deadline)
    finally:
        life.runtime.give_up(invocation)
    finish(life, invocation)


def begin(life: Life, invocation: Invocation) -> None:
    """Start the clock and tell the subscribers."""
    invocation.begin()
    announce(life, invocation)


def announce(life: Life, invocation: Invocation) -> None:
    """Tell the subscribers of an invocation whose clock runs already."""
    record = platform_events.start(life.config, request_id=invocation.request_id, trace_id=invocation.trace_id)
    life.relay.emit(platform_events.START, record)


def fail(life: Life, invocation: Invocation, failure: Failure) -> None:
    """The environment broke under an invocation: answer the caller, if it has no answer yet, and report."""
    payload = failure.payload or error_payload(
        request_id=invocation.request_id, error_type=failure.error_type, message=failure.message
    )
    invocation.settle(Answer("crash", payload, failure.error_type))
    status = "failure" if failure.error_type.startswith("Sandbox.") else "error"
    fault = f"RequestId: {invocation.request_id} Status: {status}\tErrorType: {failure.error_type}"
    life.relay.emit(platform_events.FAULT, fault)
    _break_off(life, invocation, status, failure.error_type)


def time_out(life: Life, invocation: Invocation) -> None:
    """The invocation overran the function's timeout: likewise."""
    message = f"Task timed out after {invocation.timeout_seconds:.2f} seconds"
    payload = error_payload(request_id=invocation.request_id, error_type=TIMED_OUT, message=message)
    invocation.settle(Answer("timeout", payload, TIMED_OUT))
    _break_off(life, invocation, "timeout", TIMED_OUT)


def _break_off(life: Life, invocation: Invocation, status: str, error_type: str) -> None:
    if invocation.runtime_done_at is None and not life.config.managed_instances:
        _runtime_done(life, invocation, status=status, error_type=error_type)
    finish(life, invocation, status=status, error_type=error_type)


def _runtime_is_done(life: Life, invocation: Invocation) -> bool:
    answer = invocation.settled
    return answer is not None and (life.runtime.waits or answer.status == "error")


def _invoke_event(life: Life, invocation: Invocation) -> dict[str, object]:
    return {
        "eventType": INVOKE,
        "deadlineMs": invocation.deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": life.config.function_arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
    }


def _runtime_done(
    life: Life, invocation: Invocation, *, status: str | None = None, error_type: str | None = None
) -> None:
    now = asyncio.get_running_loop().time()
    invocation.runtime_done_at = now
    answer = invocation.settled
    duration_ms = _milliseconds(invocation.started_at, now)
    record = platform_events.runtime_done(
        _outcome(invocation, status, error_type),
        duration_ms=duration_ms,
        produced_bytes=len(answer.payload) if answer else None,
        spans=_spans(invocation, until=now),
    )
    life.relay.emit(platform_events.RUNTIME_DONE, record)
    life.timeline.add("runtime-done", invocation.request_id, duration_ms=duration_ms)


def finish(life: Life, invocation: Invocation, *, status: str | None = None, error_type: str | None = None) -> None:
    """Close the books on an invocation: `platform.end` for the Logs API, and `platform.report`."""
    now = asyncio.get_running_loop().time()
    invocation.ended_at = now
    outcome = _outcome(invocation, status, error_type)
    duration_ms = _milliseconds(invocation.started_at, now)
    if life.config.managed_instances:
        spans = _spans(invocation, until=now)[:2]  # responseLatency and responseDuration: all there is there
        record = platform_events.reduced_report(outcome, duration_ms=duration_ms, spans=spans)
    else:
        record = platform_events.report(
            outcome,
            duration_ms=duration_ms,
            memory_mb=life.config.memory_mb,
            max_memory_used_mb=life.most_resident_mb(),
            init_duration_ms=invocation.init_ms,
            spans=_extension_overhead(life, invocation, now),
        )
    life.relay.emit(platform_events.END, {"requestId": invocation.request_id})
    life.relay.emit(platform_events.REPORT, record)
    life.timeline.add(
        "invoke-end", invocation.request_id, status=outcome.status, post_runtime_ms=post_runtime_ms(invocation)
    )


def post_runtime_ms(invocation: Invocation) -> float | None:
    """Between the runtime's `/next` and the last extension's: what the extensions added."""
    if invocation.runtime_done_at is None or invocation.ended_at is None:
        return None
    return _milliseconds(invocation.runtime_done_at, invocation.ended_at)


def _outcome(invocation: Invocation, status: str | None, error_type: str | None) -> Outcome:
    """As the runtime's answer has it, unless the environment says otherwise."""
    answer = invocation.settled
    return Outcome(
        invocation.request_id,
        invocation.trace_id,
        status=status or (answer.status if answer else "error"),
        error_type=error_type or (answer.error_type if answer else None),
    )


def _spans(invocation: Invocation, *, until: float) -> list[Span]:
    if invocation.responded_at is None:
        return []
    responded = _wall_clock(invocation.responded_at)
    return [
        Span(
            "responseLatency",
            _wall_clock(invocation.started_at),
            _milliseconds(invocation.started_at, invocation.responded_at),
        ),
        Span("responseDuration", responded, 0.0),
        Span("runtimeOverhead", responded, _milliseconds(invocation.responded_at, until)),
    ]


def _extension_overhead(life: Life, invocation: Invocation, until: float) -> list[Span]:
    if invocation.runtime_done_at is None or not list(life.registry):
        return []
    start = invocation.runtime_done_at
    return [Span("extensionOverhead", _wall_clock(start), _milliseconds(start, until))]


def _milliseconds(start: float, end: float) -> float:
    return round((end - start) * MILLISECONDS, 3)


def _wall_clock(timing: float) -> float:
    return time.time() - (asyncio.get_running_loop().time() - timing)
