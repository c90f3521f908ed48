"""Lambda as its caller uses it: start an environment, invoke, let it idle, shut it down.

    function = ["python", "-m", "awslambdaric", "app.handler"]
    config = EnvironmentConfig(function=function, extensions={"name": ["/path/to/launcher"]})
    async with Lambda(config) as lam:
        result = await lam.invoke({"n": 1})
        await lam.wait_idle()
        await lam.shutdown()

Guarantees:
- `invoke` returns as soon as the runtime has responded. The next invocation waits until the
  extensions are done. On Managed Instances `max_concurrency` invocations run concurrently.
- An idle environment is frozen.
- Leaving the `async with` without `shutdown` kills all processes without a Shutdown phase, as if the
  machine disappeared.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import deque
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from logferry.emulator.apis.server import Server
from logferry.emulator.clock import PlatformClock
from logferry.emulator.environment_config import ON_DEMAND, EnvironmentConfig, Limits, TelemetryBehaviour
from logferry.emulator.execution_environment import ExecutionEnvironment
from logferry.emulator.invocation import Invocation, encode_payload
from logferry.emulator.phases import shutdown_phase
from logferry.emulator.processes.cpu_quota import CpuQuota
from logferry.emulator.results import InvokeResult, ShutdownResult, result_of
from logferry.emulator.timeline import Entry, Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from logferry.emulator.telemetry.subscriber import Subscriber

__all__ = [
    "Entry",
    "EnvironmentConfig",
    "InvokeResult",
    "Lambda",
    "Limits",
    "PlatformClock",
    "ShutdownResult",
    "TelemetryBehaviour",
    "Timeline",
]

CONSOLE_LINES = 100_000
"""Maximum number of output lines in `Lambda.console`, which keeps the last ones, and in the timeline."""

IDLE_MARGIN_SECONDS = 10.0
"""Margin of `wait_idle` in addition to the sum of all limits, in seconds, for a busy machine."""


class Lambda:
    """An emulated execution environment, used as an async context manager."""

    timeline: Timeline
    """All events in order."""

    console: deque[tuple[str, str]]
    """The last lines that the processes printed, as (process, line); the stand-in for CloudWatch."""

    runtime_api: str
    """`host:port`, the value of AWS_LAMBDA_RUNTIME_API."""

    def __init__(self, config: EnvironmentConfig) -> None:
        self._config = config
        self._slots = asyncio.Semaphore(config.max_concurrency if config.managed_instances else 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self._late_error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self.timeline = Timeline()
        self.console = deque(maxlen=CONSOLE_LINES)
        async with AsyncExitStack() as stack:
            tmp = self._config.tmp_directory
            if tmp is None:
                tmp = Path(tempfile.mkdtemp(prefix="lambda-tmp-"))
                stack.callback(shutil.rmtree, tmp, ignore_errors=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)))
            quota = CpuQuota(memory_mb=self._config.memory_mb) if self._config.limit_cpu else None
            if quota is not None:
                stack.enter_context(quota)
            self._environment = ExecutionEnvironment(
                self._config,
                tmp=tmp,
                session=session,
                timeline=self.timeline,
                console=self.console,
                cpu_quota=quota,
            )
            server = Server(self._environment.current_sandbox)
            stack.push_async_callback(server.stop)
            self.runtime_api = self._environment.runtime_api = await server.start()
            stack.push_async_callback(self._environment.destroy)
            stack.push_async_callback(self._cancel_invocations)
            if self._config.initialization_type != ON_DEMAND:
                await self.start()
            self._cleanup = stack.pop_all()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self._cleanup.aclose()

    def __repr__(self) -> str:
        return f"<Lambda {self._config.function_name}, {len(self._tasks)} invocations running, {self._environment!r}>"

    async def start(self) -> None:
        """Run the Init phase now, without an invocation. If it fails, the next invocation runs it again."""
        async with self._slots:
            await self._environment.init()
            self._freeze_if_idle(running=0)

    async def invoke(self, payload: Mapping[str, Any] | bytes) -> InvokeResult:
        """Invoke the function and return its response; raise RuntimeError after `shutdown`."""
        if self._ended:
            raise RuntimeError("this environment has been shut down: create another Lambda to invoke again")
        invocation = Invocation(encode_payload(payload), self._config.timeout_seconds)
        task = asyncio.create_task(self._serve(invocation), name=f"invocation {invocation.request_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._on_served(done, invocation))
        await asyncio.shield(invocation.pending_response)
        return result_of(invocation)

    async def wait_idle(self) -> None:
        """Return when every invocation has ended and the environment is frozen, if it freezes.

        Raise TimeoutError when the sum of all limits has passed. Raise any error that occurred after the
        response to an invocation. Both are faults of the emulator.
        """
        limits = self._config.limits
        step = self._config.init_limit_seconds + self._config.timeout_seconds + 2 * limits.shutdown_seconds
        async with asyncio.timeout(step * max(len(self._tasks), 1) + IDLE_MARGIN_SECONDS):
            while self._tasks:
                await asyncio.wait(self._tasks)
                await asyncio.sleep(0)  # the done callbacks remove the tasks
        if self._late_error is not None:
            raise self._late_error

    async def idle_for(self, seconds: float) -> None:
        """Wait until the environment is idle, then for `seconds`."""
        await self.wait_idle()
        await asyncio.sleep(seconds)

    async def skip_time(self, seconds: float) -> None:
        """Wait until the environment is idle, then advance the platform clock without waiting."""
        await self.wait_idle()
        self._config.clock.advance(seconds)
        self.timeline.add("skip", "clock", seconds=seconds)

    async def send_event(self, event: Mapping[str, object]) -> None:
        """Send an event of any type to every extension, and wait until each has called `/next` again.

        A future version of the platform can send types that an extension does not know. Raise TimeoutError
        after the function timeout.
        """
        async with self._slots:
            await self._environment.send_event(event)
            self._freeze_if_idle(running=0)

    async def shutdown(self, reason: shutdown_phase.Reason = shutdown_phase.SPINDOWN) -> ShutdownResult:
        """Run the Shutdown phase after the last invocation has ended."""
        await self.wait_idle()
        self._ended = True
        return await self._environment.shutdown(reason)

    @property
    def records_sent(self) -> list[dict[str, Any]]:
        """Every record that the platform produced for a subscriber, in order of production."""
        return list(chain.from_iterable(subscriber.sent for subscriber in self._subscribers()))

    @property
    def records_delivered(self) -> list[dict[str, Any]]:
        """The sent records that a subscriber has accepted, in order of acceptance."""
        return list(chain.from_iterable(subscriber.delivered for subscriber in self._subscribers()))

    @property
    def records_dropped(self) -> list[dict[str, Any]]:
        """The sent records that were dropped because a buffer was full or a request failed."""
        return list(chain.from_iterable(subscriber.dropped for subscriber in self._subscribers()))

    def extension_pids(self, name: str) -> tuple[int, ...]:
        """Return the ids of an extension's processes and descendants; empty if it does not run."""
        sandbox = self._environment.sandbox
        process = sandbox.processes.get(name) if sandbox else None
        return process.members() if process else ()

    def runtime_pids(self) -> tuple[int, ...]:
        """Return the ids of the function's processes and descendants."""
        sandbox = self._environment.sandbox
        return tuple(pid for process in sandbox.runtime_processes for pid in process.members()) if sandbox else ()

    def _subscribers(self) -> list[Subscriber]:
        return [subscriber for relay in self._environment.relays for subscriber in relay.subscribers]

    async def _cancel_invocations(self) -> None:
        self._ended = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, invocation: Invocation) -> None:
        async with self._slots:
            await self._environment.serve(invocation)
            self._freeze_if_idle(running=1)

    def _on_served(self, task: asyncio.Task[None], invocation: Invocation) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            invocation.pending_response.cancel()
            return
        error = task.exception()
        if invocation.pending_response.done():
            self._late_error = self._late_error or error
        else:
            invocation.pending_response.set_exception(error or RuntimeError("an invocation ended without a response"))

    def _freeze_if_idle(self, *, running: int) -> None:
        """Freeze unless more invocations than the `running` ones exist or the mode never freezes."""
        if self._config.freeze and not self._config.managed_instances and len(self._tasks) <= running:
            self._environment.freeze()
