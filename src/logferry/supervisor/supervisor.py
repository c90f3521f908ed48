"""The process that Lambda starts and that must never die.

Promises:
- it alone speaks to the Extensions API, and one `/event/next` is outstanding at a time: a second is refused, and an
  extension that ends outside shutdown fails the invocation (`Extension.Crash`);
- an event is held until the shipper says "done", but never past the event's deadline, and never longer than
  `HUNG_SECONDS` when the shipper does not even answer a ping;
- a shipper that dies or hangs is replaced. The listening socket stays bound here, so deliveries wait in the kernel's
  backlog meanwhile, and what was accepted is in the journal. If shippers keep dying it says so once and idles: the
  function lives on without us.

Why it is written by hand on a bare interpreter (`-I -S`, `_socket`, `posix`): the runtime starts only when every
extension has registered, so this is the strictly serial part of a cold start. Python's own start is 8 ms; asyncio
alone would add 45, aiohttp 170, an S3 client 350. Nothing of ours but `wire` and `child` may be imported here
(tests/test_architecture.py), and the shipper is forked when the first `/event/next` is out: before that, a child that
imports would make this process wait for its turn on a core (1.2 to 1.7 times the bare interpreter's start, instead of
0.95).
"""

import _socket
import posix
import select
import time

from logferry import ipc
from logferry.supervisor import http
from logferry.supervisor.shipper_process import HUNG_SECONDS, ShipperProcess

NAME = b"logferry"
"""Must be the file's name in /opt/extensions: another name is taken for an internal extension (Extensions API)."""

DEFAULT_PORT = 9513
"""Fixed, so that after a reset the platform's undelivered batch finds us again; 9001 is Lambda's own."""

DEFAULT_SPOOL = b"/tmp/logferry"

INVOKE_MARGIN_SECONDS = 0.1
"""Left of an invocation's deadline for the way back to Lambda; the shipper itself stops earlier."""
SHUTDOWN_MARGIN_SECONDS = 0.08
"""Left of the 2,000 ms for the exit; whoever is late is killed."""
RESTART_DELAYS_SECONDS = (0.0, 0.0, 0.5, 2.0, 8.0)
"""Before each new shipper, counted from the last one that finished an event; after these it is given up."""
STRICT_SECONDS = 8.0
"""How long LOGFERRY_STRICT waits for the verdict on the settings, inside the 10 s of an on-demand init."""
API_TRIES = 3
API_RETRY_SECONDS = 0.1

MANAGED_PING_SECONDS = 5.0
"""On Managed Instances no event but SHUTDOWN comes: how often the shipper is asked whether it is there."""

EEXIST = 17
"""Linux's number; `import errno` is an import."""

SHORT_BUFFER_MS = 25
"""The Telemetry API's minimum: an invocation waits for `platform.runtimeDone`, which comes up to this much late."""
LONG_BUFFER_MS = 1000
"""On Managed Instances, where nothing waits for a record: fewer and larger deliveries."""
LADDER = (
    (b"/2022-07-01/telemetry", b"2025-01-29"),
    (b"/2022-07-01/telemetry", b"2022-12-13"),
    (b"/2022-07-01/telemetry", b"2022-07-01"),
    (b"/2020-08-15/logs", b"2021-03-18"),
)
"""Schemas from the newest; the Logs API is the last resort, and one extension may use only one of the two APIs."""
MANAGED_INSTANCES = b"lambda-managed-instances"


def main() -> None:
    """Live as an extension until SHUTDOWN; never returns."""
    api = posix.environ.get(b"AWS_LAMBDA_RUNTIME_API")
    if not api:
        say("error", "AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment; try `logferry demo`")
        posix._exit(2)
    try:
        Supervisor(api=api, environ=posix.environ).live()
    except (OSError, http.ProtocolError) as error:
        say("error", "the Lambda API at " + api.decode() + " is gone: " + repr(error))
        posix._exit(1)
    posix._exit(0)


