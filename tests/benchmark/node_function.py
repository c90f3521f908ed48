"""A Node.js function as a process, for measurements: its server, its pipe, batches of calls, and its cold start.

Design: the pipe has the size of the extension's. A thread of this process reads it at intervals, as the extension does.
A reader that waits for each line would cost the writer the wake-up of another core.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from logferry.layer import checks, inputs, programs
from logferry.layer.architecture import native
from support.node_hook import HOOK, RUNTIME, hooked
from support.npm_packages import OPENTELEMETRY, modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
PIPE_BYTES = 1 << 20
READ_SECONDS = 0.05
"""Interval of the reads, in seconds: short enough that no batch fills the pipe."""
LIMIT_SECONDS = 60.0
ENTRY = """import { createRequire } from "node:module";
import "node:fs";
export const { handler } = createRequire(import.meta.url)("./handler.cjs");
"""
"""Entry module of the function: like AWS's runtime, it loads a CommonJS handler and node:fs."""


class EventPipe:
    """A pipe like that of the extension, and a thread that counts its lines."""

    def __init__(self, spool: Path) -> None:
        spool.mkdir()
        self.spool = spool
        self.lines = 0
        os.mkfifo(spool / "events", 0o600)
        self._descriptor = os.open(spool / "events", os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._ended = threading.Event()
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._read_at_intervals, daemon=True)
        self._thread.start()

    def _read_at_intervals(self) -> None:
        while not self._ended.wait(READ_SECONDS):
            self.read()

    def read(self) -> None:
        """Read and count all lines that are in the pipe."""
        with self._reading, contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, PIPE_BYTES):
                self.lines += data.count(b"\n")

    def close(self) -> None:
        """Stop reading, and close the pipe."""
        self._ended.set()
        self._thread.join(LIMIT_SECONDS)
        os.close(self._descriptor)


@contextlib.contextmanager
def calls_server(node: str, delay_ms: float) -> Iterator[int]:
    """Start a server that responds after a fixed time; yield its port."""
    words = [node, str(HERE / "node_calls_server.cjs"), f"{delay_ms:g}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}) as process:
        assert process.stdin
        assert process.stdout
        yield int(process.stdout.readline())
        process.stdin.close()
        process.wait(LIMIT_SECONDS)


class Caller:
    """A function that makes batches of calls, as a context manager."""

    def __init__(self, node: str, client: str, port: int, mode: str, pipe: EventPipe) -> None:
        self._words = [node, str(HERE / "node_caller.cjs"), client, str(port), mode]
        self._environment = _variables(mode, pipe)

    def __enter__(self) -> Self:
        """Start the process, and wait until it has made its first call."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(self._words, env=self._environment, text=True, bufsize=1, **pipes)  # type: ignore[call-overload]
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(LIMIT_SECONDS)
        self._process.stdout.close()

    def run(self, calls: int) -> tuple[float, float]:
        """Make calls; return the wall and CPU time in seconds."""
        self._process.stdin.write(f"{calls}\n")
        wall, cpu = self._process.stdout.readline().split()
        return float(wall), float(cpu)


def _variables(mode: str, pipe: EventPipe) -> dict[str, str]:
    if mode == "hooked":
        return hooked(pipe.spool)
    return {"MODULES": str(modules(*OPENTELEMETRY))} if mode.startswith("opentelemetry") else {}


class ColdStart:
    """The start of a function: from exec of its command to its first request for an invocation."""

    def __init__(self, node: str, folder: Path, pipe: EventPipe, handler: str) -> None:
        self._code = folder / "function"
        self._code.mkdir(parents=True)
        shutil.copy(RUNTIME, self._code / "runtime.mjs")
        (self._code / "index.mjs").write_text(ENTRY)
        (self._code / "handler.cjs").write_text(handler)
        opt = folder / "opt"
        shutil.copytree(HOOK.parent, opt / checks.HOOKS, ignore=shutil.ignore_patterns("python"))
        wrapper = opt / checks.EXEC_WRAPPER
        programs.build_exec_wrapper(inputs.find(inputs.EXEC_WRAPPER), arch=native(), to=wrapper)
        command = [node, "runtime.mjs"]
        settings = {"LOGFERRY_CALLS": "each", "LOGFERRY_SPOOL_DIR": str(pipe.spool)}
        self._commands: dict[str, tuple[list[str], Mapping[str, str]]] = {
            "plain": (command, {}),
            "hooked": ([str(wrapper), *command], settings),
        }

    def start(self, mode: str) -> tuple[float, float]:
        """Start the function once; return wall and CPU time in seconds. The CPU time includes its end."""
        command, environment = self._commands[mode]
        with socket.create_server(("127.0.0.1", 0)) as api:
            api.settimeout(LIMIT_SECONDS)
            variables = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.getsockname()[1]}", **environment}
            began = time.perf_counter()
            process = subprocess.Popen(command, env=variables, cwd=self._code)
            connection, _ = api.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET /2018-06-01/runtime/invocation/next")
                wall = time.perf_counter() - began
                process.kill()
                _, _, usage = os.wait4(process.pid, 0)
                process.returncode = 0  # reaped here, for its resource usage
        return wall, usage.ru_utime + usage.ru_stime
