"""One generation of an execution environment: its processes, and all state that ends with them.

A reset ends a sandbox. The next invocation creates another one in the same directory and at the same
API address. State that must not survive a reset belongs here; only `/tmp` outlives it.
The modules in `phases` contain the behaviour, this module contains the state that they share.
"""

from __future__ import annotations

import errno
import secrets
from typing import TYPE_CHECKING

from logferry.emulator.conditions import Conditions, Failure
from logferry.emulator.processes import exec_wrapper, process_environment
from logferry.emulator.processes.exec_wrapper import rejected_command, wrapped_command
from logferry.emulator.processes.extensions import ExtensionRegistry, State
from logferry.emulator.processes.log_socket import LogSocket
from logferry.emulator.processes.processes import ChildProcess, Stream, resident_bytes
from logferry.emulator.processes.runtime import Runtime
from logferry.emulator.telemetry import platform_events

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence
    from pathlib import Path

    from logferry.emulator.environment_config import EnvironmentConfig
    from logferry.emulator.processes.cpu_quota import CpuQuota
    from logferry.emulator.telemetry.telemetry_relay import TelemetryRelay
    from logferry.emulator.timeline import Timeline

RUNTIME = "runtime"
ENVIRONMENT = "environment"
CRASH = "Extension.Crash"
LAUNCH_ERROR = "Extension.LaunchError"
RUNTIME_EXIT = "Runtime.ExitError"
INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"


