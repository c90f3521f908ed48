"""Lambda as the extension sees it, for tests that need an exact moment or thousands of runs in a short time.

The emulator reproduces the platform as a whole: it starts a runtime, buffers and freezes. Here the
test is the platform. It chooses when an event is handed out, which bytes are delivered and how
often, and when the process is started again in the same /tmp. The extension is the real one, with
the same command line and the same sockets.

Guarantees:
- A batch counts as accepted if and only if the response was 200 (`accepted`).
- A batch without a response is delivered again, as the platform does, and recorded (`repeated`).
  Whether it was stored is unknown.
- `/event/next` returns only events of the test. Each request is counted, and its time is measured
  from the moment at which the event was handed out.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from logferry.cli.run import argv
from logferry.emulator.processes.processes import members_of
from logferry.emulator.seaweedfs import free_ports
from support.extension_process import Process
from support.platform_events import (
    DEADLINE_SECONDS,
    batch,
    function,
    identity,
    invoke_event,
    report_of,
    runtime_done,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

WAIT_SECONDS = 30.0
"""Maximum time of every wait, in seconds.

A step of the extension takes milliseconds, or seconds on a machine under load.
"""
POST_SECONDS = 5.0
"""Maximum time of one request to the listener, in seconds."""
RETRY_SECONDS = 0.02
"""Interval between two deliveries of the same batch, in seconds."""
POLL_SECONDS = 0.001
"""Interval of polls for conditions that no event announces, in seconds."""
FORK_SECONDS = 1.0
"""Maximum wait for the fork of the shipper, in seconds.

