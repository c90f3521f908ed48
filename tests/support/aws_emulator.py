"""AWS's Lambda emulator (aws-lambda-rie) as an independent judge of the extension.

It is AWS's supervisor without the cloud, with two modes:

- ``classic`` is on-demand Lambda. The Extensions API is complete; the Telemetry API answers 202 and
  delivers no record. Init runs at the first invocation. A response waits until every extension is ready.
- ``managed-instances`` is Lambda Managed Instances. Init runs at once, and the Telemetry API delivers in
  schema 2025-01-29. One runtime process is started for any concurrency. It has to keep that many calls to
  ``invocation/next`` open. Runtime and extensions run as uid 993, gid 990.

It does not emulate freezes, repeated deliveries, the init limit, the cloud's shutdown reasons and
latencies.

Design: the emulator runs in a private root (``private_root``). Under /opt and /var this root contains only
the extensions, the runtime and the ``mounts`` of one test. The end of the context ends every process.
``aws_emulator_wheel`` fetches the binary.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import aiohttp

from logferry.emulator.seaweedfs import free_ports
from support import aws_emulator_wheel, private_root

if TYPE_CHECKING:
    from collections.abc import Mapping

START_SECONDS = 20.0
"""Time limit from exec to a listening emulator, in seconds. It takes 50 ms on an idle machine."""

INVOKE_SECONDS = 60.0
"""Time limit of one invocation, in seconds. In classic mode it includes the start of all processes."""

SHUTDOWN_SECONDS = 10.0
"""Time limit of the end after SIGTERM, in seconds: 2 s for extensions, the rest for a busy machine."""

KILL_SECONDS = 2.0
"""Time limit of a namespace's end after SIGKILL to its first process, in seconds."""

OUTPUT_SECONDS = 10.0
"""Default time limit for a line of output, in seconds."""

MAX_STARTS = 3
"""Maximum number of starts with other ports, if one was taken between choice and use."""

_PROBE_SECONDS = 0.02
_LINE_BYTES = 16 * 2**20
_NO_RUNTIME_READY = b'{"errorType":"Runtime.Unavailable"}'
_INVOKE_PATH = "/2015-03-31/functions/function/invocations"

LINE_PER_INVOCATION = f"""#!{sys.executable}
import os, threading, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
def serve():
    while True:
        with urllib.request.urlopen(base + "next") as event:
            request_id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
        print("line of " + body.decode(), flush=True)
        urllib.request.urlopen(urllib.request.Request(base + request_id + "/response", data=body, method="POST"))
for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))):
    threading.Thread(target=serve).start()
"""
"""A bootstrap that prints "line of" each event and returns it, with the concurrency of Managed Instances."""

# Variables of AWS's base images, and those that the emulator requires.
_ENVIRONMENT = {
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LANG": "C.UTF-8",
    "TZ": ":UTC",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "emulator",
    "AWS_SECRET_ACCESS_KEY": "emulator",
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
}


class AwsEmulatorError(RuntimeError):
    """The emulator could not be started, or did not end. The message contains its output."""


def why_unavailable() -> str | None:
    """Return the reason why AWS's emulator cannot run here, or None. A network failure is an error instead."""
    return aws_emulator_wheel.why_impossible() or private_root.why_impossible()