class Sandbox:
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
        cpu_quota: CpuQuota | None = None,
    ) -> None:
        self.config = config
        self.log_stream = log_stream
        self.relay = relay
        self.timeline = timeline
        self.conditions = Conditions()
        self.registry = ExtensionRegistry(config.extensions, managed_instances=config.managed_instances)
        self.runtime = Runtime(concurrent=config.managed_instances)
        self.processes: dict[str, ChildProcess] = {}
        self.is_ending = False
        self.is_frozen = False
        self.is_restored = False
        self.credentials_token = secrets.token_urlsafe()
        self.log_socket: LogSocket | None = None
        self._runtime_api = runtime_api
        self._tmp = tmp
        self._console = console
        self._cpu_quota = cpu_quota
        self._max_resident_mb = 0

    def __repr__(self) -> str:
        failed = self.conditions.failure
        state = "ending" if self.is_ending else "failed" if failed else "frozen" if self.is_frozen else "running"
        return f"<Sandbox {state}, {self.registry!r}, {self.runtime!r}>"

    def start_extension(self, name: str) -> None:
        """Execute a file of `/opt/extensions`; fail the environment if it cannot be executed."""
        variables = process_environment.for_extension(
            self.config,
            runtime_api=self._runtime_api,
            tmp=str(self._tmp),
            credentials_token=self.credentials_token,
        )
        try:
            self._start(name, self.config.extensions[name], variables, platform_events.EXTENSION_LINE)
        except OSError as error:
            extension = self.registry[name]
            extension.error_type = "PermissionDenied" if error.errno == errno.EACCES else "UnknownError"
            extension.end(State.LAUNCH_ERROR)
            self.fail(LAUNCH_ERROR, f"{name}: {error}")

    def start_runtime(self) -> None:
        """Execute the function's command, with its exec wrapper, as often as configured."""
        if self.config.managed_instances and self.config.runtime_processes == 1:
            self.log_socket = LogSocket(
                lambda line: self._on_line(RUNTIME, platform_events.FUNCTION_LINE, "stdout", line)
            )
        variables = process_environment.for_runtime(
            self.config,
            runtime_api=self._runtime_api,
            tmp=str(self._tmp),
            credentials_token=self.credentials_token,
            log_stream=self.log_stream,
            log_socket=self.log_socket.path if self.log_socket else None,
        )
        for number in range(self.config.runtime_processes):
            name = RUNTIME if number == 0 else f"{RUNTIME}-{number}"
            self._start_runtime_process(name, variables)

    def _start_runtime_process(self, name: str, variables: dict[str, str]) -> None:
        directory = self.config.working_directory
        command = wrapped_command(self.config.function, variables, directory=directory)
        try:
            self._start(name, command, variables, platform_events.FUNCTION_LINE)
        except OSError as error:
            # 1. No wrapper: an invalid entry point. 2. A wrapper: the runtime has started, and ends with its status.
            if not variables.get(exec_wrapper.VARIABLE):
                self.fail(INVALID_ENTRYPOINT, str(error))
                return
            self._start(name, rejected_command(command[0], error), variables, platform_events.FUNCTION_LINE)

    def _start(self, name: str, argv: Sequence[str], variables: dict[str, str], category: str) -> None:
        process = ChildProcess(
            name,
            argv,
            environment=variables,
            directory=self.config.working_directory,
            on_line=lambda stream, line: self._on_line(name, category, stream, line),
            on_exit=self._on_exit,
        )
        if self._cpu_quota is not None:
            self._cpu_quota.add(process.pid)
        self.processes[name] = process
        self.timeline.add("process", name, pid=process.pid, argv=list(argv))

    @property
    def runtime_processes(self) -> list[ChildProcess]:
        """The processes of the function."""
        return [process for name, process in self.processes.items() if name not in self.config.extensions]

    def is_running(self, name: str) -> bool:
        """Return whether the process with this name has started and not ended."""
        process = self.processes.get(name)
        return process is not None and process.exit_code is None

    def fail(self, error_type: str, message: str, *, payload: bytes | None = None) -> None:
        """Record a fatal failure and end every wait of this sandbox; the first failure is kept."""
        self.timeline.add("crash", ENVIRONMENT, error_type=error_type, message=message)
        self.conditions.fail(Failure(error_type, message, payload))

    def drain(self, name: str) -> None:
        """Read the lines that a process wrote before its current request."""
        if name == RUNTIME:
            for process in self.runtime_processes:
                process.drain()
            if self.log_socket is not None:
                self.log_socket.drain()
        elif name in self.processes:
            self.processes[name].drain()

    def freeze(self) -> None:
        """Stop every process and every delivery."""
        if self.is_frozen:
            return
        self.is_frozen = True
        self.relay.freeze()
        for process in self.processes.values():
            process.freeze()
        self.timeline.add("freeze", ENVIRONMENT)

    def thaw(self) -> None:
        """Resume every process and every delivery."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        for process in self.processes.values():
            process.thaw()
        self.relay.thaw()
        self.timeline.add("thaw", ENVIRONMENT)

    def kill(self, process: ChildProcess, why: str) -> None:
        """Send SIGKILL to a process group and record the reason."""
        self.timeline.add("kill", process.name, why=why)
        process.kill()

    def max_resident_mb(self) -> int:
        """Return the highest memory use of all processes together that was measured, in MB."""
        now = resident_bytes(self.processes.values()) // platform_events.BYTES_PER_MB
        self._max_resident_mb = max(self._max_resident_mb, now)
        return self._max_resident_mb

    def _on_line(self, source: str, category: str, stream: Stream, line: bytes) -> None:
        text = line.decode(errors="replace")
        if len(self._console) != self._console.maxlen:  # bound the timeline by the size of the console
            self.timeline.add("output", source, stream=stream, line=text)
        self._console.append((source, text))
        self.relay.emit(category, text)

    def _on_exit(self, process: ChildProcess) -> None:
        how = process.how_it_ended
        self.timeline.add("exit", process.name, exit_code=process.exit_code, how=how)
        if not self.is_ending:
            self._on_crash(process, how)
        if process.name in self.config.extensions:
            self.registry[process.name].end(State.EXITED)
        self.conditions.recheck()

    def _on_crash(self, process: ChildProcess, how: str) -> None:
        if process.name in self.config.extensions:
            self.fail(CRASH, how)
        elif process.exit_code == 0:
            self.fail(RUNTIME_EXIT, "Runtime exited without providing a reason")
        else:
            self.fail(RUNTIME_EXIT, f"Runtime exited with error: {how}")