It follows the first request for an event, unless logferry is disabled.
"""


class BareLambda:
    """Context manager of the platform: `async with BareLambda(settings) as platform`.

    `start` starts the extension, repeatedly if needed.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        command: Sequence[str] | None = None,
        initialization_type: str = "on-demand",
        answers: Mapping[str, int] | None = None,
    ) -> None:
        """Prepare the platform; `answers` maps an API (`telemetry`, `logs`) to its status, by default 200."""
        self._settings = settings
        self._command = command or argv()
        # A separate port for each platform: after the end of an extension, its batches would reach another extension.
        self._listener_port = free_ports(1)[0]
        self._initialization_type = initialization_type
        self._answers = answers or {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._output: set[asyncio.Task[None]] = set()
        self._pending_events: set[asyncio.Task[Any]] = set()
        self.address = ""
        self.port = 0
        self.path = "/"
        self.clock_offset = 0.0
        """Jump of the machine's wall clock, in seconds; the platform's dates include it."""
        self.extension: Process
        self.processes: list[Process] = []
        self.registered: list[list[str]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.init_errors: list[dict[str, Any]] = []
        self.next_requested_at: list[float] = []
        self.accepted: list[bytes] = []
        self.repeated: list[bytes] = []

    @property
    def next_requests(self) -> int:
        """Return the number of requests to `/event/next`."""
        return len(self.next_requested_at)

    # --- the platform's API

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/2020-01-01/extension/register", self._register)
        app.router.add_get("/2020-01-01/extension/event/next", self._next)
        app.router.add_post("/2020-01-01/extension/init/error", self._init_error)
        app.router.add_put("/2022-07-01/telemetry", self._subscribe)
        app.router.add_put("/2020-08-15/logs", self._subscribe)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, keepalive_timeout=3600)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POST_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        for extension in self.processes:
            await self._end(extension)
        await asyncio.gather(*self._output)
        await self._session.close()
        for pending in self._pending_events:
            pending.cancel()
        await self._runner.cleanup()

    async def _register(self, request: web.Request) -> web.Response:
        self.registered.append((await request.json())["events"])
        document = {"functionName": "orders", "functionVersion": "$LATEST", "handler": "app.handler"}
        return web.json_response(document, headers={"Lambda-Extension-Identifier": str(uuid.uuid4())})

    async def _subscribe(self, request: web.Request) -> web.Response:
        api = "telemetry" if request.path.endswith("telemetry") else "logs"
        status = self._answers.get(api, 200)
        if status != 200:
            return web.json_response({"errorType": "Injected.Fault", "errorMessage": "injected fault"}, status=status)
        self.subscriptions.append(subscription := await request.json())
        url = urlsplit(subscription["destination"]["URI"])
        self.port, self.path = url.port or 0, url.path or "/"
        return web.json_response("OK")

    async def _init_error(self, request: web.Request) -> web.Response:
        self.init_errors.append(await request.json())
        return web.json_response({"status": "OK"}, status=202)

    async def _next(self, _: web.Request) -> web.Response:
        self.next_requested_at.append(time.monotonic())
        self._changed.set()
        pending = asyncio.create_task(self._events.get())
        self._pending_events.add(pending)
        try:
            return web.json_response(await pending)
        finally:
            self._pending_events.discard(pending)

    # --- the process

    async def start(self, *, at_once: bool = False) -> Process:
        """Start the extension and wait for its first request for an event and, unless `at_once`, for its shipper."""
        environ = {
            "PATH": os.defpath,
            "AWS_LAMBDA_RUNTIME_API": self.address,
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": self._initialization_type,
            "AWS_REGION": "us-east-1",
            "LOGFERRY_PORT": str(self._listener_port),
            **self._settings,
        }
        self._events = asyncio.Queue()
        before = self.next_requests
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=environ,
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.extension = Process(process)
        self.processes.append(self.extension)
        task = asyncio.create_task(self._read(self.extension))
        self._output.add(task)
        await self.wait_until(lambda: self.next_requests > before)
        until = time.monotonic() + (0 if at_once or self._answers else FORK_SECONDS)
        while self.extension.shipper is None and time.monotonic() < until:  # noqa: ASYNC110 - no event announces a fork
            await asyncio.sleep(POLL_SECONDS)
        return self.extension

    async def _read(self, extension: Process) -> None:
        if extension.process.stdout:
            async for line in extension.process.stdout:
                extension.output.append(line.decode(errors="replace").rstrip())
                self._changed.set()
        await extension.process.wait()
        self._changed.set()

    async def kill_group(self, number: int = signal.SIGKILL) -> None:
        """Kill the whole extension and keep /tmp, as after `Extension.Crash` and a reset on Lambda."""
        await self._end(self.extension, number)

    async def _end(self, extension: Process, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(extension.pid, number)
        if number != signal.SIGKILL:
            await extension.process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(extension.pid, signal.SIGKILL)
        await extension.process.wait()
        await self.wait_until_gone(extension)

    async def wait_until_gone(self, extension: Process) -> None:
        """Wait until no process of the session is left; a reset starts the next run only then."""
        async with asyncio.timeout(WAIT_SECONDS):
            while members_of([extension.pid])[extension.pid]:  # noqa: ASYNC110 - they are not our children
                await asyncio.sleep(RETRY_SECONDS)

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition that changes with the actions of the extension. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # --- events and deliveries

    async def hand_out(self, event: dict[str, Any]) -> float:
        """Respond to `/event/next` and wait for the next request; return the time between both, in seconds."""
        before, began = self.next_requests, time.monotonic()
        self._events.put_nowait({**event, "deadlineMs": event["deadlineMs"] + int(self.clock_offset * 1000)})
        await self.wait_until(lambda: self.next_requests > before or self.extension.process.returncode is not None)
        return time.monotonic() - began

    async def invoke(
        self, lines: Iterable[str] = (), *, seconds: float = DEADLINE_SECONDS, buffer_seconds: float = 0.0
    ) -> float:
        """Run one invocation with its batches; return the time that the extension added to it, in seconds.

        The time begins at the end of the function, which is delivered `buffer_seconds` later. It is
        0 if the extension has requested the next event by then.
        """
        request = str(uuid.uuid4())
        before = self.next_requests
        held = asyncio.create_task(self.hand_out(invoke_event(request, seconds=seconds)))
        await self.deliver(batch(start(request), *map(function, lines)))
        ended = time.monotonic()
        if buffer_seconds:
            await asyncio.sleep(buffer_seconds)
        await self.deliver(batch(runtime_done(request)))
        await held
        await self.deliver(batch(report_of(request)))
        return max(0.0, self.next_requested_at[before] - ended) if self.next_requests > before else 0.0

    async def shutdown(self, *, seconds: float = 2.0, reason: str = "spindown") -> float:
        """Send SHUTDOWN and return the time to the end of the extension, in seconds. Raises TimeoutError."""
        began = time.monotonic()
        self._events.put_nowait(
            {"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": self._date_ms(seconds)}
        )
        async with asyncio.timeout(WAIT_SECONDS):
            await self.extension.process.wait()
        took = time.monotonic() - began
        await self._end(self.extension)
        return took

    def _date_ms(self, seconds: float) -> int:
        return int((time.time() + self.clock_offset + seconds) * 1000)

    async def post(self, body: bytes, *, path: str | None = None) -> int | None:
        """Send one POST as the platform sends it, to `path` if given; return its status, or None without a response."""
        try:
            # A stream, because aiohttp warns of a large bytes body, which it writes at once.
            stream = io.BytesIO(body)
            async with self._session.post(f"http://127.0.0.1:{self.port}{path or self.path}", data=stream) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def deliver(self, body: bytes) -> None:
        """Deliver a batch until the response is 200. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                status = await self.post(body)
                if status == 200:
                    self.accepted.append(body)
                    return
                if status is None:
                    self.repeated.append(body)
                await asyncio.sleep(RETRY_SECONDS)

    def accepted_records(self) -> Counter[str]:
        """Count the records of the batches with a response of 200, by their identity."""
        return Counter(identity(record) for body in self.accepted for record in json.loads(body))

    def repeated_records(self) -> Counter[str]:
        """Count the records of attempts without a response, by their identity."""
        return Counter(identity(record) for body in self.repeated for record in json.loads(body))