class AwsEmulator:
    """One execution environment under AWS's supervisor: ``async with AwsEmulator(mode="classic", ...) as aws``.

    ``bootstrap`` is the runtime, and ``extensions`` are the files of /opt/extensions by name. Each is text
    that begins with ``#!``, or the path of an executable. The interpreter of the tests (``sys.executable``)
    and its packages are present at the same path. ``mounts`` maps paths to files and directories, read-only.
    ``writable`` maps paths to directories that the uid of the environment may write to. No variable of the
    test's environment is inherited.
    """

    def __init__(
        self,
        *,
        mode: Literal["classic", "managed-instances"],
        bootstrap: str | Path,
        extensions: Mapping[str, str | Path] | None = None,
        environment: Mapping[str, str] | None = None,
        handler: str = "function.handler",
        max_concurrency: int = 2,
        mounts: Mapping[str, Path] | None = None,
        writable: Mapping[str, Path] | None = None,
    ) -> None:
        managed = {"AWS_LAMBDA_MAX_CONCURRENCY": str(max_concurrency)} if mode == "managed-instances" else {}
        self.mode = mode
        self.output: list[str] = []
        self._files = {"var/runtime/bootstrap": bootstrap}
        self._files |= {f"opt/extensions/{name}": source for name, source in (extensions or {}).items()}
        self._environment = {**_ENVIRONMENT, **managed, **(environment or {})}
        self._handler = handler
        self._mounts = dict(mounts or {})
        self._writable = dict(writable or {})
        self._stage: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._output_changed = asyncio.Condition()
        self._port = 0

    def __repr__(self) -> str:
        state = f"on port {self._port}" if self._process else "not running"
        return f"<AwsEmulator {self.mode}, {state}, {len(self.output)} lines of output>"

    @property
    def pid(self) -> int:
        """The process id of the emulator, the first process of its namespace, as the machine numbers it."""
        return int((self._running()[1] / "pid").read_text())

    async def invoke(self, payload: object) -> tuple[int, bytes]:
        """Invoke the function with a JSON payload; return the status and the body of the response.

        Managed Instances reject an invocation if no call to ``next`` is open, without an event to the
        extensions. Lambda would route it to another environment; here it is repeated until a call is open.
        """
        timeout = aiohttp.ClientTimeout(total=INVOKE_SECONDS)
        url = f"http://127.0.0.1:{self._port}{_INVOKE_PATH}"
        async with asyncio.timeout(INVOKE_SECONDS), aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                async with session.post(url, json=payload) as response:
                    status, body = response.status, await response.read()
                if body != _NO_RUNTIME_READY:
                    return status, body
                await asyncio.sleep(_PROBE_SECONDS)

    async def wait_for_output(self, text: str, *, seconds: float = OUTPUT_SECONDS) -> str:
        """Return the first line of output, past or future, that contains ``text``."""
        try:
            async with asyncio.timeout(seconds), self._output_changed:
                while not (found := [line for line in self.output if text in line]):
                    await self._output_changed.wait()
        except TimeoutError:
            raise AwsEmulatorError(self._error_message(f"no line with {text!r} within {seconds:g} s")) from None
        return found[0]

    async def shutdown(self) -> int:
        """End the environment with SIGTERM and return the status: the runtime stops, then extensions get SHUTDOWN."""
        process, _ = self._running()
        os.kill(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                status = await process.wait()
        except TimeoutError:
            raise AwsEmulatorError(self._error_message(f"still running {SHUTDOWN_SECONDS:g} s after SIGTERM")) from None
        await self._end()
        return status

    async def __aenter__(self) -> Self:
        binary = await asyncio.to_thread(aws_emulator_wheel.fetch)
        for start in range(1, MAX_STARTS + 1):
            try:
                await self._start(binary)
            except BaseException as error:
                await self._end()
                if "address already in use" not in str(error) or start == MAX_STARTS:
                    raise
            else:
                break
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _start(self, binary: Path) -> None:
        self._port, api_port = free_ports(2)
        self._stage = Path(tempfile.mkdtemp(prefix="logferry-aws-"))
        self._write_files(self._stage)
        script = private_root.script(
            stage=self._stage,
            read_only={**private_root.python_mounts(), "/aws-lambda-rie": binary, **self._mounts},
            writable=self._writable,
            environment=self._environment,
            command=[
                "/aws-lambda-rie",
                f"--runtime-interface-emulator-address=127.0.0.1:{self._port}",
                f"--runtime-api-address=127.0.0.1:{api_port}",
                "/var/runtime/bootstrap",
                self._handler,
            ],
        )
        self._process = await asyncio.create_subprocess_exec(
            *private_root.UNSHARE,
            "sh",
            "-c",
            script,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": private_root.SEARCH_PATH},
            limit=_LINE_BYTES,
        )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read(self._process.stdout))
        await self._wait_until_listening(self._process)

    def _write_files(self, stage: Path) -> None:
        """Write the files of the root under ``stage``, and open the writable directories to any uid."""
        (stage / "root").mkdir()
        for name, source in self._files.items():
            path = stage / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes() if isinstance(source, Path) else source.encode())
            path.chmod(0o755)
        for folder in self._writable.values():
            folder.chmod(0o777)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            async with self._output_changed:
                self.output.append(line.decode(errors="replace").rstrip("\n"))
                self._output_changed.notify_all()

    async def _wait_until_listening(self, process: asyncio.subprocess.Process) -> None:
        """Connect until the port accepts, because the emulator sends no event when it listens."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while process.returncode is None:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                        writer.close()
                        await writer.wait_closed()
                        return
                    await asyncio.sleep(_PROBE_SECONDS)
        except TimeoutError:
            raise AwsEmulatorError(self._error_message(f"not listening within {START_SECONDS:g} s")) from None
        raise AwsEmulatorError(self._error_message(f"it ended with status {process.returncode}"))

    async def _end(self) -> None:
        """Kill the running processes and read the output to its end. A second call is safe."""
        if self._process is not None:
            # The death of the namespace's first process ends all others, and `unshare`, its parent, reaps it.
            # If there is no such process yet, `unshare` itself is killed.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
                os.kill(self.pid, signal.SIGKILL)
            await self._wait_or_kill(self._process)
            self._process = None
        reader, self._reader = self._reader, None
        if reader is not None:
            await asyncio.wait_for(reader, SHUTDOWN_SECONDS)
        stage, self._stage = self._stage, None
        if stage is not None:
            shutil.rmtree(stage)

    async def _wait_or_kill(self, process: asyncio.subprocess.Process) -> None:
        try:
            await asyncio.wait_for(process.wait(), KILL_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _running(self) -> tuple[asyncio.subprocess.Process, Path]:
        if self._process is None or self._stage is None:
            raise AwsEmulatorError("AWS's emulator is not running: use it inside `async with`")
        return self._process, self._stage

    def _error_message(self, reason: str) -> str:
        return "\n".join([f"AWS's emulator ({self.mode}): {reason}. Its output:", *self.output])
