"""The init phase, in AWS's order (`doRuntimeDomainInit` in aws-lambda-runtime-interface-emulator).

Extensions start together; when all external ones have registered the runtime starts; its first `/next` closes
registration; when every extension has asked for its first event telemetry subscriptions close, and init is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from logferry.emulator.conditions import EnvironmentBrokenError
from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.sandbox import ENVIRONMENT
from logferry.emulator.telemetry import platform_events

if TYPE_CHECKING:
    from logferry.emulator.sandbox import Life

Phase = Literal["init", "invoke"]

INIT_TIMED_OUT = "Sandbox.Timedout"


async def initialize(life: Life, *, phase: Phase, deadline: float) -> float:
    """Bring a life to where it can be invoked; returns the milliseconds it took.

    Raises EnvironmentBrokenError when a process fails and TimeoutError at `deadline`; init is reported all the same.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    life.timeline.add("init", ENVIRONMENT, phase=phase, status="begin")
    record = platform_events.init_start(life.config, phase=phase, instance_id=life.log_stream)
    life.relay.emit(platform_events.INIT_START, record)
    error_type: str | None = None
    try:
        await _bring_up(life, phase, deadline)
    except EnvironmentBrokenError as error:
        error_type = error.failure.error_type
        raise
    except TimeoutError:
        error_type = INIT_TIMED_OUT
        raise
    finally:
        duration_ms = round((loop.time() - started) * MILLISECONDS, 3)
        _report(life, phase, duration_ms, error_type)
        life.relay.close_subscriptions()
    return duration_ms


async def _bring_up(life: Life, phase: Phase, deadline: float) -> None:
    for name in life.config.extensions:
        life.start_extension(name)
    await life.gates.until(life.registry.all_external_registered, deadline=deadline)
    life.start_runtime()
    runtime_error: str | None = INIT_TIMED_OUT
    try:
        await life.gates.until(lambda: life.runtime.asked_once, deadline=deadline)
        runtime_error = None
    except EnvironmentBrokenError as error:
        runtime_error = error.failure.error_type
        raise
    finally:
        done = platform_events.init_runtime_done(life.config, phase=phase, error_type=runtime_error)
        life.relay.emit(platform_events.INIT_RUNTIME_DONE, done)
    life.registry.closed = True
    await life.gates.until(life.registry.all_wait, deadline=deadline)


def _report(life: Life, phase: Phase, duration_ms: float, error_type: str | None) -> None:
    for extension in life.registry:
        record = platform_events.extension(
            name=extension.name,
            state=extension.state,
            events=extension.events,
            error_type=extension.error_type,
        )
        life.relay.emit(platform_events.EXTENSION, record)
    report = platform_events.init_report(life.config, phase=phase, duration_ms=duration_ms, error_type=error_type)
    life.relay.emit(platform_events.INIT_REPORT, report)
    life.timeline.add("init", ENVIRONMENT, phase=phase, status=error_type or "success", duration_ms=duration_ms)
