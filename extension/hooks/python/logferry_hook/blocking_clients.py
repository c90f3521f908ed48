"""HTTP clients that block a thread: `http.client` (urllib) and urllib3 (requests, botocore).

Guarantees:
- Arguments, responses and exceptions are passed on unchanged, and no header is added.
- A call of urllib3 has one line, although urllib3 uses `http.client`.

Design: a method that is replaced contains the original call and guarded callbacks, and nothing else. The call of a pool
is a context variable. Its connections complete it with status, sizes and the time of the response's head.

References: the sources of `http.client.HTTPConnection` and `urllib3.connectionpool.HTTPConnectionPool.urlopen`.
"""

import sys
from time import monotonic

from logferry_hook.recorder import default_port, length_of, located, recorder_of, replace

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from logferry_hook.recorder import Call, Recorder

PENDING = "_logferry_call"
"""Attribute of a connection of `http.client`: its call without a response."""
RETRIES = 4
"""Index of `retries` in the positional arguments of `urlopen`."""


def patch(module: "ModuleType", descriptor: int) -> None:
    """Replace methods of `http.client` or of urllib3."""
    client = HttpClient if module.__name__ == "http.client" else Urllib3
    client(module, recorder_of(descriptor))


class HttpClient:
    """Calls of `http.client`: urllib, and libraries that are built on it. Also the connections of urllib3's pools."""

    def __init__(self, module: "ModuleType", recorder: "Recorder") -> None:
        self.recorder = recorder
        connection = module.HTTPConnection
        replace(connection, "putrequest", self.putrequest)
        replace(connection, "endheaders", self.endheaders)
        replace(connection, "getresponse", self.getresponse)
        replace(connection, "close", self.close)

    def putrequest(self, original: "Any") -> "Any":
        """Begin a call. The original comes first, because it validates the request and sends nothing."""

        def putrequest(connection: "Any", method: str, url: str, *args: "Any", **kwargs: "Any") -> None:
            original(connection, method, url, *args, **kwargs)
            self.recorder.guard(self.begin, connection, method, url)

        return putrequest

    def endheaders(self, original: "Any") -> "Any":
        """Observe the errors of connecting and sending."""

        def endheaders(connection: "Any", *args: "Any", **kwargs: "Any") -> None:
            self.recorder.guard(self.measure, connection)
            try:
                original(connection, *args, **kwargs)
            except BaseException as error:
                self.recorder.guard(self.fail, connection, error)
                raise

        return endheaders

    def getresponse(self, original: "Any") -> "Any":
        """End a call with the head of its response."""

        def getresponse(connection: "Any", *args: "Any", **kwargs: "Any") -> "Any":
            call = self.recorder.guard(self.take, connection)
            try:
                response = original(connection, *args, **kwargs)
            except BaseException as error:
                self.recorder.guard(self.recorder.end, call, error)
                raise
            self.recorder.guard(self.receive, connection, call, response)
            return response

        return getresponse

    def close(self, original: "Any") -> "Any":
        """End a call without a response. Its error is the exception that is being handled."""

        def close(connection: "Any") -> None:
            if PENDING in connection.__dict__:
                self.recorder.guard(self.fail, connection, sys.exc_info()[1] or "ECONNABORTED")
            original(connection)

        return close

    def pool_call(self, connection: "Any") -> "Call | None":
        """Return the call of urllib3 that this connection belongs to."""
        call: Call | None = self.recorder.in_pool.get()
        if call is None:
            return None
        kind = getattr(call.pool, "ConnectionCls", None)
        return None if isinstance(kind, type) and not isinstance(connection, kind) else call

    def begin(self, connection: "Any", method: str, url: str) -> None:
        """Store a new call with its connection, unless a pool of urllib3 has begun it."""
        if self.pool_call(connection) is None:
            host, port = connection.host, connection.port
            if getattr(connection, "_tunnel_host", None):
                host, port = connection._tunnel_host, connection._tunnel_port
            connection.__dict__[PENDING] = self.recorder.begin(method, *located(url, host, port))

    def take(self, connection: "Any") -> "Call | None":
        """Return the call of a connection, and forget it there."""
        call: Call | None = connection.__dict__.pop(PENDING, None)
        return call

    def measure(self, connection: "Any") -> None:
        """Read the Content-Length of the request from the headers that are about to be sent."""
        call = connection.__dict__.get(PENDING) or self.pool_call(connection)
        if call is not None:
            for line in connection._buffer:
                if line[:15].lower() == b"content-length:":
                    call.request_bytes = length_of(line[15:].strip())

    def receive(self, connection: "Any", call: "Call | None", response: "Any") -> None:
        """Read the head of a response. The call of a pool ends later, because urllib3 may repeat it."""
        running = call or self.pool_call(connection)
        if running is None:
            return
        running.answered, running.status = monotonic(), response.status
        running.response_bytes = length_of(response.headers.get("content-length"))
        if self.recorder.header_names:
            running.headers = self.recorder.chosen_headers(response.headers.get)
        self.recorder.end(call)

    def fail(self, connection: "Any", error: "BaseException | str") -> None:
        """End the call of a connection with an error."""
        self.recorder.end(self.take(connection), error)


class Urllib3:
    """Calls of urllib3's pools: requests and botocore. A call includes its connection and its retries."""

    def __init__(self, module: "ModuleType", recorder: "Recorder") -> None:
        self.recorder = recorder
        replace(module.HTTPConnectionPool, "urlopen", self.urlopen)

    def urlopen(self, original: "Any") -> "Any":
        """Record a call. urllib3 calls this method again for each retry and each redirect of a pool."""

        def urlopen(pool: "Any", *args: "Any", **kwargs: "Any") -> "Any":
            outer = self.recorder.in_pool.get()
            call = self.recorder.guard(self.begin, pool, outer, args, kwargs)
            if call is None:
                return original(pool, *args, **kwargs)
            self.recorder.in_pool.set(call)
            try:
                response = original(pool, *args, **kwargs)
            except BaseException as error:
                self.recorder.guard(self.recorder.end, call, error)
                raise
            finally:
                self.recorder.in_pool.set(outer)
            self.recorder.guard(self.end, call, response)
            return response

        return urlopen

    def begin(self, pool: "Any", outer: "Call | None", args: "Any", kwargs: "Any") -> "Call | None":
        """Return a new call, or None if `urlopen` repeats the running one."""
        method = args[0] if args else kwargs["method"]
        url = args[1] if len(args) > 1 else kwargs["url"]
        history = getattr(args[RETRIES] if len(args) > RETRIES else kwargs.get("retries"), "history", ())
        if outer is not None and outer.pool is pool and len(history) > outer.seen:
            self.repeat(outer, method, url, history)
            return None
        port = pool.port or default_port(pool.scheme)
        call = self.recorder.begin(method, *located(url, pool.host, port))
        call.pool, call.seen = pool, len(history)
        return call

    def repeat(self, call: "Call", method: str, url: str, history: "Any") -> None:
        """Count a retry. A redirect ends the call and begins another one."""
        if history[-1].redirect_location:
            self.recorder.end(call)
            call.restart(method, located(url, "", 0)[2])
        else:
            call.retries += 1
            call.answered, call.status, call.response_bytes = 0.0, None, None
        call.seen = len(history)

    def end(self, call: "Call", response: "Any") -> None:
        """Write the line of a call, whose response `http.client` has received in most cases."""
        if call.status is None and isinstance(getattr(response, "status", None), int):
            call.status = response.status
        self.recorder.end(call)
