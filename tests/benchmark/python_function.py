"""Processes of the figures of Python calls: a server, the event pipe, and functions with and without the hook."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmark.http_messages import Stream
from logferry.layer.bytecode import compile_hooks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

TESTS = Path(__file__).resolve().parent.parent
HOOK = TESTS.parent / "extension/hooks/python"
START_SECONDS = 60.0
READ_BYTES = 1 << 20


class EventPipe:
    """The pipe of the extension, which is emptied between the measurements."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        spool.mkdir()
        os.mkfifo(spool / "events", 0o600)
        self._descriptor = os.open(spool / "events", os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(OSError):
            import fcntl  # noqa: PLC0415 - Linux only

            fcntl.fcntl(self._descriptor, 1031, READ_BYTES)  # F_SETPIPE_SZ

    def drain(self) -> int:
        """Return the number of lines in the pipe, and remove them."""
        found = 0
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, READ_BYTES):
                found += data.count(b"\n")
        return found

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._descriptor)


def variables(mode: str, spool: Path, hook: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a function. A `hooked` one has the variables that `logferry-wrap` sets."""
    found = {"PATH": "/usr/bin:/bin", "LOGFERRY_SPOOL_DIR": str(spool), **(more or {})}
    if mode.startswith("hooked"):
        found |= {"LOGFERRY_CALLS": "each", "PYTHONPATH": f"{hook}:{found['PYTHONPATH']}" if more else str(hook)}
    return found


@contextlib.contextmanager
def calls_server(delay_ms: float) -> Iterator[int]:
    """Run the server; return its port."""
    command = [sys.executable, "-m", "benchmark.calls_stub", str(delay_ms)]
    process = subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(START_SECONDS)
        process.stdout.close()


class Caller:
    """A process that makes calls with one client, as a context manager."""

    def __init__(self, client: str, port: int, mode: str, pipe: EventPipe, *, hook: Path = HOOK) -> None:
        command = [sys.executable, str(TESTS / "benchmark/python_caller.py"), client, str(port), mode]
        self._process = subprocess.Popen(
            command, env=variables(mode, pipe.spool, hook), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            bufsize=1,
        )  # fmt: skip
        self._pipe = pipe
        self.lines = 0
        """Number of lines that all batches have written."""

    def __enter__(self) -> Self:
        """Wait until the client is imported and connected."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"
        self._pipe.drain()
        return self

    def run(self, calls: int) -> tuple[float, float]:
        """Make calls; return the wall and the CPU seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{calls}\n")
        wall, cpu = map(float, self._process.stdout.readline().split())
        self.lines += self._pipe.drain()
        return wall, cpu

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(START_SECONDS)
        self._process.stdout.close()


class ColdStart:
    """Starts of a function on AWS's runtime interface client, up to its first request for an invocation."""

    modes = ("plain", "hooked", "hooked without bytecode")

    def __init__(self, scratch: Path, pipe: EventPipe) -> None:
        """Prepare two copies of the hook: with bytecode as `logferry layer build` makes it, and without any."""
        self._pipe = pipe
        self._hooks = {mode: scratch / mode for mode in self.modes}
        for folder in self._hooks.values():
            shutil.copytree(HOOK, folder, ignore=shutil.ignore_patterns("__pycache__"))
        compile_hooks(self._hooks["hooked"], compilers={"{}.{}".format(*sys.version_info): [sys.executable]})
        self._folder = scratch / "function"
        self._folder.mkdir()

    def start(self, mode: str, code: str) -> tuple[float, float]:
        """Start the function; return the wall seconds to its first request, and the CPU seconds until its end."""
        (self._folder / "app.py").write_text(code)
        with socket.create_server(("127.0.0.1", 0)) as api:
            address = f"127.0.0.1:{api.getsockname()[1]}"
            environment = variables(mode, self._pipe.spool, self._hooks[mode]) | {
                "AWS_LAMBDA_RUNTIME_API": address, "PYTHONDONTWRITEBYTECODE": "1", "AWS_DEFAULT_REGION": "us-east-1",
            }  # fmt: skip
            arrived: list[tuple[socket.socket, float]] = []
            thread = threading.Thread(target=_first_request, args=(api, arrived))
            thread.start()
            command = [sys.executable, "-m", "awslambdaric", "app.handler"]
            began = time.perf_counter()
            process = subprocess.Popen(command, env=environment, cwd=self._folder)
            thread.join(START_SECONDS)
            os.kill(process.pid, signal.SIGKILL)
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = -signal.SIGKILL
        connection, moment = arrived[0]
        connection.close()
        return moment - began, usage.ru_utime + usage.ru_stime


def _first_request(api: socket.socket, arrived: list[tuple[socket.socket, float]]) -> None:
    """Note the time of the first request. Its connection stays open, as that of a function without an invocation."""
    api.settimeout(START_SECONDS)
    connection, _ = api.accept()
    Stream(connection).head()
    arrived.append((connection, time.perf_counter()))
