"""An execution environment: a directory and an API address with one sandbox after another.

An invocation runs in one of three sandboxes:

1. the running sandbox, after a restore if it is the snapshot of SnapStart;
2. in an environment that has never run, a new sandbox after an Init phase with a separate limit;
3. otherwise (failed Init, reset), a new sandbox that starts within the function timeout. This is the
   suppressed init, which telemetry reports as `phase: "invoke"`.

Guarantees:
- A sandbox that fails, or whose invocation exceeds its timeout, is reset once.
- `/tmp` outlives every sandbox.

References: "Lambda execution environment".
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from logferry.emulator.conditions import EnvironmentBrokenError
from logferry.emulator.phases import invoke_phase, shutdown_phase
from logferry.emulator.phases.init_phase import initialize
from logferry.emulator.phases.restore_phase import restore
from logferry.emulator.results import ShutdownResult
from logferry.emulator.sandbox import Sandbox
from logferry.emulator.telemetry.telemetry_relay import TelemetryRelay

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Mapping
    from pathlib import Path

    import aiohttp

    from logferry.emulator.environment_config import EnvironmentConfig
    from logferry.emulator.invocation import Invocation
    from logferry.emulator.phases.init_phase import Phase
    from logferry.emulator.processes.cpu_quota import CpuQuota
    from logferry.emulator.timeline import Timeline


class ExecutionEnvironment:
    """The sandboxes of one environment. `runtime_api` is set after the server has started to listen."""

    def __init__(
        self,
        config: EnvironmentConfig,
        *,
        tmp: Path,
        session: aiohttp.ClientSession,
        timeline: Timeline,
        console: deque[tuple[str, str]],
        cpu_quota: CpuQuota | None = None,
    ) -> None:
        self.sandbox: Sandbox | None = None
        self.relays: list[TelemetryRelay] = []
        self.runtime_api = ""
        self._config = config
        self._tmp = tmp
        self._session = session
        self._timeline = timeline
        self._console = console
        self._cpu_quota = cpu_quota
        self._log_stream = f"[$LATEST]{uuid.uuid4().hex}"
        self._previous: Sandbox | None = None
        self._starting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ExecutionEnvironment, {len(self.relays)} sandboxes so far: {self.sandbox!r}>"

    def current_sandbox(self) -> Sandbox:
        """Return the sandbox that a request belongs to: the running one, or the one that is ending."""
        sandbox = self.sandbox or self._previous
        if sandbox is None:
            raise RuntimeError("the runtime API received a request before any process was started")
        return sandbox

    async def init(self) -> None:
        """Run the Init phase unless one has run. If it fails, the next invocation runs it again."""
        async with self._starting:
            if not self.relays:
                await self._start_first()

    async def serve(self, invocation: Invocation) -> None:
        """Run an invocation to its end. In a sandbox that failed while idle it fails at once."""
        invocation.accepted_at = asyncio.get_running_loop().time()
        sandbox = await self._sandbox_for(invocation)
        if sandbox is None:
            return
        sandbox.thaw()
        try:
            if self._config.managed_instances:
                await invoke_phase.run_concurrently(sandbox, invocation)
            else:
                await invoke_phase.run(sandbox, invocation)
        except EnvironmentBrokenError as error:
            invoke_phase.fail(sandbox, invocation, error.failure)
            await self._reset(sandbox, "failure")
        except TimeoutError:
            invoke_phase.time_out(sandbox, invocation)
            if not self._config.managed_instances:
                await self._reset(sandbox, "timeout")

    def freeze(self) -> None:
        """Freeze the running sandbox unless it has failed."""
        if self.sandbox is not None and self.sandbox.conditions.failure is None:
            self.sandbox.freeze()

    async def send_event(self, event: Mapping[str, object]) -> None:
        """Send an event to every extension and wait until each has called `/next` again.

        Raise TimeoutError after the function timeout, and EnvironmentBrokenError if a process fails.
        """
        await self.init()
        sandbox = self.sandbox
        if sandbox is None:
            raise RuntimeError("no extension can receive an event: the Init phase failed")
        sandbox.thaw()
        for extension in sandbox.registry.external:
            sandbox.timeline.add("event", extension.name, event=event.get("eventType"))
            extension.deliver(event)
        deadline = asyncio.get_running_loop().time() + self._config.timeout_seconds
        await sandbox.conditions.wait_for(sandbox.registry.all_ready, deadline=deadline)

    async def shutdown(self, reason: shutdown_phase.Reason) -> ShutdownResult:
        """Run the Shutdown phase of the running sandbox."""
        sandbox, self.sandbox = self.sandbox, None
        if sandbox is None:
            return ShutdownResult(0.0, (), {})
        self._previous = sandbox
        return await shutdown_phase.end(sandbox, reason=reason)

    async def destroy(self) -> None:
        """Kill all processes without a Shutdown phase."""
        for sandbox in (self.sandbox, self._previous):
            if sandbox is not None:
                await shutdown_phase.destroy(sandbox)

    async def _sandbox_for(self, invocation: Invocation) -> Sandbox | None:
        """Return a sandbox that can be invoked, or None after a failed init has ended the invocation."""
        async with self._starting:
            if not self.relays:
                invocation.init_ms = await self._start_first()
            if self.sandbox is None:
                return await self._suppressed_init(invocation)
            return await self._restore_and_begin(self.sandbox, invocation)

    async def _restore_and_begin(self, sandbox: Sandbox, invocation: Invocation) -> Sandbox | None:
        """Begin an invocation, after a restore if one is due; return None if the restore fails."""
        if not self._config.snap_start or sandbox.is_restored:
            invoke_phase.begin(sandbox, invocation)
            return sandbox
        try:
            invocation.restore_ms = await restore(sandbox)
        except EnvironmentBrokenError as error:
            invoke_phase.begin(sandbox, invocation)
            invoke_phase.fail(sandbox, invocation, error.failure)
            await self._reset(sandbox, "failure")
            return None
        invoke_phase.begin(sandbox, invocation)
        return sandbox

    async def _start_first(self) -> float | None:
        """Run the Init phase; return its duration in ms, or None if it failed and was reset."""
        sandbox = self._new_sandbox()
        deadline = asyncio.get_running_loop().time() + self._config.init_limit_seconds
        phase: Phase = "snap-start" if self._config.snap_start else "init"
        try:
            return await initialize(sandbox, phase=phase, deadline=deadline)
        except (EnvironmentBrokenError, TimeoutError):
            await self._reset(sandbox, "failure")
            return None

    async def _suppressed_init(self, invocation: Invocation) -> Sandbox | None:
        invocation.begin()
        sandbox = self._new_sandbox()
        try:
            invocation.init_ms = await initialize(sandbox, phase="invoke", deadline=invocation.deadline)
            if self._config.snap_start:
                invocation.restore_ms = await restore(sandbox)
        except EnvironmentBrokenError as error:
            invoke_phase.emit_start(sandbox, invocation)
            invoke_phase.fail(sandbox, invocation, error.failure)
            await self._reset(sandbox, "failure")
            return None
        except TimeoutError:
            invoke_phase.emit_start(sandbox, invocation)
            invoke_phase.time_out(sandbox, invocation)
            await self._reset(sandbox, "timeout")
            return None
        invoke_phase.emit_start(sandbox, invocation)
        return sandbox

    async def _reset(self, sandbox: Sandbox, reason: shutdown_phase.Reason) -> None:
        """End a failed sandbox once, because one failure can end several invocations."""
        if self.sandbox is sandbox:
            self.sandbox, self._previous = None, sandbox
            await shutdown_phase.end(sandbox, reason=reason)

    def _new_sandbox(self) -> Sandbox:
        relay = TelemetryRelay(self._config, session=self._session, timeline=self._timeline)
        self.relays.append(relay)
        self.sandbox = Sandbox(
            self._config,
            runtime_api=self.runtime_api,
            tmp=self._tmp,
            log_stream=self._log_stream,
            relay=relay,
            timeline=self._timeline,
            console=self._console,
            cpu_quota=self._cpu_quota,
        )
        return self.sandbox
