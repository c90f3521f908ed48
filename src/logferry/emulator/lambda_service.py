"""Lambda as its caller sees it: start an environment, invoke the function in it, let it idle, shut it down.

    function = ["python", "-m", "awslambdaric", "app.handler"]
    config = EnvironmentConfig(function=function, extensions={"name": ["/path/to/launcher"]})
    async with Lambda(config) as lam:
        result = await lam.invoke({"n": 1})
        await lam.wait_idle()
        await lam.shutdown()

`invoke` returns when the runtime has answered; what follows goes on behind it, and the next invocation waits for its
end (on Managed Instances as many run at once as configured). When nothing is left to do the environment is frozen.
Leaving the `async with` without `shutdown` is the machine disappearing: everything is killed, nobody is told.
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
from logferry.emulator.environment_config import ON_DEMAND, EnvironmentConfig, Limits, TelemetryBehaviour
from logferry.emulator.execution_environment import ExecutionEnvironment
from logferry.emulator.invocation import Invocation, encode_payload
from logferry.emulator.phases import shutdown_phase
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
    "ShutdownResult",
    "TelemetryBehaviour",
    "Timeline",
]

CONSOLE_LINES = 100_000
"""How many lines are kept of what the processes printed."""

IDLE_MARGIN_SECONDS = 10.0
"""What `wait_idle` allows on top of every limit that may pass one after the other."""


class Lambda:
    """An emulated execution environment. Use it as an async context manager."""

    timeline: Timeline
    """What happened, in order."""

    console: deque[tuple[str, str]]
    """Every line the processes printed, as (process, line): the stand-in for CloudWatch."""

    runtime_api: str
    """`host:port`, the value of AWS_LAMBDA_RUNTIME_API."""

    def __init__(self, config: EnvironmentConfig) -> None:
        self._config = config
        self._turn = asyncio.Semaphore(config.max_concurrency if config.managed_instances else 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        self._mistake: BaseException | None = None

    async def __aenter__(self) -> Self:
        self.timeline = Timeline()
        self.console = deque(maxlen=CONSOLE_LINES)
        async with AsyncExitStack() as stack:
            tmp = self._config.tmp_directory
            if tmp is None:
                tmp = Path(tempfile.mkdtemp(prefix="lambda-tmp-"))
                stack.callback(shutil.rmtree, tmp, ignore_errors=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)))
            self._environment = ExecutionEnvironment(
                self._config, tmp=tmp, session=session, timeline=self.timeline, console=self.console
            )
            server = Server(self._environment.addressed)
            stack.push_async_callback(server.stop)
            self.runtime_api = self._environment.runtime_api = await server.start()
            stack.push_async_callback(self._environment.destroy)
            stack.push_async_callback(self._abandon_invocations)
            if self._config.initialization_type != ON_DEMAND:
                await self.start()
            self._cleanup = stack.pop_all()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self._cleanup.aclose()

    def __repr__(self) -> str:
        return f"<Lambda {self._config.function_name}, {len(self._tasks)} invocations under way, {self._environment!r}>"

    async def start(self) -> None:
        """Run the init phase now, without an invocation. If it fails, the next invocation runs it again."""
        async with self._turn:
            await self._environment.init()
            self._freeze_if_idle(own=0)

    async def invoke(self, payload: Mapping[str, Any] | bytes) -> InvokeResult:
        """Invoke the function; returns when the caller would have its answer. RuntimeError after `shutdown`."""
        if self._over:
            raise RuntimeError("this environment has been shut down: begin another Lambda to invoke again")
        invocation = Invocation(encode_payload(payload), self._config.timeout_seconds)
        task = asyncio.create_task(self._serve(invocation), name=f"invocation {invocation.request_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._served(done, invocation))
        await asyncio.shield(invocation.answer)
        return result_of(invocation)

    async def wait_idle(self) -> None:
        """Return when every invocation has ended and, where it freezes, the environment is frozen.

        Raises TimeoutError when limits that bound each step have all passed, and whatever went wrong behind an answer
        that had been given: mistakes of the emulator, both.
        """
        limits = self._config.limits
        step = self._config.init_limit_seconds + self._config.timeout_seconds + 2 * limits.shutdown_seconds
        async with asyncio.timeout(step * max(len(self._tasks), 1) + IDLE_MARGIN_SECONDS):
            while self._tasks:
                await asyncio.wait(self._tasks)
                await asyncio.sleep(0)  # done callbacks take the tasks out
        if self._mistake is not None:
            raise self._mistake

    async def idle_for(self, seconds: float) -> None:
        """Let time pass between invocations."""
        await self.wait_idle()
        await asyncio.sleep(seconds)

    async def shutdown(self, reason: shutdown_phase.Reason = shutdown_phase.SPINDOWN) -> ShutdownResult:
        """End the environment the way Lambda does, once no invocation is under way."""
        await self.wait_idle()
        self._over = True
        return await self._environment.shutdown(reason)

    @property
    def records_sent(self) -> list[dict[str, Any]]:
        """Every record the platform produced for a subscriber, in order of production."""
        return list(chain.from_iterable(subscriber.sent for subscriber in self._subscribers()))

    @property
    def records_delivered(self) -> list[dict[str, Any]]:
        """Those of them that a subscriber has accepted, in order of acceptance."""
        return list(chain.from_iterable(subscriber.delivered for subscriber in self._subscribers()))

    @property
    def records_dropped(self) -> list[dict[str, Any]]:
        """Those of them that will never be delivered, because a buffer was full or an answer late."""
        return list(chain.from_iterable(subscriber.dropped for subscriber in self._subscribers()))

    def extension_pids(self, name: str) -> tuple[int, ...]:
        """Ids of the living processes of an extension, its descendants included; empty when it does not run."""
        life = self._environment.life
        process = life.processes.get(name) if life else None
        return process.members() if process else ()

    def runtime_pids(self) -> tuple[int, ...]:
        """Ids of the living processes of the function."""
        life = self._environment.life
        return tuple(pid for process in life.runtime_processes for pid in process.members()) if life else ()

    def _subscribers(self) -> list[Subscriber]:
        return [subscriber for relay in self._environment.relays for subscriber in relay.subscribers]

    async def _abandon_invocations(self) -> None:
        self._over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, invocation: Invocation) -> None:
        async with self._turn:
            await self._environment.serve(invocation)
            self._freeze_if_idle(own=1)

    def _served(self, task: asyncio.Task[None], invocation: Invocation) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            invocation.answer.cancel()
            return
        error = task.exception()
        if invocation.answer.done():
            self._mistake = self._mistake or error
        else:
            invocation.answer.set_exception(error or RuntimeError("an invocation ended without an answer"))

    def _freeze_if_idle(self, *, own: int) -> None:
        """Freeze unless invocations besides our `own` wait for a turn, or the mode knows no freezing."""
        if self._config.freeze and not self._config.managed_instances and len(self._tasks) <= own:
            self._environment.freeze()
