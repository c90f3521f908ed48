"""Extensions API and Telemetry API on a real socket, for tests of the supervisor inside the test process.

Guarantees:
- `/event/next` is answered only with events of the test.
- Each request is recorded with its time before it is answered.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WAIT_SECONDS = 15.0
"""Longest wait of a test for a request, in seconds. A loaded machine may take seconds for one."""
NEXT = "/2020-01-01/extension/event/next"
REGISTER = "/2020-01-01/extension/register"
INIT_ERROR = "/2020-01-01/extension/init/error"
TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"


class Request(NamedTuple):
    """A request as the server received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


class Answer(NamedTuple):
    """Status and body of a response."""

    status: int
    body: bytes


class FakeLambdaApi:
    """Server state: received requests, answers by path, and the events of the test."""

    def __init__(self, answers: Mapping[str, Sequence[int]]) -> None:
        """Store the statuses of successive requests by path; the last one repeats, and 200 is the default."""
        self._answers = {path: list(statuses) for path, statuses in answers.items()}
        self._events: queue.Queue[Answer] = queue.Queue()
        self._changed = threading.Condition()
        self.requests: list[Request] = []
        self.address = b""

    def to(self, path: str) -> list[Request]:
        """Return the requests to a path."""
        return [request for request in self.requests if request.path == path]

    def wait_for_next(self, count: int) -> Request:
        """Return the request for event number `count`, from 1. Raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.to(NEXT)) >= count, WAIT_SECONDS):
                raise TimeoutError(f"{len(self.to(NEXT))} requests for an event instead of {count}")
        return self.to(NEXT)[count - 1]

    def hand_out(self, event: bytes, *, status: int = 200) -> None:
        """Answer the outstanding or the following request for an event."""
        self._events.put(Answer(status, event))

    def hold(self, event: bytes) -> float:
        """Hand out an event and return the seconds until the supervisor asks for the next one."""
        count = len(self.to(NEXT))
        self.wait_for_next(max(1, count))
        began = time.monotonic()
        self.hand_out(event)
        return self.wait_for_next(max(1, count) + 1).at - began

    def answer(self, request: Request) -> Answer:
        """Record a request and return its answer."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if request.path == NEXT:
            return self._events.get(timeout=4 * WAIT_SECONDS)
        statuses = self._answers.get(request.path, [200])
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        return Answer(status, b'{"functionName":"f"}' if status == 200 else b'{"errorType":"Test.Refused"}')


def event(kind: str, *, seconds: float | None = 30.0, **fields: Any) -> bytes:
    """Return an event of the Extensions API whose deadline is `seconds` away; None leaves the deadline out."""
    deadline = {} if seconds is None else {"deadlineMs": int((time.time() + seconds) * 1000)}
    return json.dumps({"eventType": kind, **deadline, **fields}, separators=(",", ":")).encode()


@contextlib.contextmanager
def fake_lambda_api(answers: Mapping[str, Sequence[int]] | None = None) -> Iterator[FakeLambdaApi]:
    """Run the server in threads until the end of the context."""
    api = FakeLambdaApi(answers or {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = api.answer(Request(self.command, self.path, dict(self.headers), body, time.monotonic()))
            self.send_response(answer.status)
            self.send_header("Lambda-Extension-Identifier", "identifier")
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        api.address = b"127.0.0.1:%d" % server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join(WAIT_SECONDS)
