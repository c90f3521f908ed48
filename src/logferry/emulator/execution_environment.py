"""An execution environment: a place that outlives its processes, and the lives that follow one another in it.

Which life an invocation gets, in AWS's order ("Lambda execution environment"):

1. the life that is there;
2. in an environment that has never run, a life begun by the init phase, with a time limit of its own;
3. otherwise, after a failed init or a reset, a life begun inside the invocation and on its time: the suppressed init,
   which telemetry calls `phase: "invoke"`.

A life that fails, or whose invocation overruns, is ended at once and with a reason; the place, `/tmp` included, stays.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from logferry.emulator.conditions import EnvironmentBrokenError
from logferry.emulator.phases import invoke_phase, shutdown_phase
from logferry.emulator.phases.init_phase import initialize
from logferry.emulator.results import ShutdownResult
from logferry.emulator.sandbox import Life
from logferry.emulator.telemetry.telemetry_relay import TelemetryRelay

if TYPE_CHECKING:
    from collections import deque
    from pathlib import Path

    import aiohttp

    from logferry.emulator.environment_config import EnvironmentConfig
    from logferry.emulator.invocation import Invocation
    from logferry.emulator.phases.init_phase import Phase
    from logferry.emulator.timeline import Timeline


class ExecutionEnvironment:
    """The lives of one environment; `runtime_api` is set once the server listens."""

    def __init__(
        self,
        config: EnvironmentConfig,
        *,
        tmp: Path,
        session: aiohttp.ClientSession,
        timeline: Timeline,
        console: deque[tuple[str, str]],
    ) -> None:
        self.life: Life | None = None
        self.relays: list[TelemetryRelay] = []
        self.runtime_api = ""
        self._config = config
        self._tmp = tmp
        self._session = session
        self._timeline = timeline
        self._console = console
        self._log_stream = f"[$LATEST]{uuid.uuid4().hex}"
        self._last: Life | None = None
        self._bring_up = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ExecutionEnvironment in life {len(self.relays)}: {self.life!r}>"

    def addressed(self) -> Life:
        """Whom a request is for: the life that is, or the one that is just ending."""
        life = self.life or self._last
        if life is None:
            raise RuntimeError("a request came to the runtime API before any process was started")
        return life

    async def init(self) -> None:
        """Run the init phase if none was ever run. If it fails, the next invocation runs it again."""
        async with self._bring_up:
            if not self.relays:
                await self._first_life()

    async def serve(self, invocation: Invocation) -> None:
        """Carry an invocation to its end, whatever that is. In a life that broke while idle it fails at once."""
        invocation.taken_at = asyncio.get_running_loop().time()
        life = await self._living(invocation)
        if life is None:
            return
        life.thaw()
        try:
            if self._config.managed_instances:
                await invoke_phase.run_beside_others(life, invocation)
            else:
                await invoke_phase.run(life, invocation)
        except EnvironmentBrokenError as error:
            invoke_phase.fail(life, invocation, error.failure)
            await self._reset(life, "failure")
        except TimeoutError:
            invoke_phase.time_out(life, invocation)
            if not self._config.managed_instances:
                await self._reset(life, "timeout")

    def freeze(self) -> None:
        """Freeze the life that is, unless it is broken already."""
        if self.life is not None and self.life.gates.failure is None:
            self.life.freeze()

    async def shutdown(self, reason: shutdown_phase.Reason) -> ShutdownResult:
        """End the life that is, for good."""
        life, self.life = self.life, None
        if life is None:
            return ShutdownResult(0.0, (), {})
        self._last = life
        return await shutdown_phase.end(life, reason=reason)

    async def destroy(self) -> None:
        """Kill everything without a word."""
        for life in (self.life, self._last):
            if life is not None:
                await shutdown_phase.destroy(life)

    async def _living(self, invocation: Invocation) -> Life | None:
        """A life to be invoked; None when there is none to be had, and the invocation has been answered so."""
        async with self._bring_up:
            if not self.relays:
                invocation.init_ms = await self._first_life()
            if self.life is not None:
                invoke_phase.begin(self.life, invocation)
                return self.life
            return await self._suppressed_init(invocation)

    async def _first_life(self) -> float | None:
        """The init phase; the milliseconds it took, None when it failed and its life has been ended again."""
        life = self._new_life()
        deadline = asyncio.get_running_loop().time() + self._config.init_limit_seconds
        phase: Phase = "init"
        try:
            return await initialize(life, phase=phase, deadline=deadline)
        except (EnvironmentBrokenError, TimeoutError):
            await self._reset(life, "failure")
            return None

    async def _suppressed_init(self, invocation: Invocation) -> Life | None:
        invocation.begin()
        life = self._new_life()
        try:
            invocation.init_ms = await initialize(life, phase="invoke", deadline=invocation.deadline)
        except EnvironmentBrokenError as error:
            invoke_phase.announce(life, invocation)
            invoke_phase.fail(life, invocation, error.failure)
            await self._reset(life, "failure")
            return None
        except TimeoutError:
            invoke_phase.announce(life, invocation)
            invoke_phase.time_out(life, invocation)
            await self._reset(life, "timeout")
            return None
        invoke_phase.announce(life, invocation)
        return life

    async def _reset(self, life: Life, reason: shutdown_phase.Reason) -> None:
        """End a broken life, once: several invocations may have been broken by the same failure."""
        if self.life is life:
            self.life, self._last = None, life
            await shutdown_phase.end(life, reason=reason)

    def _new_life(self) -> Life:
        relay = TelemetryRelay(self._config, session=self._session, timeline=self._timeline)
        self.relays.append(relay)
        self.life = Life(
            self._config,
            runtime_api=self.runtime_api,
            tmp=self._tmp,
            log_stream=self._log_stream,
            relay=relay,
            timeline=self._timeline,
            console=self._console,
        )
        return self.life
