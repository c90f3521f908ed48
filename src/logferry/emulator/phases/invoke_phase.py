"""One invocation in a running sandbox, from `platform.start` to `platform.report`.

Guarantees:
- The caller receives the response as soon as the runtime posts it.
- Outside Managed Instances the invocation ends when the runtime and every extension registered for
  INVOKE have called `/next`.
- `platform.report` contains the overhead of the extensions and is therefore produced at that end. A
  subscriber receives it during the next invocation or the Shutdown phase.
- On Managed Instances extensions receive no INVOKE event, and the invocation ends with its response.

References: `doInvoke` and `handleReset` in aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logferry.emulator.invocation import MILLISECONDS, FunctionResponse, error_payload
from logferry.emulator.processes.extensions import INVOKE
from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.platform_events import Outcome, Span

if TYPE_CHECKING:
    from logferry.emulator.conditions import Failure
    from logferry.emulator.invocation import Invocation
    from logferry.emulator.sandbox import Sandbox

TIMED_OUT = "Sandbox.Timedout"


async def run(sandbox: Sandbox, invocation: Invocation) -> None:
    """Run an invocation; raise EnvironmentBrokenError or TimeoutError if the sandbox has to be reset."""
    invoked = sandbox.registry.registered_for(INVOKE)
    for extension in invoked:
        extension.deliver(_invoke_event(sandbox, invocation))
        sandbox.timeline.add("event", extension.name, event=INVOKE)
    sandbox.runtime.dispatch(invocation)
    sandbox.timeline.add("invoke", invocation.request_id)
    await sandbox.conditions.wait_for(lambda: _runtime_is_done(sandbox, invocation), deadline=invocation.deadline)
    _end_runtime(sandbox, invocation)
    await sandbox.conditions.wait_for(
        lambda: sandbox.runtime.is_ready and sandbox.registry.all_ready(invoked), deadline=invocation.deadline
    )
    finish(sandbox, invocation)


async def run_concurrently(sandbox: Sandbox, invocation: Invocation) -> None:
    """Run an invocation on Managed Instances; raise TimeoutError for this invocation alone."""
    while not sandbox.runtime.is_ready:  # another waiting invocation may have taken the worker
        await sandbox.conditions.wait_for(lambda: sandbox.runtime.is_ready, deadline=invocation.deadline)
    sandbox.runtime.dispatch(invocation)
    sandbox.timeline.add("invoke", invocation.request_id)
    try:
        await sandbox.conditions.wait_for(invocation.pending_response.done, deadline=invocation.deadline)
    finally:
        sandbox.runtime.abandon(invocation)
    finish(sandbox, invocation)


def begin(sandbox: Sandbox, invocation: Invocation) -> None:
    """Start the function timeout and emit `platform.start`."""
    invocation.begin()
    emit_start(sandbox, invocation)


def emit_start(sandbox: Sandbox, invocation: Invocation) -> None:
    """Emit `platform.start` for an invocation whose timeout has started already."""
    record = platform_events.start(sandbox.config, request_id=invocation.request_id, trace_id=invocation.trace_id)
    sandbox.relay.emit(platform_events.START, record)


def fail(sandbox: Sandbox, invocation: Invocation, failure: Failure) -> None:
    """End an invocation whose sandbox failed: respond unless a response exists, and report."""
    payload = failure.payload or error_payload(
        request_id=invocation.request_id, error_type=failure.error_type, message=failure.message
    )
    invocation.respond(FunctionResponse("crash", payload, failure.error_type))
    status = "failure" if failure.error_type.startswith("Sandbox.") else "error"
    fault = f"RequestId: {invocation.request_id} Status: {status}\tErrorType: {failure.error_type}"
    sandbox.relay.emit(platform_events.FAULT, fault)
    _abort(sandbox, invocation, status, failure.error_type)


def time_out(sandbox: Sandbox, invocation: Invocation) -> None:
    """End an invocation that exceeded the function timeout: respond unless a response exists, and report."""
    message = f"Task timed out after {invocation.timeout_seconds:.2f} seconds"
    payload = error_payload(request_id=invocation.request_id, error_type=TIMED_OUT, message=message)
    invocation.respond(FunctionResponse("timeout", payload, TIMED_OUT))
    _abort(sandbox, invocation, "timeout", TIMED_OUT)


def _abort(sandbox: Sandbox, invocation: Invocation, status: str, error_type: str) -> None:
    if invocation.runtime_done_at is None and not sandbox.config.managed_instances:
        _end_runtime(sandbox, invocation, status=status, error_type=error_type)
    finish(sandbox, invocation, status=status, error_type=error_type)


def _runtime_is_done(sandbox: Sandbox, invocation: Invocation) -> bool:
    response = invocation.response
    return response is not None and (sandbox.runtime.is_ready or response.status == "error")


def _invoke_event(sandbox: Sandbox, invocation: Invocation) -> dict[str, object]:
    return {
        "eventType": INVOKE,
        "deadlineMs": invocation.deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": sandbox.config.function_arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
    }


def _end_runtime(
    sandbox: Sandbox, invocation: Invocation, *, status: str | None = None, error_type: str | None = None
) -> None:
    """Emit `platform.runtimeDone`."""
    now = asyncio.get_running_loop().time()
    invocation.runtime_done_at = now
    response = invocation.response
    duration_ms = _milliseconds(invocation.started_at, now)
    record = platform_events.runtime_done(
        _outcome(invocation, status, error_type),
        duration_ms=duration_ms,
        produced_bytes=len(response.payload) if response else None,
        spans=_spans(sandbox, invocation, until=now),
    )
    sandbox.relay.emit(platform_events.RUNTIME_DONE, record)
    sandbox.timeline.add("runtime-done", invocation.request_id, duration_ms=duration_ms)


def finish(
    sandbox: Sandbox, invocation: Invocation, *, status: str | None = None, error_type: str | None = None
) -> None:
    """End an invocation: emit `platform.end` (Logs API) and `platform.report`."""
    now = asyncio.get_running_loop().time()
    invocation.ended_at = now
    outcome = _outcome(invocation, status, error_type)
    duration_ms = _milliseconds(invocation.started_at, now)
    if sandbox.config.managed_instances:
        spans = _spans(sandbox, invocation, until=now)[:2]  # responseLatency and responseDuration
        record = platform_events.reduced_report(outcome, duration_ms=duration_ms, spans=spans)
    else:
        record = platform_events.report(
            outcome,
            duration_ms=duration_ms,
            memory_mb=sandbox.config.memory_mb,
            max_memory_used_mb=sandbox.max_resident_mb(),
            init_duration_ms=invocation.init_ms,
            restore_duration_ms=invocation.restore_ms,
            spans=_extension_overhead(sandbox, invocation, now),
        )
    sandbox.relay.emit(platform_events.END, {"requestId": invocation.request_id})
    sandbox.relay.emit(platform_events.REPORT, record)
    sandbox.timeline.add(
        "invoke-end", invocation.request_id, status=outcome.status, post_runtime_ms=post_runtime_ms(invocation)
    )


def post_runtime_ms(invocation: Invocation) -> float | None:
    """Return the time that extensions added: from the runtime's `/next` to the last extension's."""
    if invocation.runtime_done_at is None or invocation.ended_at is None:
        return None
    return _milliseconds(invocation.runtime_done_at, invocation.ended_at)


def _outcome(invocation: Invocation, status: str | None, error_type: str | None) -> Outcome:
    """Return the outcome of the runtime's response, unless the environment overrides it."""
    response = invocation.response
    return Outcome(
        invocation.request_id,
        invocation.trace_id,
        status=status or (response.status if response else "error"),
        error_type=error_type or (response.error_type if response else None),
    )


def _spans(sandbox: Sandbox, invocation: Invocation, *, until: float) -> list[Span]:
    if invocation.responded_at is None:
        return []
    responded = _wall_clock(sandbox, invocation.responded_at)
    return [
        Span(
            "responseLatency",
            _wall_clock(sandbox, invocation.started_at),
            _milliseconds(invocation.started_at, invocation.responded_at),
        ),
        Span("responseDuration", responded, 0.0),
        Span("runtimeOverhead", responded, _milliseconds(invocation.responded_at, until)),
    ]


def _extension_overhead(sandbox: Sandbox, invocation: Invocation, until: float) -> list[Span]:
    if invocation.runtime_done_at is None or not list(sandbox.registry):
        return []
    start = invocation.runtime_done_at
    return [Span("extensionOverhead", _wall_clock(sandbox, start), _milliseconds(start, until))]


def _milliseconds(start: float, end: float) -> float:
    return round((end - start) * MILLISECONDS, 3)


def _wall_clock(sandbox: Sandbox, loop_time: float) -> float:
    return sandbox.config.clock.now() - (asyncio.get_running_loop().time() - loop_time)
