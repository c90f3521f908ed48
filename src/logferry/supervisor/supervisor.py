"""The process that Lambda starts: it passes events to the shipper and restarts the shipper.

Guarantees:
- The process exits outside the Shutdown phase only if Lambda refuses it or `LOGFERRY_STRICT`
  requires it. Any other exit would fail the invocation (`Extension.Crash`).
- An event is held until the shipper sends DONE, but never past the event's deadline, and never
  longer than `PING_AFTER_SECONDS + HUNG_SECONDS` for a shipper that hangs.
- A shipper that ends or hangs is replaced. Batches wait in the kernel's backlog meanwhile, and
  accepted records are in the journal. After `len(RESTART_DELAYS_SECONDS) + 1` consecutive failures
  the supervisor logs one message and idles.
- While the supervisor idles, it acknowledges every event at once, and connections to the port are
  refused.

Design: the runtime starts only after every extension has registered, so this code is the strictly
serial part of a cold start. A bare interpreter (`-I -S`, `_socket`, `posix`) starts in 8 ms;
asyncio alone adds 45, aiohttp 170, an S3 client 350. The shipper is forked after the first
`/event/next` has left. A child that imports earlier would compete with this process for a core: the
start took 1.2 to 1.7 times as long as the bare interpreter's, instead of 0.95 times. For the same
reason `shipper_process` is imported only then.
"""

import posix
import select
import time

from logferry import ipc, values
from logferry.supervisor import http
from logferry.supervisor.endpoint import Endpoint
from logferry.supervisor.lambda_api import INVOKE, SHUTDOWN, LambdaApi, Refused, seconds_to_hold, summary

TYPE_CHECKING = False  # type checkers treat this name as true; `import typing` would cost each cold start 4 ms
if TYPE_CHECKING:
    from logferry.supervisor.event_pipe import EventPipe
    from logferry.supervisor.shipper_process import ShipperProcess

REFUSED_EVENT_SECONDS = 1.5
"""Time for the last upload after Lambda has refused `/event/next`, in seconds."""
RESTART_DELAYS_SECONDS = (0.0, 0.0, 0.5, 2.0, 8.0)
"""Delay before each restart in a series of failures, in seconds. The series ends at the first sign
of success."""
STRICT_SECONDS = 8.0
"""Longest wait for the verdict on the settings with LOGFERRY_STRICT, in seconds. An on-demand init
may take 10 s."""
MANAGED_PING_SECONDS = 5.0
"""Interval of the checks on Managed Instances, in seconds. SHUTDOWN is the only event there."""
MANAGED_INSTANCES = b"lambda-managed-instances"
_from_file: dict[bytes, bytes] = {}
"""Variables that the configuration file adds to those of the environment."""


def main() -> None:
    """Run the supervisor in this process; never return."""
    address = posix.environ.get(b"AWS_LAMBDA_RUNTIME_API")
    if not address:
        log("error", "AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment; try `logferry demo`")
        posix._exit(2)
    environ = posix.environ
    if environ.get(b"LOGFERRY_CONFIG"):
        from logferry import config_file  # noqa: PLC0415 - most functions have no file

        _from_file.update(config_file.supervisor_values(environ))
        environ = {**environ, **_from_file}
    try:
        code = Supervisor(api=LambdaApi(address), environ=environ).run()
    except Refused as error:
        log("error", str(error))
        code = 1
    except (OSError, http.ProtocolError) as error:
        log("error", "the Lambda API at " + address.decode() + " does not answer: " + repr(error))
        code = 1
    posix._exit(code)


