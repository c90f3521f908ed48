"""Lambda reduced to what the extension sees of it, for tests that need one moment exactly or a thousand lives quickly.

The emulator judges the whole; it starts a runtime, buffers and freezes. Here the test itself is the platform: it says
when an event is handed out, which bytes are delivered and how often, and when the process is started again in the same
/tmp. The extension is the real one: the same command line, the same sockets.

Promises:
- a delivery counts as accepted when, and only when, it was answered 200 (`accepted`); one that got no answer is
  delivered again, as the platform does, and remembered (`repeated`): nobody can know whether it was stored;
- `/event/next` is answered only by events of the test; each asking is counted, and how long it took is measured from
  the moment the event was handed out.
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
    from collections.abc import Iterable, Mapping, Sequence

PATIENCE_SECONDS = 30.0
"""The bound of every wait: a step of the extension takes milliseconds, a machine under load makes seconds of them."""
POST_SECONDS = 5.0
RETRY_SECONDS = 0.02
LOOK_SECONDS = 0.001
FORK_SECONDS = 1.0
"""The shipper is forked when the first event has been asked for; not at all where there is nothing to ship."""


class BareLambda:
    """`async with BareLambda(settings) as platform`; the extension is started by `start`, as often as you like."""

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        command: Sequence[str] | None = None,
        initialization_type: str = "on-demand",
        answers: Mapping[str, int] | None = None,
    ) -> None:
        """`answers`: by API (`telemetry`, `logs`) the status that every subscription gets instead of 200."""
        self._settings = settings
        self._command = command or argv()
        # Its own, for several platforms at once: else one that is just dead would deliver to another's extension.
        self._own_port = free_ports(1)[0]
        self._initialization_type = initialization_type
        self._answers = answers or {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._output: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[Any]] = set()
        self.address = ""
        self.port = 0
        self.path = "/"
        self.clock_offset = 0.0
        """Seconds that the machine's wall clock has jumped: the platform's dates are made with it."""
        self.life: Process
        self.lives: list[Process] = []
        self.registered: list[list[str]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.init_errors: list[dict[str, Any]] = []
        self.asked_at: list[float] = []
        self.accepted: list[bytes] = []
        self.repeated: list[bytes] = []

    @property
    def asked(self) -> int:
        """How often `/event/next` was called."""
        return len(self.asked_at)

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
        for life in self.lives:
            await self._end(life)
        await asyncio.gather(*self._output)
        await self._session.close()
        for asking in self._asking:
            asking.cancel()
        await self._runner.cleanup()

    async def _register(self, request: web.Request) -> web.Response:
        self.registered.append((await request.json())["events"])
        document = {"functionName": "orders", "functionVersion": "$LATEST", "handler": "app.handler"}
        return web.json_response(document, headers={"Lambda-Extension-Identifier": str(uuid.uuid4())})

    async def _subscribe(self, request: web.Request) -> web.Response:
        api = "telemetry" if request.path.endswith("telemetry") else "logs"
        status = self._answers.get(api, 200)
        if status != 200:
            return web.json_response({"errorType": "As.Told", "errorMessage": "as told"}, status=status)
        self.subscriptions.append(wish := await request.json())
        url = urlsplit(wish["destination"]["URI"])
        self.port, self.path = url.port or 0, url.path or "/"
        return web.json_response("OK")

    async def _init_error(self, request: web.Request) -> web.Response:
        self.init_errors.append(await request.json())
        return web.json_response({"status": "OK"}, status=202)

    async def _next(self, _: web.Request) -> web.Response:
        self.asked_at.append(time.monotonic())
        self._changed.set()
        asking = asyncio.create_task(self._events.get())
        self._asking.add(asking)
        try:
            return web.json_response(await asking)
        finally:
            self._asking.discard(asking)

    # --- the process

    async def start(self, *, at_once: bool = False) -> Process:
        """Start the extension and wait until it waits for its first event and, unless `at_once`, has its shipper."""
        environ = {
            "PATH": os.defpath,
            "AWS_LAMBDA_RUNTIME_API": self.address,
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": self._initialization_type,
            "AWS_REGION": "us-east-1",
            "LOGFERRY_PORT": str(self._own_port),
            **self._settings,
        }
        self._events = asyncio.Queue()
        before = self.asked
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=environ,
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.life = Process(process)
        self.lives.append(self.life)
        task = asyncio.create_task(self._read(self.life))
        self._output.add(task)
        await self.until(lambda: self.asked > before)
        until = time.monotonic() + (0 if at_once or self._answers else FORK_SECONDS)
        while self.life.shipper is None and time.monotonic() < until:  # noqa: ASYNC110 - a fork tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        return self.life

    async def _read(self, life: Process) -> None:
        if life.process.stdout:
            async for line in life.process.stdout:
                life.output.append(line.decode(errors="replace").rstrip())
                self._changed.set()
        await life.process.wait()
        self._changed.set()

    async def kill_group(self, number: int = signal.SIGKILL) -> None:
        """The whole extension dies; /tmp stays. On Lambda this is `Extension.Crash` and a reset."""
        await self._end(self.life, number)

    async def _end(self, life: Process, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(life.pid, number)
        if number != signal.SIGKILL:
            await life.process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(life.pid, signal.SIGKILL)
        await life.process.wait()
        await self.until_gone(life)

    async def until_gone(self, life: Process) -> None:
        """Wait until nobody of its session is left: a reset starts the next life only then."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while members_of([life.pid])[life.pid]:  # noqa: ASYNC110 - they are nobody's children any more
                await asyncio.sleep(RETRY_SECONDS)

    async def until(self, true: Any) -> None:
        """Wait until something holds that changes with what the extension does. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    # --- events and deliveries

    async def hand_out(self, event: dict[str, Any]) -> float:
        """Answer `/event/next` and wait until it is asked again; how long that took (seconds)."""
        before, began = self.asked, time.monotonic()
        self._events.put_nowait({**event, "deadlineMs": event["deadlineMs"] + int(self.clock_offset * 1000)})
        await self.until(lambda: self.asked > before or self.life.process.returncode is not None)
        return time.monotonic() - began

    async def invoke(
        self, lines: Iterable[str] = (), *, seconds: float = DEADLINE_SECONDS, buffer_seconds: float = 0.0
    ) -> float:
        """One invocation with its deliveries; the seconds that the extension added to it.

        They count from the end of the function, which is delivered `buffer_seconds` later: 0 for an extension that
        has asked for the next event by then.
        """
        request = str(uuid.uuid4())
        before = self.asked
        held = asyncio.create_task(self.hand_out(invoke_event(request, seconds=seconds)))
        await self.deliver(batch(start(request), *map(function, lines)))
        ended = time.monotonic()
        if buffer_seconds:
            await asyncio.sleep(buffer_seconds)
        await self.deliver(batch(runtime_done(request)))
        await held
        await self.deliver(batch(report_of(request)))
        return max(0.0, self.asked_at[before] - ended) if self.asked > before else 0.0

    async def shutdown(self, *, seconds: float = 2.0, reason: str = "spindown") -> float:
        """SHUTDOWN; how long the extension took to end (seconds). It is killed when it takes too long by far."""
        began = time.monotonic()
        self._events.put_nowait(
            {"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": self._date_ms(seconds)}
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.life.process.wait()
        took = time.monotonic() - began
        await self._end(self.life)
        return took

    def _date_ms(self, seconds: float) -> int:
        return int((time.time() + self.clock_offset + seconds) * 1000)

    async def post(self, body: bytes, *, path: str | None = None) -> int | None:
        """One POST, as the platform makes it (or another, to `path`); its status, None when there was no answer."""
        try:
            # A stream: aiohttp warns of many bytes, which it would write in one go.
            stream = io.BytesIO(body)
            async with self._session.post(f"http://127.0.0.1:{self.port}{path or self.path}", data=stream) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def deliver(self, body: bytes) -> None:
        """POST until it is answered 200. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status = await self.post(body)
                if status == 200:
                    self.accepted.append(body)
                    return
                if status is None:
                    self.repeated.append(body)
                await asyncio.sleep(RETRY_SECONDS)

    def accepted_records(self) -> Counter[str]:
        """The records of what was answered 200, by their identity."""
        return Counter(identity(record) for body in self.accepted for record in json.loads(body))

    def repeated_records(self) -> Counter[str]:
        """The records of attempts that got no answer, by their identity."""
        return Counter(identity(record) for body in self.repeated for record in json.loads(body))
