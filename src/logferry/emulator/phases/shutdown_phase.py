"""The end of a sandbox: the Shutdown phase of an idle environment, and the reset of a failed one.

1. The runtime ends first. A spindown sends SIGTERM, a reset or an environment without extensions
   sends SIGKILL.
2. After a reset, and on Managed Instances, the pending records are delivered before SHUTDOWN, within a
   limit. At a spindown AWS's documentation promises no such order.
3. Each extension that registered for SHUTDOWN receives the event. Any other is killed at once.
4. A process that exceeds its limit is killed and named in the result.

Guarantees:
- The phase ends within its limit: 2,000 ms with an external extension, including the runtime's share.
- Records are delivered during the phase.
- No process of the sandbox remains.

References: "Using the Lambda Extensions API" (Shutdown phase); `rapid/shutdown.go` in
aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal

from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.processes.extensions import SHUTDOWN, Extension, State
from logferry.emulator.results import ShutdownResult
from logferry.emulator.sandbox import ENVIRONMENT, RUNTIME

if TYPE_CHECKING:
    from logferry.emulator.sandbox import Sandbox

Reason = Literal["spindown", "timeout", "failure"]
SPINDOWN: Reason = "spindown"


async def end(sandbox: Sandbox, *, reason: Reason) -> ShutdownResult:
    """End a sandbox within the shutdown limit plus the time to kill the remaining processes."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    sandbox.is_ending = True
    sandbox.thaw()
    sandbox.relay.begin_shutdown()
    sandbox.timeline.add("shutdown", ENVIRONMENT, phase="begin", reason=reason)
    limit = _limit_seconds(sandbox)
    deadline_ms = int((time.time() + limit) * MILLISECONDS)
    late = await _end_runtime(sandbox, started, limit, reason)
    await _flush_telemetry(sandbox, started + limit, reason)
    late += await _end_extensions(sandbox, started + limit, _shutdown_event(reason, deadline_ms))
    duration_ms = round((loop.time() - started) * MILLISECONDS, 3)
    await destroy(sandbox)
    exit_codes = {name: process.exit_code for name, process in sandbox.processes.items()}
    sandbox.timeline.add("shutdown", ENVIRONMENT, phase="end", reason=reason, duration_ms=duration_ms, killed=late)
    return ShutdownResult(duration_ms, tuple(late), exit_codes)


async def destroy(sandbox: Sandbox) -> None:
    """Kill and reap all processes without an event. A second call is safe."""
    sandbox.is_ending = True
    await asyncio.gather(*(process.destroy() for process in sandbox.processes.values()))
    if sandbox.log_socket is not None:
        sandbox.log_socket.close()
        sandbox.log_socket = None
    await sandbox.relay.close()
    sandbox.runtime.close()
    for extension in sandbox.registry:
        extension.end(State.EXITED)


def _limit_seconds(sandbox: Sandbox) -> float:
    """Return the time limit of the phase."""
    limits = sandbox.config.limits
    if any(sandbox.is_running(name) for name in sandbox.config.extensions):
        return limits.shutdown_seconds
    return limits.shutdown_internal_seconds if list(sandbox.registry) else 0.0


async def _flush_telemetry(sandbox: Sandbox, deadline: float, reason: Reason) -> None:
    """Wait for the delivery of pending records to the extensions that are running."""
    if reason == SPINDOWN and not sandbox.config.managed_instances:
        return
    names = {name for name in sandbox.config.extensions if sandbox.is_running(name)}
    limit = asyncio.get_running_loop().time() + sandbox.config.limits.telemetry_flush_seconds
    await sandbox.relay.flush(names, deadline=min(limit, deadline))


def _runtime_share_seconds(sandbox: Sandbox) -> float:
    """Return the time from SIGTERM to SIGKILL of the runtime."""
    limits = sandbox.config.limits
    has_internal = any(not extension.external for extension in sandbox.registry)
    return limits.runtime_share_internal_seconds if has_internal else limits.runtime_share_seconds


async def _end_runtime(sandbox: Sandbox, started: float, limit: float, reason: Reason) -> list[str]:
    """End the runtime; return its name if it exceeded its share."""
    running = [process for process in sandbox.runtime_processes if process.exit_code is None]
    late: list[str] = []
    share = min(_runtime_share_seconds(sandbox), limit)
    if reason == SPINDOWN and limit and running:
        for process in running:
            process.terminate()
        try:
            await sandbox.conditions.wait_despite_failure(
                lambda: all(process.exit_code is not None for process in running), deadline=started + share
            )
        except TimeoutError:
            late.append(RUNTIME)
    for process in running:
        if process.exit_code is None:
            sandbox.kill(process, f"late: it had {share:g} s" if late else reason)
    return late


async def _end_extensions(sandbox: Sandbox, deadline: float, event: dict[str, object]) -> list[str]:
    """Send SHUTDOWN, wait, kill; return the names of the extensions that exceeded the limit."""
    notified: list[Extension] = []
    for extension in sandbox.registry.external:
        process = sandbox.processes.get(extension.name)
        if process is None or process.exit_code is not None:
            continue
        if SHUTDOWN in extension.events:
            sandbox.timeline.add("event", extension.name, event=SHUTDOWN)
            extension.deliver(event)
            notified.append(extension)
        else:
            sandbox.kill(process, "not registered for SHUTDOWN")
    if notified:
        sandbox.relay.shutdown_sent()
    processes = [sandbox.processes[extension.name] for extension in notified]
    try:
        await sandbox.conditions.wait_despite_failure(
            lambda: all(process.exit_code is not None for process in processes), deadline=deadline
        )
    except TimeoutError:
        late = [process for process in processes if process.exit_code is None]
        for process in late:
            sandbox.registry[process.name].end(State.SHUTDOWN_FAILED)
            sandbox.kill(process, "late: it did not end within the shutdown limit")
        return [process.name for process in late]
    return []


def _shutdown_event(reason: Reason, deadline_ms: int) -> dict[str, object]:
    return {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms}