class RestartPolicy:
    """Delay before the next shipper, by the number of consecutive failures."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures = 0

    def on_success(self) -> None:
        """End a series of failures: the shipper has completed an event or stored an object."""
        self.failures = 0

    def on_failure(self) -> float | None:
        """Count a failure. Return the seconds until the next start, or None to stop restarting."""
        self.failures += 1
        if self.failures > len(RESTART_DELAYS_SECONDS):
            return None
        return RESTART_DELAYS_SECONDS[self.failures - 1]


class Supervisor:
    """One extension from its registration to SHUTDOWN."""

    def __init__(self, *, api: LambdaApi, environ: dict[bytes, bytes]) -> None:
        self._api = api
        self._environ = environ
        self._managed = environ.get(b"AWS_LAMBDA_INITIALIZATION_TYPE") == MANAGED_INSTANCES
        self._environment = posix.urandom(8).hex()
        self._endpoint: Endpoint | None = None
        self._event_pipe: EventPipe | None = None
        self._shipper: ShipperProcess | None = None
        self._starts = 0
        self._policy = RestartPolicy()
        self._restart_at: float | None = None
        self._event_number = 0

    def run(self) -> int:
        """Register, subscribe and dispatch one event after the other. Return the exit code.

        Raise Refused if Lambda refuses a request, OSError or ProtocolError if the connection to it fails.
        """
        enabled = values.setting(self._environ, b"ENABLED", values.parse_truth, default=True)
        if enabled:
            self._open_endpoint()
        self._api.register(events=(INVOKE, SHUTDOWN) if enabled and not self._managed else (SHUTDOWN,))
        self._subscribe()
        if enabled and values.setting(self._environ, b"STRICT", values.parse_truth, default=False):
            self._start_shipper()
            if mistakes := self._await_settings_verdict():
                self._api.report_init_error(mistakes)
                return 1
        while True:
            event = self._next_event()
            kind = http.text(event, b"eventType")
            # Three cases: 1. the shipper handles the event, 2. SHUTDOWN is also the last one, 3. the next request
            # acknowledges an event of any other type, because no shipper would answer it before its deadline.
            if kind in (INVOKE, SHUTDOWN):
                self._dispatch_event(event, last=kind == SHUTDOWN)
            else:
                log("debug", "acknowledged an event of an unknown type: " + event[:200].decode("utf-8", "replace"))
            if kind == SHUTDOWN:
                return 0

    def _open_endpoint(self) -> None:
        port = values.setting(self._environ, b"PORT", values.parse_port, values.DEFAULT_PORT)
        spool_dir = values.setting(self._environ, b"SPOOL_DIR", values.parse_directory, values.DEFAULT_SPOOL_DIR)
        try:
            self._endpoint = Endpoint.open(port=port, spool_dir=spool_dir)
        except OSError as error:
            self._idle("the listener cannot be opened, so no record is stored (" + str(error) + ")")
            return
        if self._environ.get(b"LOGFERRY_EVENTS") or self._environ.get(b"LOGFERRY_CALLS"):
            self._open_event_pipe(spool_dir)
        if self._endpoint.conflict:
            log("info", self._endpoint.conflict + ", using a free one; LOGFERRY_PORT selects another")

    def _open_event_pipe(self, spool_dir: str) -> None:
        from logferry.supervisor import event_pipe  # noqa: PLC0415 - most functions send no events

        if self._endpoint and event_pipe.is_wanted(self._environ):
            self._event_pipe = event_pipe.EventPipe(spool_dir)
            self._event_pipe.write_url(self._endpoint.port, is_configured=not self._endpoint.conflict)

    def _subscribe(self) -> None:
        if not self._endpoint:
            return
        refusals = self._api.subscribe(
            port=self._endpoint.port,
            path=self._endpoint.path,
            extension_logs="extension" in values.setting(self._environ, b"TYPES", values.parse_types, frozenset[str]()),
            managed=self._managed,
        )
        if refusals:
            self._idle("the Telemetry API is not available, so no record is stored (" + "; ".join(refusals) + ")")

    def _await_settings_verdict(self) -> str:
        """Return the mistakes in the settings that the shipper reports; empty if there are none."""
        until = time.monotonic() + STRICT_SECONDS
        while self._shipper:
            message = self._shipper.receive(until - time.monotonic())
            if message == ipc.READY:
                break
            if message is not None and message[:1] in (ipc.IDLE, b""):
                return message[1:].decode("utf-8", "replace") or "the shipper ended before it had read its settings"
            if time.monotonic() >= until:
                break
        return ""

    # --- waiting for Lambda

    def _next_event(self) -> bytes:
        """Return the next event as Lambda sent it.

        The wait has no limit, because the environment may be frozen for any time.
        """
        self._api.request_next_event()
        if not self._starts:
            # Each earlier round trip is a part of the function's cold start, see the design above.
            self._start_shipper()
        response = None
        while response is None:
            if self._wait_for_event_or_message():
                response = self._api.read_next_event()
        if response.status == 200:
            return response.body
        # 403 means that Lambda's state machine differs from ours, 500 that the environment is broken. The supervisor
        # ships the pending records and exits, as the documentation asks.
        log("error", "the next event was refused: " + summary(response))
        deadline_ms = (time.time() + REFUSED_EVENT_SECONDS) * 1000
        return b'{"eventType":"SHUTDOWN","shutdownReason":"refused","deadlineMs":%d}' % deadline_ms

    def _wait_for_event_or_message(self) -> bool:
        """Wait for Lambda, the shipper or a timer. Return True if Lambda has answered.

        The method handles a message of the shipper and a timer itself.
        """
        poll = select.poll()
        poll.register(self._api.connection.fileno(), select.POLLIN)
        if self._shipper:
            poll.register(self._shipper.fileno(), select.POLLIN)
        seconds = self._seconds_until_timer()
        ready = [fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)]
        # Four cases: 1. a response, 2. a message, 3. the time of a restart, 4. the interval on Managed Instances.
        if self._api.connection.fileno() in ready:
            return True
        if self._shipper and self._shipper.fileno() in ready:
            self._handle_message(self._shipper.receive(0))
        elif self._restart_at is not None:
            self._start_shipper()
        elif self._shipper:
            # No INVOKE is dispatched there, so only this check can find a shipper that hangs.
            self._shipper.add_silence(MANAGED_PING_SECONDS)
            self._handle_message(None)
        return False

    def _seconds_until_timer(self) -> float | None:
        if self._restart_at is not None:
            return max(0.0, self._restart_at - time.monotonic())
        return MANAGED_PING_SECONDS if self._managed and self._shipper else None

    # --- the shipper

    def _start_shipper(self) -> None:
        self._restart_at = None
        if not self._endpoint:
            return
        self._starts += 1
        try:
            from logferry.supervisor.shipper_process import ShipperProcess  # noqa: PLC0415 - off the serial path

            self._shipper = ShipperProcess.start(
                listener=self._endpoint.listener,
                api=self._api.connection,
                environment=self._environment,
                restarts=self._starts - 1,
                path_token=self._endpoint.path.decode(),
                account=self._api.account,
                quiet=self._policy.failures > 0,
                events=self._event_pipe.sources if self._event_pipe else None,
            )
        except OSError as error:
            # A function that has used up processes or memory must not fail because of logferry.
            self._schedule_restart("could not be started: " + str(error))

    def _dispatch_event(self, event: bytes, *, last: bool) -> None:
        """Send the event to the shipper and wait for DONE, at most until its deadline.

        If the shipper is replaced meanwhile, the new one receives the event as EVENT_RETRY. The last
        event does not wait for the time of a restart, because no later shipper can upload the records.
        """
        self._restart_if_due(last=last)
        self._event_number += 1
        packet = b"%d\n" % self._event_number + event
        done = ipc.DONE + b"%d" % self._event_number
        # The only comparison with the wall clock. From here on the monotonic clock counts.
        until = time.monotonic() + seconds_to_hold(event, epoch_seconds=time.time())
        recipient: ShipperProcess | None = None
        while self._shipper:
            if recipient is not self._shipper:
                self._shipper.send((ipc.EVENT_RETRY if recipient else ipc.EVENT) + packet)
                recipient = self._shipper
            remaining = until - time.monotonic()
            if remaining <= 0:
                return
            message = recipient.receive(min(remaining, recipient.seconds_until_check()))
            if message == done:
                self._policy.on_success()
                return
            self._handle_message(message)
            self._restart_if_due(last=last)

    def _restart_if_due(self, *, last: bool) -> None:
        """Start the next shipper if its time has come; for the last event, start it at once.

        The end of a shipper and an event may arrive at the same time. Without this check before the dispatch,
        the event was acknowledged without a shipper, and the supervisor counted failures of shippers that worked.
        """
        if self._restart_at is not None and (last or self._restart_at <= time.monotonic()):
            self._start_shipper()

    def _handle_message(self, message: bytes | None) -> None:
        """Handle any message but the awaited DONE, also process exit and an unanswered ping."""
        shipper = self._shipper
        if not shipper:
            return
        # Four cases: 1. an upload or a late DONE, 2. process exit, 3. an unanswered ping, 4. invalid settings.
        if message and message[:1] in (ipc.UPLOAD_SUCCEEDED, ipc.DONE):
            self._policy.on_success()
        elif message == b"":
            self._schedule_restart("ended: " + shipper.reap())
        elif message is None and shipper.hung():
            self._schedule_restart("did not answer a ping: " + shipper.kill())
        elif message and message[:1] == ipc.IDLE:
            shipper.reap()
            self._shipper = None
            self._close_endpoint()

    def _schedule_restart(self, failure: str) -> None:
        self._shipper = None
        first = not self._policy.failures
        delay = self._policy.on_failure()
        if delay is None:
            self._idle(
                "the shipper "
                + failure
                + "; it is not restarted after %d consecutive failures" % self._policy.failures
                + ", and the next supervisor in this environment ships the records in the spool"
            )
            return
        log("warning" if first else "info", "the shipper " + failure + "; restarting it in %g s" % delay)
        self._restart_at = time.monotonic() + delay

    def _idle(self, reason: str) -> None:
        """Log the reason and stop shipping. From now on every event is acknowledged at once."""
        log("warning", reason + "; the function is not affected")
        self._close_endpoint()

    def _close_endpoint(self) -> None:
        if self._endpoint:
            self._endpoint.close()
            self._endpoint = None
        if self._event_pipe:
            self._event_pipe.close()
            self._event_pipe = None


def log(level: str, message: str) -> None:
    """Write one line to stdout in the format of the shipper's messages, without structlog."""
    lowest = values.setting(
        {**posix.environ, **_from_file}, b"LOG_LEVEL", values.parse_log_level, values.DEFAULT_LOG_LEVEL
    )
    if values.LOG_LEVELS.index(level) < values.LOG_LEVELS.index(lowest):
        return
    if posix.environ.get(b"AWS_LAMBDA_LOG_FORMAT", b"").upper() == b"JSON":
        line = '{"level":%s,"logger":"logferry","message":%s}\n' % (http.quote(level), http.quote(message))
    else:
        line = "logferry " + level + ": " + message + "\n"
    try:
        posix.write(1, line.encode("utf-8", "replace"))
    except OSError:
        return
