"""The end of a life: shutdown when the environment is no longer needed, reset when it has broken.

Two thousand milliseconds in all with an external extension, the runtime's 300 included ("Using the Lambda Extensions
API", shutdown phase). The runtime goes first: SIGTERM at a spindown, SIGKILL at a reset or when there is no extension.
Then each extension that registered for SHUTDOWN is told; one that did not is killed at once. Telemetry is delivered all
the while. Whoever is late is killed and named. At the end nothing of the life is left on the machine.
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
    from logferry.emulator.sandbox import Life

Reason = Literal["spindown", "timeout", "failure"]
SPINDOWN: Reason = "spindown"


async def end(life: Life, *, reason: Reason) -> ShutdownResult:
    """Shut a life down; bounded by the shutdown limit and the moment it takes to kill what is left."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    life.ending = True
    life.thaw()
    life.relay.shorten_deadline()
    life.timeline.add("shutdown", ENVIRONMENT, phase="begin", reason=reason)
    budget = _budget(life)
    deadline_ms = int((time.time() + budget) * MILLISECONDS)
    late = await _end_runtime(life, started, budget, reason)
    late += await _end_extensions(life, started + budget, _shutdown_event(reason, deadline_ms))
    duration_ms = round((loop.time() - started) * MILLISECONDS, 3)
    await destroy(life)
    exit_codes = {name: process.exit_code for name, process in life.processes.items()}
    life.timeline.add("shutdown", ENVIRONMENT, phase="end", reason=reason, duration_ms=duration_ms, killed=late)
    return ShutdownResult(duration_ms, tuple(late), exit_codes)


async def destroy(life: Life) -> None:
    """Kill and reap everything, without a word to anybody. Safe to call again."""
    life.ending = True
    await asyncio.gather(*(process.destroy() for process in life.processes.values()))
    if life.log_socket is not None:
        life.log_socket.close()
        life.log_socket = None
    await life.relay.close()
    life.runtime.end()
    for extension in life.registry:
        extension.end(State.EXITED)


def _budget(life: Life) -> float:
    """Seconds the whole shutdown may take."""
    if any(process.name in life.config.extensions and process.exit_code is None for process in life.processes.values()):
        return life.config.limits.shutdown_seconds
    return life.config.limits.shutdown_internal_seconds if list(life.registry) else 0.0


async def _end_runtime(life: Life, started: float, budget: float, reason: Reason) -> list[str]:
    """The runtime's share; returns the name of a runtime that overran it."""
    running = [process for process in life.runtime_processes if process.exit_code is None]
    late: list[str] = []
    if reason == SPINDOWN and budget and running:
        share = min(life.config.limits.runtime_share_seconds, budget)
        for process in running:
            process.terminate()
        try:
            await life.gates.until_even_if_broken(
                lambda: all(process.exit_code is not None for process in running), deadline=started + share
            )
        except TimeoutError:
            late.append(RUNTIME)
    for process in running:
        if process.exit_code is None:
            life.kill(process, f"late: it had {life.config.limits.runtime_share_seconds:g} s" if late else reason)
    return late


async def _end_extensions(life: Life, deadline: float, event: dict[str, object]) -> list[str]:
    """Tell, wait, kill; returns the names of those that had to be killed although they were told."""
    told: list[Extension] = []
    for extension in life.registry.external:
        process = life.processes.get(extension.name)
        if process is None or process.exit_code is not None:
            continue
        if SHUTDOWN in extension.events:
            life.timeline.add("event", extension.name, event=SHUTDOWN)
            extension.deliver(event)
            told.append(extension)
        else:
            life.kill(process, "not registered for SHUTDOWN")
    waited_for = [life.processes[extension.name] for extension in told]
    try:
        await life.gates.until_even_if_broken(
            lambda: all(process.exit_code is not None for process in waited_for), deadline=deadline
        )
    except TimeoutError:
        late = [process for process in waited_for if process.exit_code is None]
        for process in late:
            life.registry[process.name].end(State.SHUTDOWN_FAILED)
            life.kill(process, "late: it did not end within the shutdown limit")
        return [process.name for process in late]
    return []


def _shutdown_event(reason: Reason, deadline_ms: int) -> dict[str, object]:
    return {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms}
