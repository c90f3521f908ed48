"""One life of an execution environment: an extension is started, invoked, frozen, shut down, and timed at every step.

The order of things is Lambda's: the runtime starts when the extension has registered; `platform.start` and the lines
come while the function runs; `platform.runtimeDone` when it has ended; `platform.report` only with the next invocation.
What the platform's own buffering adds (25 ms at the least) is left out: it is the same for whoever waits.
"""

from __future__ import annotations

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
from benchmark.burner import Idle
from benchmark.http_wire import Deliveries
from benchmark.lambda_stub import LambdaStub, Stuck

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from benchmark.burner import Work
    from benchmark.quota import Quota
    from benchmark.rivals import Rival
    from benchmark.s3 import S3

NEXT_SECONDS = 60.0
"""The longest wait for /event/next: a naive start takes 8 s on 7 % of a core, an ingest of 100 MB some seconds."""
TIMEOUT_SECONDS = 120
"""The function's timeout, from which an invocation's deadline comes."""
SHUTDOWN_SECONDS = 2.0
"""Lambda's own, with an external extension (developer guide, "Shutdown phase")."""
OPENING_SECONDS = 0.01
"""From INVOKE to the first delivery: the platform buffers, so it never comes at once."""
FUNCTION_SECONDS = 0.02
"""A function that waits for something and uses no CPU."""
PER_INVOCATION = {"LOGFERRY_FLUSH": "invocation"}
"""Settings of logferry: an object for each invocation, as the naive one makes them."""


@dataclass(frozen=True)
class Invoked:
    """What one invocation took, in seconds."""

    latency: float
    """From INVOKE to the function's answer: what its caller waits for."""
    post: float
    """From `platform.runtimeDone` to /event/next; 0 where that was asked before."""
    next_after: float
    """From INVOKE to /event/next."""


