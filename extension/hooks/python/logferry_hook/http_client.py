"""Calls of `http.client`: urllib and libraries that are built on it, and the connections of urllib3's pools.

Guarantees:
- Arguments, responses and exceptions are passed on unchanged, and no header is added.

Design: a method that is replaced contains the original call and guarded callbacks, and nothing else. A connection of a
pool of urllib3 begins no separate call. It completes the running call with status, sizes and the time of the
response's head.

References: the source of `http.client.HTTPConnection`.
"""

import sys
from time import monotonic

from logferry_hook.recorder import length_of, located, recorder_of, replace

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from logferry_hook.recorder import Call, Recorder

PENDING = "_logferry_call"
"""Attribute of a connection: its call without a response."""


def patch(module: "ModuleType", descriptor: int) -> None:
    """Replace methods of `http.client`."""
    HttpClient(module, recorder_of(descriptor))


class HttpClient:
    """Replacements of the methods of `HTTPConnection`."""

    def __init__(self, module: "ModuleType", recorder: "Recorder") -> None:
        self.recorder = recorder
        connection = module.HTTPConnection
        replace(connection, "endheaders", self.endheaders)
        replace(connection, "getresponse", self.getresponse)
        replace(connection, "close", self.close)

    def endheaders(self, original: "Any") -> "Any":
        """Begin a call before the connection is opened, and observe the errors of connecting and sending."""
        guard, begin, fail = self.recorder.guard, self.begin, self.fail

        def endheaders(connection: "Any", *args: "Any", **kwargs: "Any") -> None:
            guard(begin, connection)
            try:
                original(connection, *args, **kwargs)
            except BaseException as error:
                guard(fail, connection, error)
                raise

        return endheaders

    def getresponse(self, original: "Any") -> "Any":
        """End a call with the head of its response."""
        guard, end, receive = self.recorder.guard, self.recorder.end, self.receive

        def getresponse(connection: "Any", *args: "Any", **kwargs: "Any") -> "Any":
            call = connection.__dict__.pop(PENDING, None)
            try:
                response = original(connection, *args, **kwargs)
            except BaseException as error:
                guard(end, call, error)
                raise
            guard(receive, connection, call, response)
            return response

        return getresponse

    def close(self, original: "Any") -> "Any":
        """End a call without a response. Its error is the exception that is being handled."""
        guard, fail = self.recorder.guard, self.fail

        def close(connection: "Any") -> None:
            if PENDING in connection.__dict__:
                guard(fail, connection, sys.exc_info()[1] or "ECONNABORTED")
            original(connection)

        return close

    def pool_call(self, connection: "Any") -> "Call | None":
        """Return the call of urllib3 that this connection belongs to."""
        call: Call | None = self.recorder.in_pool.get()
        if call is None or type(connection) is call.kind:
            return call
        return None if isinstance(call.kind, type) and not isinstance(connection, call.kind) else call

    def begin(self, connection: "Any") -> None:
        """Store a new call with its connection, unless a pool of urllib3 has begun it.

        `_buffer` has the lines of the head that are about to be sent: the request line and the headers.
        """
        call = self.pool_call(connection)
        if call is None:
            if not connection._buffer:
                return  # the original raises CannotSendHeader
            method, target, _ = connection._buffer[0].decode("latin-1").split(" ", 2)
            host, port = connection.host, connection.port
            if connection._tunnel_host:
                host, port = connection._tunnel_host, connection._tunnel_port
            place = (host, port, target) if target.startswith("/") else located(target, host, port)
            call = self.recorder.begin(method, *place)
            connection.__dict__[PENDING] = call
        if call.method != "GET":
            for line in connection._buffer:
                if line[:15].lower() == b"content-length:":
                    call.request_bytes = length_of(line[15:].strip())

    def receive(self, connection: "Any", call: "Call | None", response: "Any") -> None:
        """Read the head of a response. The call of a pool ends later, because urllib3 may repeat it."""
        running = call or self.pool_call(connection)
        if running is None:
            return
        running.answered, running.status = monotonic(), response.status
        # The response has parsed its header already. Zero may also be the length of a response to HEAD.
        running.response_bytes = response.length or length_of(response.headers.get("content-length"))
        if self.recorder.header_names:
            running.headers = self.recorder.chosen_headers(response.headers.get)
        self.recorder.end(call)

    def fail(self, connection: "Any", error: "BaseException | str") -> None:
        """End the call of a connection with an error."""
        self.recorder.end(connection.__dict__.pop(PENDING, None), error)
