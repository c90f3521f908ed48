"""One life of an execution environment: the processes from their start to their end, and all state that ends with them.

A reset ends one life; the next invocation begins another, in the same directory, at the same API address. Nothing is
carried over but what the processes themselves left in `/tmp`, so whatever must not survive a reset lives here.
What a life does is in `initialization`, `invocation_flow` and `ending`; here is what they share.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from logferry.emulator.conditions import Failure, Gates
from logferry.emulator.processes import process_environment
from logferry.emulator.processes.extensions import ExtensionRegistry, State
from logferry.emulator.processes.log_socket import LogSocket
from logferry.emulator.processes.processes import ChildProcess, resident_bytes
from logferry.emulator.processes.runtime import Runtime
from logferry.emulator.telemetry import platform_events

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence
    from pathlib import Path

    from logferry.emulator.environment_config import EnvironmentConfig
    from logferry.emulator.telemetry.telemetry_relay import TelemetryRelay
    from logferry.emulator.timeline import Timeline

RUNTIME = "runtime"
ENVIRONMENT = "environment"
CRASH = "Extension.Crash"
LAUNCH_ERROR = "Extension.LaunchError"
RUNTIME_EXIT = "Runtime.ExitError"
INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"


class Life:
    """State shared by the APIs, the phases and the processes of one generation."""

    def __init__(
        self,
        config: EnvironmentConfig,
        *,
        runtime_api: str,
        tmp: Path,
        log_stream: str,
        relay: TelemetryRelay,
        timeline: Timeline,
        console: deque[tuple[str, str]],
    ) -> None:
        self.config = config
        self.log_stream = log_stream
        self.relay = relay
        self.timeline = timeline
        self.gates = Gates()
        self.registry = ExtensionRegistry(config.extensions, managed_instances=config.managed_instances)
        self.runtime = Runtime(many_at_once=config.managed_instances)
        self.processes: dict[str, ChildProcess] = {}
        self.ending = False
        self.frozen = False
        self.log_socket: LogSocket | None = None
        self._runtime_api = runtime_api
        self._tmp = tmp
        self._console = console
        self._most_resident_mb = 0

    def __repr__(self) -> str:
        state = "ending" if self.ending else "broken" if self.gates.failure else "frozen" if self.frozen else "alive"
        return f"<Life {state}, {self.registry!r}, {self.runtime!r}>"

    def start_extension(self, name: str) -> None:
        """Execute a file of `/opt/extensions`; one that cannot be executed breaks the environment."""
        variables = process_environment.for_extension(self.config, runtime_api=self._runtime_api, tmp=str(self._tmp))
        try:
            self._start(name, self.config.extensions[name], variables, platform_events.EXTENSION_LINE)
        except OSError as error:
            extension = self.registry[name]
            extension.error_type = "PermissionDenied" if error.errno == errno.EACCES else "UnknownError"
            extension.end(State.LAUNCH_ERROR)
            self.fail(LAUNCH_ERROR, f"{name}: {error}")

    def start_runtime(self) -> None:
        """Execute the function's command, as often as configured."""
        if self.config.managed_instances and self.config.runtime_processes == 1:
            self.log_socket = LogSocket(lambda line: self._on_line(RUNTIME, platform_events.FUNCTION_LINE, line))
        variables = process_environment.for_runtime(
            self.config,
            runtime_api=self._runtime_api,
            tmp=str(self._tmp),
            log_stream=self.log_stream,
            log_socket=self.log_socket.path if self.log_socket else None,
        )
        for number in range(self.config.runtime_processes):
            name = RUNTIME if number == 0 else f"{RUNTIME}-{number}"
            try:
                self._start(name, self.config.function, variables, platform_events.FUNCTION_LINE)
            except OSError as error:
                self.fail(INVALID_ENTRYPOINT, str(error))

    def _start(self, name: str, argv: Sequence[str], variables: dict[str, str], category: str) -> None:
        process = ChildProcess(
            name,
            argv,
            environment=variables,
            directory=self.config.working_directory,
            on_line=lambda line: self._on_line(name, category, line),
            on_exit=self._on_exit,
        )
        self.processes[name] = process
        self.timeline.add("process", name, pid=process.pid, argv=list(argv))

    @property
    def runtime_processes(self) -> list[ChildProcess]:
        """The processes of the function."""
        return [process for name, process in self.processes.items() if name not in self.config.extensions]

    def fail(self, error_type: str, message: str, *, payload: bytes | None = None) -> None:
        """Something fatal happened. Everything that waits for this life is told; the first reason stays."""
        self.timeline.add("crash", ENVIRONMENT, error_type=error_type, message=message)
        self.gates.fail(Failure(error_type, message, payload))

    def drain(self, name: str) -> None:
        """Read the lines a process wrote before it said what it is saying now."""
        if name == RUNTIME:
            for process in self.runtime_processes:
                process.output.drain()
            if self.log_socket is not None:
                self.log_socket.drain()
        elif name in self.processes:
            self.processes[name].output.drain()

    def freeze(self) -> None:
        """Stop every process and every delivery where they stand."""
        if self.frozen:
            return
        self.frozen = True
        self.relay.freeze()
        for process in self.processes.values():
            process.freeze()
        self.timeline.add("freeze", ENVIRONMENT)

    def thaw(self) -> None:
        """Let processes and deliveries go on."""
        if not self.frozen:
            return
        self.frozen = False
        for process in self.processes.values():
            process.thaw()
        self.relay.thaw()
        self.timeline.add("thaw", ENVIRONMENT)

    def kill(self, process: ChildProcess, why: str) -> None:
        """SIGKILL, and a note of it."""
        self.timeline.add("kill", process.name, why=why)
        process.kill()

    def most_resident_mb(self) -> int:
        """The most memory all processes were seen to hold together, in whole MB."""
        now = resident_bytes(self.processes.values()) // platform_events.BYTES_PER_MB
        self._most_resident_mb = max(self._most_resident_mb, now)
        return self._most_resident_mb

    def _on_line(self, source: str, category: str, line: bytes) -> None:
        text = line.decode(errors="replace")
        self._console.append((source, text))
        self.relay.emit(category, text)

    def _on_exit(self, process: ChildProcess) -> None:
        how = process.how_it_ended
        self.timeline.add("exit", process.name, exit_code=process.exit_code, how=how)
        if not self.ending:
            self._crashed(process, how)
        if process.name in self.config.extensions:
            self.registry[process.name].end(State.EXITED)
        self.gates.changed()

    def _crashed(self, process: ChildProcess, how: str) -> None:
        if process.name in self.config.extensions:
            self.fail(CRASH, how)
        elif process.exit_code == 0:
            self.fail(RUNTIME_EXIT, "Runtime exited without providing a reason")
        else:
            self.fail(RUNTIME_EXIT, f"Runtime exited with error: {how}")