class Supervisor:
    """One life from registration to SHUTDOWN."""

    def __init__(self, *, api: bytes, environ: dict[bytes, bytes]) -> None:
        self._api = http.Connection(api)
        self._environ = environ
        self._managed = environ.get(b"AWS_LAMBDA_INITIALIZATION_TYPE") == MANAGED_INSTANCES
        self._identifier = b""
        self._environment = posix.urandom(8).hex()
        self._door = b""
        self._listener: _socket.socket | None = None
        self._shipper: ShipperProcess | None = None
        self._started = 0
        self._deaths = 0
        self._restart_at = 0.0
        self._numbered = 0

    def live(self) -> None:
        """Register, subscribe, then hand on one event after another until SHUTDOWN has been handed on."""
        enabled = _truth(self._environ.get(b"LOGFERRY_ENABLED", b"true"))
        if enabled:
            self._listener = _listen(_port(self._environ))
            self._door = _door(self._environ)
        self._register(wanted=(b"INVOKE", b"SHUTDOWN") if enabled and not self._managed else (b"SHUTDOWN",))
        if enabled:
            self._subscribe()
        if enabled and _truth(self._environ.get(b"LOGFERRY_STRICT", b"false")):
            self._start_shipper()
            self._insist()
        while True:
            event = self._next_event()
            last = http.text(event, b"eventType") == b"SHUTDOWN"
            self._hand_on(event, seconds=_seconds_left(event, last=last))
            if last:
                return

    # --- the Lambda side

    def _call(self, method: bytes, path: bytes, body: bytes, **headers: bytes) -> http.Response:
        """One request and its answer; a connection that breaks is tried anew. Raises OSError or ProtocolError."""
        for left in range(API_TRIES - 1, -1, -1):
            try:
                self._api.send(method, path, self._identity(**headers), body)
                return self._api.receive()
            except (OSError, http.ProtocolError):
                self._api.close()
                if not left:
                    raise
                time.sleep(API_RETRY_SECONDS)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _identity(self, **extra: bytes) -> dict[bytes, bytes]:
        headers = {b"Lambda-Extension-" + name.replace("_", "-").encode(): value for name, value in extra.items()}
        if self._identifier:
            headers[b"Lambda-Extension-Identifier"] = self._identifier
        return headers

    def _register(self, *, wanted: tuple[bytes, ...]) -> None:
        """Extensions API, Register. Exits when refused: without it there is nothing an extension may do."""
        body = b'{"events":[' + b",".join(b'"' + event + b'"' for event in wanted) + b"]}"
        answer = self._call(b"POST", b"/2020-01-01/extension/register", body, Name=NAME)
        if answer.status != 200:
            say(
                "error",
                "registering was refused: " + _brief(answer) + "; is the file in /opt/extensions named logferry?",
            )
            posix._exit(1)
        self._identifier = answer.headers.get(b"lambda-extension-identifier", b"")

    def _subscribe(self) -> None:
        """Telemetry API, Subscribe, down the ladder; where nothing is accepted it says so once and idles."""
        if not self._listener:
            return
        ladder = LADDER[:1] if self._managed else LADDER
        refusals = []
        for path, schema in ladder:
            answer = self._call(b"PUT", path, self._subscription(schema))
            if answer.status == 200:
                return
            refusals.append(schema.decode() + ": " + _brief(answer))
            if answer.status == 202:
                break
        self._idle(
            "no telemetry here, so no record can be shipped; the function is not affected (" + "; ".join(refusals) + ")"
        )

    def _subscription(self, schema: bytes) -> bytes:
        types = b'"platform","function"'
        if b"extension" in self._environ.get(b"LOGFERRY_TYPES", b"").lower():
            types += b',"extension"'
        port = self._listener.getsockname()[1] if self._listener else 0
        return (
            b'{"schemaVersion":"%s","types":[%s],"buffering":{"maxItems":10000,"maxBytes":1048576,"timeoutMs":%d},'
            b'"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d%s"}}'
            % (schema, types, LONG_BUFFER_MS if self._managed else SHORT_BUFFER_MS, port, self._door)
        )

    def _insist(self) -> None:
        """LOGFERRY_STRICT: let a wrong setting fail the init (Extensions API, Init error) instead of idling."""
        until = time.monotonic() + STRICT_SECONDS
        while self._shipper and (message := self._shipper.receive(until - time.monotonic())) != ipc.READY:
            if message is not None and message[:1] in (ipc.IDLE, b""):
                reason = message[1:].decode() or "the shipper ended before it had read its settings"
                body = '{"errorMessage":%s,"errorType":"Extension.ConfigInvalid"}' % http.quote(reason)
                self._call(
                    b"POST",
                    b"/2020-01-01/extension/init/error",
                    body.encode(),
                    Function_Error_Type=b"Extension.ConfigInvalid",
                )
                posix._exit(1)
            if time.monotonic() >= until:
                return

    def _next_event(self) -> bytes:
        """Extensions API, Next: the event as it came. Waits without a limit, for the environment may be frozen."""
        while True:
            self._api.send(b"GET", b"/2020-01-01/extension/event/next", self._identity())
            if not self._started:
                # Not before: until here each round trip is a part of the function's cold start, and a child that
                # imports makes this process wait for its turn on a core (1.5 times the ready time, measured).
                self._start_shipper()
            answer = None
            while answer is None:
                if self._shipper_spoke_first():
                    continue
                answer = self._api.read_some()
            if answer.status == 200:
                return answer.body
            # 403: the state machine and we disagree; 500: the container is broken. There is no way on from here but
            # to save what we hold; the process then ends as the documentation asks.
            say("error", "the next event was refused: " + _brief(answer))
            return b'{"eventType":"SHUTDOWN","shutdownReason":"refused","deadlineMs":%d}' % ((time.time() + 1.5) * 1000)

    def _shipper_spoke_first(self) -> bool:
        """Wait for Lambda or the shipper, whichever speaks first; take care of the shipper."""
        poll = select.poll()
        poll.register(self._api.fileno(), select.POLLIN)
        if self._shipper:
            poll.register(self._shipper.fileno(), select.POLLIN)
        waiting = max(0.0, self._restart_at - time.monotonic()) if self._restart_at else None
        if self._managed and self._shipper:
            waiting = MANAGED_PING_SECONDS
        ready = [fd for fd, _ in poll.poll(None if waiting is None else waiting * 1000)]
        if self._api.fileno() in ready:
            return False
        if self._shipper and self._shipper.fileno() in ready:
            self._heed(self._shipper.receive(0))
        elif self._restart_at:
            self._start_shipper()
        elif self._shipper:
            # Where no invocation is ever handed on, a shipper that hangs would show nowhere else.
            self._shipper.waited(MANAGED_PING_SECONDS)
            self._heed(None)
        return True

    # --- the shipper's side

    def _start_shipper(self) -> None:
        self._restart_at = 0.0
        if self._listener:
            try:
                self._shipper = self._forked(self._listener)
            except OSError as error:
                # A function that uses up processes or memory must not be taken down by us.
                self._bury("could not be started: " + str(error))

    def _forked(self, listener: _socket.socket) -> ShipperProcess:
        self._started += 1
        return ShipperProcess.start(
            listener=listener,
            api=self._api,
            environment=self._environment,
            restarts=self._started - 1,
            door=self._door.decode(),
            quiet=self._deaths > 0,
        )

    def _hand_on(self, event: bytes, *, seconds: float) -> None:
        """Give the event to the shipper and wait for its "done", at most `seconds`; a new shipper gets it again."""
        self._numbered += 1
        packet = b"%d\n" % self._numbered + event
        done = ipc.DONE + b"%d" % self._numbered
        until = time.monotonic() + seconds
        handed_to: ShipperProcess | None = None
        while self._shipper:
            if handed_to is not self._shipper:
                self._shipper.nudge()  # first: whom the packet wakes may take this process's turn
                self._shipper.send((ipc.EVENT_RETRY if handed_to else ipc.EVENT) + packet)
                handed_to = self._shipper
            left = until - time.monotonic()
            if left <= 0:
                return
            message = handed_to.receive(min(left, handed_to.patience()))
            if message == done:
                self._deaths = 0
                return
            self._heed(message)
            if self._restart_at and self._restart_at <= time.monotonic():
                self._start_shipper()

    def _heed(self, message: bytes | None) -> None:
        """A word from the shipper that is not the "done" waited for; its death or silence above all."""
        shipper = self._shipper
        if not shipper:
            return
        if message == ipc.UPLOAD_SUCCEEDED:
            self._deaths = 0
        elif message == b"":
            self._bury("died: " + shipper.reap())
        elif message is None and shipper.hung():
            self._bury("did not answer for %g s: " % HUNG_SECONDS + shipper.kill())
        elif message and message[:1] == ipc.IDLE:
            shipper.reap()
            self._shipper = None
            self._stop_listening()

    def _bury(self, how: str) -> None:
        self._shipper = None
        if self._deaths >= len(RESTART_DELAYS_SECONDS):
            self._idle(
                "the shipper " + how + "; after %d in a row it is given up, and what is on disk waits for the "
                "next life; the function is not affected" % (self._deaths + 1)
            )
            return
        say("info" if self._deaths else "warning", "the shipper " + how + "; another is started")
        self._restart_at = time.monotonic() + RESTART_DELAYS_SECONDS[self._deaths]
        self._deaths += 1

    def _idle(self, why: str) -> None:
        """Say why, once; from now on every event is answered at once."""
        say("warning", why)
        self._stop_listening()
        if self._shipper:
            self._shipper.dismiss()
            self._shipper = None

    def _stop_listening(self) -> None:
        """A port nobody answers on would keep the platform waiting: refuse instead."""
        if self._listener:
            self._listener.close()
            self._listener = None


