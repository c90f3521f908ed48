"""The Init phase.

1. All extensions start concurrently.
2. The runtime starts when every external extension has registered.
3. The first `/next` of the runtime closes registration.
4. The Init phase ends, and telemetry subscriptions close, when every extension has called `/next`.

References: `doRuntimeDomainInit` in aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from logferry.emulator.conditions import EnvironmentBrokenError
from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.sandbox import ENVIRONMENT
from logferry.emulator.telemetry import platform_events

if TYPE_CHECKING:
    from logferry.emulator.sandbox import Sandbox

Phase = Literal["init", "invoke", "snap-start"]

INIT_TIMED_OUT = "Sandbox.Timedout"


async def initialize(sandbox: Sandbox, *, phase: Phase, deadline: float) -> float:
    """Start all processes of a sandbox and return the duration in milliseconds.

    Raise EnvironmentBrokenError if a process fails, and TimeoutError at `deadline`. The platform reports
    the Init phase in each case.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    sandbox.timeline.add("init", ENVIRONMENT, phase=phase, status="begin")
    record = platform_events.init_start(sandbox.config, phase=phase, instance_id=sandbox.log_stream)
    sandbox.relay.emit(platform_events.INIT_START, record)
    error_type: str | None = None
    try:
        await _start_processes(sandbox, phase, deadline)
    except EnvironmentBrokenError as error:
        error_type = error.failure.error_type
        raise
    except TimeoutError:
        error_type = INIT_TIMED_OUT
        raise
    finally:
        duration_ms = round((loop.time() - started) * MILLISECONDS, 3)
        _emit_report(sandbox, phase, duration_ms, error_type)
        sandbox.relay.close_subscriptions()
    return duration_ms


async def _start_processes(sandbox: Sandbox, phase: Phase, deadline: float) -> None:
    for name in sandbox.config.extensions:
        sandbox.start_extension(name)
    await sandbox.conditions.wait_for(sandbox.registry.all_external_registered, deadline=deadline)
    sandbox.start_runtime()
    runtime_error: str | None = INIT_TIMED_OUT
    try:
        await sandbox.conditions.wait_for(lambda: sandbox.runtime.is_initialized, deadline=deadline)
        runtime_error = None
    except EnvironmentBrokenError as error:
        runtime_error = error.failure.error_type
        raise
    finally:
        done = platform_events.init_runtime_done(sandbox.config, phase=phase, error_type=runtime_error)
        sandbox.relay.emit(platform_events.INIT_RUNTIME_DONE, done)
    sandbox.registry.closed = True
    await sandbox.conditions.wait_for(sandbox.registry.all_ready, deadline=deadline)


def _emit_report(sandbox: Sandbox, phase: Phase, duration_ms: float, error_type: str | None) -> None:
    for extension in sandbox.registry:
        record = platform_events.extension(
            name=extension.name,
            state=extension.state,
            events=extension.events,
            error_type=extension.error_type,
        )
        sandbox.relay.emit(platform_events.EXTENSION, record)
    report = platform_events.init_report(sandbox.config, phase=phase, duration_ms=duration_ms, error_type=error_type)
    sandbox.relay.emit(platform_events.INIT_REPORT, report)
    sandbox.timeline.add("init", ENVIRONMENT, phase=phase, status=error_type or "success", duration_ms=duration_ms)
