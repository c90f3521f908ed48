"""Requests and events of the Extensions API, and the subscription of the Telemetry API.

Guarantees:
- One `/event/next` is outstanding at a time. Lambda answers a second one with 403 and ends the
  environment.
- Every other request is repeated when its connection breaks, at most `API_TRIES` times in all.
- A held event has a limit, whatever its fields are.
- `subscribe` tries the schemas of `SCHEMAS` from the newest and returns the refusals. The caller
  decides what follows.

References: Lambda Extensions API 2020-01-01, Telemetry API 2022-07-01, Logs API 2020-08-15.
"""

import time

from logferry import values
from logferry.supervisor import http

NAME = b"logferry"
"""Name of the file in /opt/extensions. Lambda takes any other name for an internal extension."""
INVOKE = b"INVOKE"
SHUTDOWN = b"SHUTDOWN"

INVOKE_MARGIN_SECONDS = 0.1
"""Time between the end of a wait and the deadline of an invocation, in seconds. The shipper itself
stops earlier."""
EXIT_MARGIN_SECONDS = 0.08
"""Time for the exit at the end of the Shutdown phase, in seconds. Lambda kills a process after
2,000 ms."""
INCOMPLETE_EVENT_SECONDS = 1.0
"""Longest wait for an event without a usable `deadlineMs` or `requestId`, in seconds. The shipper
cannot recognize the end of an invocation without its ID."""
LONGEST_EVENT_SECONDS = 900.0
"""Longest timeout of a function, in seconds. A later deadline means that one of the clocks is
wrong."""

API_TRIES = 3
API_RETRY_SECONDS = 0.1

LONG_BUFFER_MS = 1000
"""Buffering on Managed Instances, in milliseconds. No invocation waits for a record there, so
batches may be larger."""
SCHEMAS = (
    (b"/2022-07-01/telemetry", b"2025-01-29"),
    (b"/2022-07-01/telemetry", b"2022-12-13"),
    (b"/2022-07-01/telemetry", b"2022-07-01"),
    (b"/2020-08-15/logs", b"2021-03-18"),
)
"""Paths and schema versions, from the newest. The Logs API is last: one extension may use only one
of the two APIs."""


class Refused(Exception):
    """Lambda refused a request without which an extension cannot work."""


class LambdaApi:
    """Client of the two APIs for one extension."""

    def __init__(self, address: bytes) -> None:
        self.connection = http.Connection(address)
        self._identifier = b""
        self.account = ""
        """AWS account of the function, if Lambda has returned it."""

    def register(self, *, events: tuple[bytes, ...]) -> None:
        """Register for these events. Raise Refused, OSError or ProtocolError."""
        body = b'{"events":[' + b",".join(b'"' + event + b'"' for event in events) + b"]}"
        response = self._call(b"POST", b"/2020-01-01/extension/register", body, Name=NAME, Accept_Feature=b"accountId")
        if response.status != 200:
            raise Refused(
                "registration was refused: " + summary(response) + "; is the file in /opt/extensions named logferry?"
            )
        self._identifier = response.headers.get(b"lambda-extension-identifier", b"")
        account = http.text(response.body, b"accountId").decode("ascii", "replace")
        self.account = account if account.isdigit() else ""

    def subscribe(self, *, port: int, path: bytes, extension_logs: bool, managed: bool) -> list[str]:
        """Subscribe with the newest schema that Lambda accepts.

        Return an empty list after success, else each refusal. Raise OSError or ProtocolError.
        """
        refusals = []
        # Managed Instances accept the newest schema only.
        for api, schema in SCHEMAS[:1] if managed else SCHEMAS:
            body = subscription(schema, port=port, path=path, extension_logs=extension_logs, managed=managed)
            response = self._call(b"PUT", api, body)
            if response.status == 200:
                return []
            refusals.append(schema.decode() + ": " + summary(response))
            # 202 means that there is no telemetry at all, as in AWS's emulator. An older schema would not help.
            if response.status == 202:
                break
        return refusals

    def report_init_error(self, reason: str) -> None:
        """Fail the Init phase. Raise OSError or ProtocolError."""
        body = '{"errorMessage":%s,"errorType":"Extension.ConfigInvalid"}' % http.quote(reason)
        path = b"/2020-01-01/extension/init/error"
        self._call(b"POST", path, body.encode(), Function_Error_Type=b"Extension.ConfigInvalid")

    def request_next_event(self) -> None:
        """Request the next event, which also acknowledges the last one. Raise OSError."""
        self.connection.send(b"GET", b"/2020-01-01/extension/event/next", self._headers())

    def read_next_event(self) -> http.Response | None:
        """Read once. Return the response to `request_next_event`, or None until it is complete.

        Raise OSError or ProtocolError. The request is never repeated.
        """
        return self.connection.read_some()

    def _call(self, method: bytes, path: bytes, body: bytes, **headers: bytes) -> http.Response:
        for remaining in range(API_TRIES - 1, -1, -1):
            try:
                self.connection.send(method, path, self._headers(**headers), body)
                return self.connection.receive()
            except (OSError, http.ProtocolError):
                self.connection.close()
                if not remaining:
                    raise
                time.sleep(API_RETRY_SECONDS)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _headers(self, **extra: bytes) -> dict[bytes, bytes]:
        headers = {b"Lambda-Extension-" + name.replace("_", "-").encode(): value for name, value in extra.items()}
        if self._identifier:
            headers[b"Lambda-Extension-Identifier"] = self._identifier
        return headers


def subscription(schema: bytes, *, port: int, path: bytes, extension_logs: bool, managed: bool) -> bytes:
    """Return the body of a subscription. The platform delivers batches to `port` and `path`."""
    types = b'"platform","function"' + (b',"extension"' if extension_logs else b"")
    return (
        b'{"schemaVersion":"%s","types":[%s],"buffering":{"maxItems":10000,"maxBytes":1048576,"timeoutMs":%d},'
        b'"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d%s"}}'
        % (schema, types, LONG_BUFFER_MS if managed else values.SHORT_BUFFER_MS, port, path)
    )


def summary(response: http.Response) -> str:
    """Return the status and the beginning of the body for a message."""
    return "%d %s" % (response.status, response.body[:200].decode("utf-8", "replace"))


def seconds_to_hold(event: bytes, *, epoch_seconds: float) -> float:
    """Return how long an event may be held. The result is negative for a deadline in the past."""
    last = http.text(event, b"eventType") == SHUTDOWN
    deadline_ms = http.number(event, b"deadlineMs")
    if deadline_ms is None:
        return INCOMPLETE_EVENT_SECONDS
    seconds = deadline_ms / 1000 - epoch_seconds - (EXIT_MARGIN_SECONDS if last else INVOKE_MARGIN_SECONDS)
    identified = last or http.text(event, b"requestId")
    return min(seconds, LONGEST_EVENT_SECONDS if identified else INCOMPLETE_EVENT_SECONDS)