def _listen(port: int) -> _socket.socket:
    """Bind before subscribing (Telemetry API). All interfaces: `sandbox.localdomain` is not loopback on Lambda."""
    for candidate in (port, 0):
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", candidate))
        except OSError as error:
            listener.close()
            if not candidate:
                raise
            say("info", "port %d is taken (%s): using a free one; LOGFERRY_PORT names another" % (port, error.strerror))
        else:
            listener.listen(128)
            return listener
    raise AssertionError  # pragma: no cover - the loop returns or raises


def _door(environ: dict[bytes, bytes]) -> bytes:
    """The path that the platform is asked to deliver to, see `door`: kept in the spool, made where there is none."""
    spool = environ.get(b"LOGFERRY_SPOOL_DIR", b"").strip() or DEFAULT_SPOOL
    path = b"/" + posix.urandom(16).hex().encode()
    try:
        posix.mkdir(spool, 0o700)
    except OSError as error:
        if error.errno != EEXIST:
            return path  # the shipper will complain
    try:
        fd = posix.open(spool + b"/door", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    except OSError:
        return path
    try:
        kept = posix.read(fd, 64)
        if len(kept) == len(path) and kept[:1] == b"/" and kept[1:].isalnum():
            return kept
        posix.ftruncate(fd, 0)
        posix.pwrite(fd, path, 0)
    except OSError:
        return path
    finally:
        posix.close(fd)
    return path


def _port(environ: dict[bytes, bytes]) -> int:
    """LOGFERRY_PORT; what is unreadable is reported with all other settings by the shipper."""
    given = environ.get(b"LOGFERRY_PORT", b"").strip()
    return int(given) if given.isdigit() and int(given) < 65536 else DEFAULT_PORT


def _truth(value: bytes) -> bool:
    return value.strip().lower() in (b"true", b"1", b"yes", b"on")


def _seconds_left(event: bytes, *, last: bool) -> float:
    """The date in the event becomes a duration here, once. A date already past gives nothing to wait for."""
    date = http.number(event, b"deadlineMs")
    if date is None:
        return 1.0
    return date / 1000 - time.time() - (SHUTDOWN_MARGIN_SECONDS if last else INVOKE_MARGIN_SECONDS)


def _brief(answer: http.Response) -> str:
    return "%d %s" % (answer.status, answer.body[:200].decode("utf-8", "replace"))


def say(level: str, message: str) -> None:
    """One line on stdout, as the shipper's own messages look; by hand, for structlog is far too dear here."""
    wanted = posix.environ.get(b"LOGFERRY_LOG_LEVEL", b"warning").strip().lower()
    levels = ("debug", "info", "warning", "error")
    if wanted.decode("ascii", "replace") in levels and levels.index(level) < levels.index(wanted.decode()):
        return
    if posix.environ.get(b"AWS_LAMBDA_LOG_FORMAT", b"").upper() == b"JSON":
        line = '{"level":%s,"logger":"logferry","message":%s}\n' % (http.quote(level), http.quote(message))
    else:
        line = "logferry " + level + ": " + message + "\n"
    try:
        posix.write(1, line.encode("utf-8", "replace"))
    except OSError:
        return
