"""One execution environment: an extension is started, invoked, frozen and shut down, with a time for each step.

The order of steps is Lambda's. The runtime starts after the registration of the extension.
`platform.start` and the lines arrive while the function runs, `platform.runtimeDone` after its end,
and `platform.report` with the next invocation. The platform's own buffering (at least 25 ms) is
left out, because it is the same for every extension.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmark import log_lines, process_group
from benchmark.cpu_worker import Idle
from benchmark.http_messages import Deliveries
from benchmark.lambda_stub import LambdaStub, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from benchmark.cpu_worker import Work
    from benchmark.extensions import Endpoint, Extension
    from benchmark.process_group import Memory
    from benchmark.quota import Quota
    from benchmark.s3 import S3

NEXT_SECONDS = 60.0
"""Maximum wait for /event/next, in seconds: the naive shipper starts within 8 s on 7 % of a core."""
TIMEOUT_SECONDS = 120
"""Timeout of the function, in seconds, which determines the deadline of an invocation."""
SHUTDOWN_SECONDS = 2.0
"""Duration of the Shutdown phase with an external extension, in seconds (developer guide, "Shutdown phase")."""
OPENING_SECONDS = 0.01
"""Time from INVOKE to the first batch, in seconds: the platform buffers records."""
FUNCTION_SECONDS = 0.02
"""Duration of a function that waits and uses no CPU time, in seconds."""
PER_INVOCATION = {"LOGFERRY_FLUSH": "invocation"}
"""Settings of logferry for one object per invocation, as the naive shipper stores."""


@dataclass(frozen=True)
class Invoked:
    """Times of one invocation, in seconds."""

    latency: float
    """From INVOKE to the response of the function, which the caller waits for."""
    post: float
    """From `platform.runtimeDone` to /event/next; 0 if /event/next was requested before."""
    next_after: float
    """From INVOKE to /event/next."""


class Environment:
    """A context manager: started on entry until its first /event/next, killed on exit unless it was shut down."""

    def __init__(
        self,
        extension: Extension,
        s3: S3,
        *,
        settings: dict[str, str] | None = None,
        endpoint: Endpoint | None = None,
        cpus: set[int] | None = None,
        quota: Quota | None = None,
        on_register: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the environment; `cpus` and `quota` restrict only the processes of the extension."""
        self._extension = extension
        self._settings = settings or {}
        self._endpoint = endpoint or s3.endpoint
        self._cpus = cpus
        self._quota = quota
        self.stub = LambdaStub(on_register=on_register)
        self._tmp = Path(tempfile.mkdtemp(prefix="benchmark-"))
        self.lines = log_lines.Lines()
        self._pending_reports: list[dict[str, Any]] = []
        self._ended = False
        self._deliveries: Deliveries | None = None
        self.started_at = 0.0
        self.ready_seconds = 0.0
        """From exec to the first /event/next."""
        self.ready_cpu_seconds = 0.0
        """CPU time of the process that Lambda started, at the first /event/next."""

    def __enter__(self) -> Self:
        """Start the extension and wait for its first /event/next.

        Raises StepTimeout with the output of the extension.
        """
        self._spawn()
        try:
            self._wait_ready()
        except (StepTimeout, OSError) as error:
            output = self.output()
            self.__exit__(None, None, None)
            raise StepTimeout(f"{self._extension.name}: {error}; its output: {output or 'none'}") from error
        return self

    def _spawn(self) -> None:
        environment = self._extension.environment(api=self.stub.address, endpoint=self._endpoint, tmp=self._tmp)
        command = self._extension.command
        if self._quota:
            command = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._quota.procs_file), *command]
        # A separate process group, as in Lambda, but no session, which would also be a scheduling group
        # (sched(7), autogroup): a busy core would be divided among sessions, not among processes.
        output = str(self._tmp / "output")
        namespace = self._extension.namespace
        entered = namespace.entered() if namespace else contextlib.nullcontext()
        with process_group.on_cpus(self._cpus), entered:
            self.started_at = time.perf_counter()
            self.group = os.posix_spawn(
                command[0], command, environment | self._settings, setpgroup=0,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )  # fmt: skip

    def _wait_ready(self) -> None:
        arrived = self.stub.wait_for_next(NEXT_SECONDS)
        self.ready_cpu_seconds = process_group.cpu_seconds(self.group)
        self.ready_seconds = arrived - self.started_at
        self._deliveries = Deliveries(self.stub.wait_for_subscription(NEXT_SECONDS))

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Kill the remaining processes and remove their files."""
        if not self._ended:
            process_group.kill(self.group)
            os.waitpid(self.group, 0)
        self.stub.close()
        if self._deliveries:
            self._deliveries.close()
        shutil.rmtree(self._tmp, ignore_errors=True)

    @property
    def registered_seconds(self) -> float:
        """Return the time from exec to the registration, after which Lambda starts the runtime."""
        return self.stub.registered_at - self.started_at

    @property
    def spool(self) -> Path:
        """Return the spool of logferry."""
        return self._tmp / "spool"

    @property
    def listener_port(self) -> int:
        """Return the port to which batches are delivered."""
        return self.stub.wait_for_subscription(NEXT_SECONDS)

    # --- the platform

    def deliver(self, body: bytes) -> float:
        """Deliver a batch; return the seconds until the response."""
        if self._deliveries is None:
            raise StepTimeout("the extension has not subscribed")
        return self._deliveries.post(body)

    def begin(self, *, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        """Send INVOKE; return the request ID."""
        request_id = str(uuid.uuid4())
        deadline_ms = int((time.time() + timeout_seconds) * 1000)
        arn = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"
        event = {"eventType": "INVOKE", "requestId": request_id, "deadlineMs": deadline_ms, "invokedFunctionArn": arn}
        self.invoked_at = self.stub.send_event(event)
        return request_id

    def finish(self, request_id: str) -> float:
        """Deliver `platform.runtimeDone` and wait for /event/next; return the seconds that the extension added."""
        body = log_lines.delivery([log_lines.runtime_done(request_id)])
        ended_at = time.perf_counter()
        self.deliver(body)
        self._pending_reports = [log_lines.report(request_id)]
        self.next_at = self.stub.wait_for_next(NEXT_SECONDS)
        return max(0.0, self.next_at - ended_at)

    def opening(self, request_id: str, lines: int) -> bytes:
        """Return the first batch of an invocation: the previous report, `platform.start` and some lines."""
        records = [*self._pending_reports, log_lines.start(request_id), *self.lines.records(lines, request_id)]
        self._pending_reports = []
        return log_lines.delivery(records)

    def invoke(self, work: Work | None = None, *, lines: int = 5) -> Invoked:
        """Run one invocation with some lines; the function does `work`."""
        work = work or Idle(FUNCTION_SECONDS)
        request_id = self.begin()
        work.begin()
        time.sleep(OPENING_SECONDS)
        self.deliver(self.opening(request_id, lines))
        latency = work.finish()
        post = self.finish(request_id)
        return Invoked(latency=latency, post=post, next_after=self.next_at - self.invoked_at)

    def warm_up(self, invocations: int = 1) -> None:
        """Wait until the libraries are loaded and run invocations, which open the connection and fill caches."""
        self.settle()
        for _ in range(invocations):
            self.invoke()

    def while_frozen(self, meanwhile: Callable[[], None]) -> None:
        """Freeze the environment, call a function, and thaw the environment."""
        os.killpg(self.group, signal.SIGSTOP)
        try:
            meanwhile()
        finally:
            os.killpg(self.group, signal.SIGCONT)

    def shut_down(self) -> float:
        """Deliver the last report and send SHUTDOWN; return the seconds until the process ends. Raises StepTimeout."""
        deadline_ms = int((time.time() + SHUTDOWN_SECONDS) * 1000)
        if self._pending_reports:
            self.deliver(log_lines.delivery(self._pending_reports))
        sent = self.stub.send_event({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": deadline_ms})
        if not self.wait_for_exit(NEXT_SECONDS):
            raise StepTimeout(f"{self._extension.name} did not end after SHUTDOWN")
        seconds = time.perf_counter() - sent
        os.waitpid(self.group, 0)
        self._ended = True
        return seconds

    def wait_for_exit(self, seconds: float) -> bool:
        """Wait for the end of the process that Lambda started; return whether it has ended."""
        process = os.pidfd_open(self.group)
        try:
            return bool(select.select([process], [], [], seconds)[0])
        finally:
            os.close(process)

    # --- measurements

    def output(self) -> str:
        """Return the output of the extension to stdout and stderr."""
        return (self._tmp / "output").read_text()

    def assert_no_output(self) -> None:
        """Raise StepTimeout if the extension has written a message: a failing extension would have invalid figures."""
        if output := self.output():
            raise StepTimeout(f"{self._extension.name} has written messages: {output}")

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes."""
        return process_group.group_cpu_seconds(self.group)

    def settle(self) -> float:
        """Wait until all processes are idle; return their CPU time in seconds."""
        return process_group.settle(self.group)

    def pss_bytes(self) -> int:
        """Return the memory of all processes, for comparisons with itself."""
        return process_group.group_pss_bytes(self.group)

    def memory(self) -> Memory:
        """Return the memory of all processes as if they were alone on the machine."""
        return process_group.group_memory(self.group)