class Environment:
    """A context manager: started on entry up to its first /event/next, killed on exit unless it was shut down."""

    def __init__(
        self,
        rival: Rival,
        s3: S3,
        *,
        settings: dict[str, str] | None = None,
        cpus: set[int] | None = None,
        quota: Quota | None = None,
        on_register: Callable[[], None] = lambda: None,
    ) -> None:
        """`cpus` and `quota` hold the extension's processes; function and stand-ins are placed by the caller."""
        self._rival = rival
        self._s3 = s3
        self._settings = settings or {}
        self._cpus = cpus
        self._quota = quota
        self.stub = LambdaStub(on_register=on_register)
        self._tmp = Path(tempfile.mkdtemp(prefix="benchmark-"))
        self._lines = log_lines.Lines()
        self._owed: list[dict[str, Any]] = []
        self._ended = False
        self._deliveries: Deliveries | None = None
        self.started_at = 0.0
        self.ready_seconds = 0.0
        """From exec to the first /event/next."""
        self.ready_cpu_seconds = 0.0
        """CPU time of the process that Lambda started, at that moment."""

    def __enter__(self) -> Self:
        """Start the extension and wait for its first /event/next. Raises Stuck with what the extension has said."""
        self._spawn()
        try:
            self._wait_ready()
        except (Stuck, OSError) as error:
            said = self.output()
            self.__exit__(None, None, None)
            raise Stuck(f"{self._rival.name}: {error}; it said: {said or 'nothing'}") from error
        return self

    def _spawn(self) -> None:
        environment = self._rival.environment(
            api=self.stub.address, s3_url=self._s3.url, certificate=self._s3.certificate, tmp=self._tmp
        )
        command = self._rival.command
        if self._quota:
            command = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._quota.door), *command]
        # A process group of its own, as Lambda gives it, and not a session: that would be a scheduling group too
        # (sched(7), autogroup), and a low priority inside it would not give way to the function.
        output = str(self._tmp / "output")
        with process_group.on_cpus(self._cpus):
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
        """Kill what is left, and remove its files."""
        if not self._ended:
            process_group.kill(self.group)
            os.waitpid(self.group, 0)
        self.stub.close()
        if self._deliveries:
            self._deliveries.close()
        shutil.rmtree(self._tmp, ignore_errors=True)

    @property
    def registered_seconds(self) -> float:
        """From exec to the registration, which is when Lambda starts the runtime."""
        return self.stub.registered_at - self.started_at

    # --- the platform's acts

    def deliver(self, body: bytes) -> float:
        """Deliver telemetry; returns the seconds to the answer."""
        if self._deliveries is None:
            raise Stuck("the extension has not subscribed")
        return self._deliveries.post(body)

    def begin(self) -> str:
        """Send INVOKE; returns the request id."""
        request_id = str(uuid.uuid4())
        deadline_ms = int((time.time() + TIMEOUT_SECONDS) * 1000)
        arn = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"
        event = {"eventType": "INVOKE", "requestId": request_id, "deadlineMs": deadline_ms, "invokedFunctionArn": arn}
        self.invoked_at = self.stub.send_event(event)
        return request_id

    def finish(self, request_id: str) -> float:
        """Deliver `platform.runtimeDone` and wait for /event/next; returns the seconds that the extension added."""
        body = log_lines.delivery([log_lines.runtime_done(request_id)])
        ended_at = time.perf_counter()
        self.deliver(body)
        self._owed = [log_lines.report(request_id)]
        self.next_at = self.stub.wait_for_next(NEXT_SECONDS)
        return max(0.0, self.next_at - ended_at)

    def opening(self, request_id: str, lines: int) -> bytes:
        """The first delivery of an invocation: the report of the one before, `platform.start`, some lines."""
        records = [*self._owed, log_lines.start(request_id), *self._lines.records(lines, request_id)]
        self._owed = []
        return log_lines.delivery(records)

    def invoke(self, work: Work | None = None, *, lines: int = 5) -> Invoked:
        """One invocation with some lines; the function does `work`."""
        work = work or Idle(FUNCTION_SECONDS)
        request_id = self.begin()
        work.begin()
        time.sleep(OPENING_SECONDS)
        self.deliver(self.opening(request_id, lines))
        latency = work.finish()
        post = self.finish(request_id)
        return Invoked(latency=latency, post=post, next_after=self.next_at - self.invoked_at)

    def warm_up(self, invocations: int = 1) -> None:
        """Wait until it has loaded, and invoke it so often: the first ones open the connection and fill caches."""
        self.settle()
        for _ in range(invocations):
            self.invoke()

    def frozen(self, meanwhile: Callable[[], None]) -> None:
        """Freeze the environment, let something happen, thaw it."""
        os.killpg(self.group, signal.SIGSTOP)
        try:
            meanwhile()
        finally:
            os.killpg(self.group, signal.SIGCONT)

    def shut_down(self) -> float:
        """Deliver the last report and send SHUTDOWN; returns the seconds to the process's end. Raises Stuck."""
        deadline_ms = int((time.time() + SHUTDOWN_SECONDS) * 1000)
        if self._owed:
            self.deliver(log_lines.delivery(self._owed))
        sent = self.stub.send_event({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": deadline_ms})
        process = os.pidfd_open(self.group)
        try:
            if not select.select([process], [], [], NEXT_SECONDS)[0]:
                raise Stuck(f"{self._rival.name} did not end after SHUTDOWN")
            seconds = time.perf_counter() - sent
        finally:
            os.close(process)
        os.waitpid(self.group, 0)
        self._ended = True
        return seconds

    # --- the meters

    def output(self) -> str:
        """What the extension has written to stdout and stderr."""
        return (self._tmp / "output").read_text()

    def insist_on_silence(self) -> None:
        """Raise Stuck when the extension has complained: one that does not work would be fast for nothing."""
        if said := self.output():
            raise Stuck(f"{self._rival.name} is not well; it said: {said}")

    def cpu_seconds(self) -> float:
        """CPU time of all its processes."""
        return process_group.group_cpu_seconds(self.group)

    def settle(self) -> float:
        """Wait until all its processes are idle; returns their CPU time in seconds."""
        return process_group.settle(self.group)

    def pss_bytes(self) -> int:
        """Memory of all its processes, to be compared with itself."""
        return process_group.group_pss_bytes(self.group)

    def memory_bytes(self) -> int:
        """Memory of all its processes, were they alone on the machine."""
        return process_group.group_memory_bytes(self.group)
